#!lua flags=allow-oom
-- Record an attempt to deliver a job's webhook, and when the next one is due. A job that was retried by hand since, or
-- is gone, needs none.
--
-- 1 id, 2 finished_at of the end told of, 3 attempt (JSON, one line), 4 seconds to the next attempt or '' -> 1 | 0
local id, finished_at, attempt, next_s = arg(1), arg(2), arg(3), arg(4)
local found = call('HMGET', job_key(id), 'finished_at', 'deliveries')
if not found[1] then
  call('ZREM', P .. 'webhooks', id)
  return 0
end
if found[1] ~= finished_at then return 0 end
call('HSET', job_key(id), 'deliveries', (found[2] and found[2] .. '\n' or '') .. attempt)
if next_s == '' then
  call('ZREM', P .. 'webhooks', id)
else
  call('ZADD', P .. 'webhooks', now + tonumber(next_s), id)
end
return 1
