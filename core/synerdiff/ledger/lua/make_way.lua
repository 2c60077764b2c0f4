#!lua flags=allow-oom
-- A worker that is full asks whether to set a job aside: yes if a job of a higher priority was released and nobody took
-- it at once. One worker is asked for each such job, and another one after the patience.
--
-- 1 pool, 2 the lowest level that it holds, 3 patience_s -> 1 | 0
local pool, level, patience_s = arg(1), tonumber(arg(2)), tonumber(arg(3))
local LOOK_AT = 50
if call('HGET', P .. 'counters:' .. pool, 'paused') == '1' then return 0 end
for priority = 9, level + 1, -1 do
  for _, id in ipairs(call('ZRANGE', released_key(pool, priority), 0, LOOK_AT - 1)) do
    local has = call('HMGET', job_key(id), 'hints', 'asked_at')
    local missed = num(has[1]) > 0 or num(call('ZSCORE', released_key(pool, priority), id)) <= now
    if missed and now - num(has[2]) >= patience_s then
      call('HSET', job_key(id), 'asked_at', stamp(now))
      return 1
    end
  end
end
return 0
