#!lua flags=allow-oom
-- The holder gives a job back. If its engine crashed under it, the job goes on in quarantine.
--
-- 1 id, 2 token, 3 reason, 4 crashed ('1' or '') -> {accepted, state or '', {released...}}
local id, token = arg(1), arg(2)
local record = read(id)
if not record then return { 0, '', {} } end
if record.handed == token then return { 1, record.state, {} } end
if record.state ~= 'running' or record.token ~= token then return { 0, record.state, {} } end
call('HSET', job_key(id), 'handed', token)
local state = 'queued'
if past_deadline(record) then
  expire(id, record)
  state = 'expired'
elseif arg(4) == '1' then
  if crashed(id, record, arg(3)) == 'dead' then state = 'dead' end
else
  requeue(id, record, record.alone == '1', arg(3))
end
return { 1, state, release(record.pool) }
