#!lua flags=allow-oom
-- Jobs whose hint seems lost: released or quarantined, unclaimed, and the backoff since the last hint has passed. They
-- are marked as sent again. A pool with no live capacity needs none.
--
-- 1 pool, 2 limit -> {id, ...}
local pool, limit = arg(1), tonumber(arg(2))
local have = call('HMGET', P .. 'counters:' .. pool, 'paused', 'capacity')
if have[1] == '1' or num(have[2]) <= 0 then return {} end
local ids = {}

local quarantine = P .. 'quarantine:' .. pool
local at_once = math.min(limit, math.max(1, math.floor(call('ZCARD', P .. 'workers:' .. pool) / 2)))
for _, id in ipairs(call('ZRANGEBYSCORE', quarantine, '-inf', now, 'LIMIT', 0, at_once)) do
  call('ZADD', quarantine, now + HINT_BACKOFF_S, id)
  ids[#ids + 1] = id
end

for priority = 9, 0, -1 do
  local key = released_key(pool, priority)
  for _, id in ipairs(call('ZRANGEBYSCORE', key, '-inf', now, 'LIMIT', 0, limit - #ids)) do
    local hints = call('HINCRBY', job_key(id), 'hints', 1)
    local wait_s = math.min(HINT_BACKOFF_CAP_S, HINT_BACKOFF_S * 2 ^ math.min(hints, 16))
    call('ZADD', key, now + wait_s, id)
    ids[#ids + 1] = id
  end
end
return ids
