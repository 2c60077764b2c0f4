#!lua flags=allow-oom
-- Prolong leases, job by job. A lease that lapsed revives if nobody reaped it; a job past its deadline ends.
--
-- 1 worker, 2 lease_s, then id, token of each -> {'held' | 'lost' | 'cancelled' | 'expired', ...}
local worker, lease_s = arg(1), tonumber(arg(2))
local answers = {}

local function renew(id, token)
  local record = read(id)
  if not record then return 'lost' end
  if record.state == 'cancelled' or record.state == 'expired' then return record.state end
  if record.state ~= 'running' or record.token ~= token or record.worker ~= worker then return 'lost' end
  if past_deadline(record) then
    expire(id, record)
    return 'expired'
  end
  call('ZADD', P .. 'leases:' .. record.pool, now + lease_s, id)
  return 'held'
end

local i = 3
while arg(i) do
  answers[#answers + 1] = renew(arg(i), arg(i + 1))
  i = i + 2
end
return answers
