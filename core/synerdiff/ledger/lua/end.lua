#!lua flags=allow-oom
-- The holder ends a job: succeeded with a result, or failed with an error. The same call again is accepted again.
--
-- 1 id, 2 token, 3 state, 4 field ('result' or 'error'), 5 value (JSON), 6 message
-- -> {accepted, state or '', {released...}}
local id, token, state = arg(1), arg(2), arg(3)
local record = read(id)
if not record then return { 0, '', {} } end
if record.token ~= token or record.state ~= 'running' then
  local again = record.token == token and record.state == state
  return { again and 1 or 0, record.state, {} }
end
if past_deadline(record) then
  expire(id, record)
  return { 0, 'expired', release(record.pool) }
end
finish(id, record, state, arg(6), arg(4), arg(5))
return { 1, state, release(record.pool) }
