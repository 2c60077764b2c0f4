#!lua flags=allow-oom
-- Ended jobs whose webhook is due; each is left to the caller for lease_s seconds, then to anybody again.
--
-- 1 limit, 2 lease_s -> {id, ...}
local key = P .. 'webhooks'
local ids = call('ZRANGEBYSCORE', key, '-inf', now, 'LIMIT', 0, tonumber(arg(1)))
for _, id in ipairs(ids) do call('ZADD', key, now + tonumber(arg(2)), id) end
return ids
