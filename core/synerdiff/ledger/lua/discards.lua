#!lua flags=allow-oom
-- Jobs whose images are to be deleted now: they were cancelled or expired after a worker had begun them. They are named
-- again after a while, until they are taken off the list.
--
-- 1 pool, 2 limit -> {job (JSON), ...}
local due = P .. 'discard:' .. arg(1)
local jobs = {}
for _, id in ipairs(call('ZRANGEBYSCORE', due, '-inf', now, 'LIMIT', 0, tonumber(arg(2)))) do
  local record = call('HMGET', job_key(id), 'state', 'job')
  if record[1] == 'cancelled' or record[1] == 'expired' then
    call('ZADD', due, now + DISCARD_AFTER_S, id)
    jobs[#jobs + 1] = record[2]
  else
    call('ZREM', due, id)
  end
end
return jobs
