#!lua flags=allow-oom
-- The holder gives a job back. If its engine crashed under it, the job goes on in quarantine. If it makes way for a more
-- urgent one, it rises by one priority, so that this comes to an end. If it ran alone and got past its trial, it goes
-- on in company; else one that ran alone stays in quarantine.
--
-- 1 id, 2 token, 3 reason, 4 how ('', 'crashed', 'aside' or 'proven'), 5 its steps done or '' -> {accepted, state or '', {released...}}
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
elseif arg(4) == 'crashed' then
  if crashed(id, record, arg(3), tonumber(arg(5))) == 'dead' then state = 'dead' end
else
  if arg(4) == 'aside' then
    call('HINCRBY', job_key(id), 'asides', 1)
    call('HSETNX', job_key(id), 'base', record.priority)
    record.priority = tostring(math.min(9, tonumber(record.priority) + 1))
    call('HSET', job_key(id), 'priority', record.priority)
  end
  requeue(id, record, record.alone == '1' and arg(4) ~= 'proven', arg(3))
end
return { 1, state, release(record.pool) }
