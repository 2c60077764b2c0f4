#!lua flags=allow-oom
-- Publish a plan, unless a newer leader has taken over.
--
-- 1 pool, 2 profile, 3 leader name or '', 4 epoch, 5 table hash or '', 6 table or '', 7 table_ttl_s,
-- then field, value of the head -> 'ok' | 'stale' | 'no_table'
local plan, leader = P .. 'plan:' .. arg(1) .. ':' .. arg(2), arg(3)
local hash, body, ttl_ms = arg(5), arg(6), math.floor(tonumber(arg(7)) * 1000)
if leader ~= '' and call('HGET', P .. 'leader:' .. leader, 'epoch') ~= arg(4) then return 'stale' end
if hash ~= '' then
  local key = P .. 'table:' .. hash
  if body ~= '' then
    call('SET', key, body, 'PX', ttl_ms)
  elseif call('PEXPIRE', key, ttl_ms) == 0 then
    return 'no_table'
  end
end
local head = { 'table', hash }
local i = 8
while arg(i) do
  head[#head + 1] = arg(i)
  i = i + 1
end
call('DEL', plan)
call('HSET', plan, unpack(head))
return 'ok'
