#!lua flags=allow-oom
-- Take or keep a leader lease. The epoch grows with each change of holder and is never used twice.
--
-- 1 name, 2 holder, 3 ttl_s -> epoch, 0 if another holds it
local key, holder, ttl_s = P .. 'leader:' .. arg(1), arg(2), tonumber(arg(3))
local lease = call('HMGET', key, 'holder', 'epoch', 'until')
local epoch = num(lease[2])
if lease[1] ~= holder then
  if num(lease[3]) > now then return 0 end
  epoch = math.max(epoch + 1, math.floor(now * 1e6))
end
call('HSET', key, 'holder', holder, 'epoch', string.format('%.0f', epoch), 'until', stamp(now + ttl_s))
return epoch
