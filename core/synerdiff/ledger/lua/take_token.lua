#!lua flags=allow-oom
-- Take a token from a tenant's bucket, which refills at a steady rate up to a burst.
--
-- 1 tenant, 2 tokens a second, 3 burst -> seconds until there is one, 0 if one was taken
local key, rate, burst = P .. 'rate:' .. arg(1), tonumber(arg(2)), tonumber(arg(3))
local had = call('HMGET', key, 'tokens', 'at')
local since = math.max(0, now - (tonumber(had[2]) or now))
local tokens = math.min(burst, (tonumber(had[1]) or burst) + since * rate)
if tokens < 1 then return stamp((1 - tokens) / rate) end
call('HSET', key, 'tokens', stamp(tokens - 1), 'at', stamp(now))
call('PEXPIRE', key, math.ceil(burst / rate * 1000) + 1000)
return '0'
