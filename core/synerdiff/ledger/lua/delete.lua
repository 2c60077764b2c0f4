#!lua flags=allow-oom
-- Remove a record; an open job is cancelled first. What it was is the answer.
--
-- 1 id -> {{field, value, ...} of the record, empty if there is none; {released...}}
local id = arg(1)
local record = read(id)
if not record then return { {}, {} } end
local released = {}
if record.place ~= '' then
  finish(id, record, 'cancelled', 'deleted')
  released = release(record.pool)
end
local fields = call('HGETALL', job_key(id))
local key = call('HGET', job_key(id), 'idem')
-- The key may be another job's by now.
local used = key and call('GET', idem_key(record.tenant, key))
if used and string.match(used, '^(%S+)') == id then call('DEL', idem_key(record.tenant, key)) end
call('DEL', job_key(id), P .. 'events:' .. id)
call('ZREM', P .. 'webhooks', id)
call('ZREM', P .. 'jobs:dead', id)
call('ZREM', P .. 'jobs:recent:' .. record.pool, id)
return { fields, released }
