#!lua
-- Put a dead or failed job back to the queue, with fresh attempts and its deadline counted from now.
--
-- 1 id -> {'ok', created, {released...}} | {'unknown'} | {'wrong', state}
local id = arg(1)
local record = read(id)
if not record then return { 'unknown' } end
if record.place ~= '' then return { 'ok', 0, {} } end
if record.state ~= 'dead' and record.state ~= 'failed' then return { 'wrong', record.state } end
local pool = record.pool
if record.deadline_at ~= '' then
  record.deadline_at = stamp(now + tonumber(record.deadline_at) - tonumber(record.created_at))
  call('HSET', job_key(id), 'deadline_at', record.deadline_at)
  call('ZADD', P .. 'deadlines:' .. pool, record.deadline_at, id)
end
local has = call('HMGET', job_key(id), 'base', 'idem')
local base = has[1]
if base then
  record.priority = base
  call('HSET', job_key(id), 'priority', base)
end
call('PERSIST', job_key(id))
if has[2] then call('PERSIST', idem_key(record.tenant, has[2])) end
call('HDEL', job_key(id), 'error', 'finished_at', 'started_at', 'alone', 'worker', 'step', 'kept', 'asides', 'base',
  'deliveries', 'trial', 'clear')
call('ZREM', P .. 'webhooks', id)
call('HSET', job_key(id), 'state', 'queued', 'place', 'waiting', 'attempts', 0, 'lapses', 0, 'created_at', stamp(now))
call('DEL', P .. 'events:' .. id)
call('ZREM', P .. 'jobs:dead', id)
call('ZADD', P .. 'jobs:open:' .. pool, now, id)
call('HINCRBY', P .. 'tenants:open:' .. pool, record.tenant, 1)
count(pool, 'waiting', 1)
count(pool, 'cost', record.cost)
enqueue(id, record, false)
event(id, 'requeued', 'message', 'retried by hand')
return { 'ok', 1, release(pool) }
