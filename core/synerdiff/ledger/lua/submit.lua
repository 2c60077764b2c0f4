#!lua
-- Write the records of new jobs, all or none, and release what the pool has room for.
-- Not allowed when Redis is out of memory: that is how a full server refuses work.
--
-- 1 pool, 2 call (nonce), 3 max_queue, 4 max_queue_per_tenant (0: none), 5 arrival_horizon_s, 6 recent_limit; then
-- for each job: id, job (JSON), fingerprint, tenant, priority, cost, share, deadline_s or '', idempotency key or ''
-- -> {'ok', {id, created, ...}, {released...}} | {'conflict', what, name} | {'overloaded', what, open}
local pool, nonce = arg(1), arg(2)
local max_queue, max_tenant = tonumber(arg(3)), tonumber(arg(4))
local horizon_s, recent_limit = tonumber(arg(5)), tonumber(arg(6))
local open, recent = P .. 'jobs:open:' .. pool, P .. 'jobs:recent:' .. pool

local function jobs()
  local i = 7 - 9
  return function()
    i = i + 9
    local id = arg(i)
    if not id then return nil end
    return {
      id = id, job = arg(i + 1), fp = arg(i + 2), tenant = arg(i + 3), priority = arg(i + 4), cost = arg(i + 5),
      share = arg(i + 6), deadline_s = arg(i + 7), key = arg(i + 8), pool = pool,
    }
  end
end

-- The record that this job already has, as {id, fp, made by this call}, or nil.
local function known(job)
  local id = job.id
  if job.key ~= '' then
    local used = call('GET', idem_key(job.tenant, job.key))
    if used then
      local other = string.match(used, '^(%S+)')
      if call('EXISTS', job_key(other)) == 1 then id = other end
    end
  end
  local found = call('HMGET', job_key(id), 'fp', 'call')
  if found[1] then return { id = id, fp = found[1], mine = found[2] == nonce } end
  return nil
end

local answers, fresh, seen, tenants = {}, {}, {}, {}
for job in jobs() do
  local old = seen[job.id] or (job.key ~= '' and seen[idem_key(job.tenant, job.key)]) or known(job)
  if old then
    if old.fp ~= job.fp then
      local by_id = old.id == job.id
      return { 'conflict', by_id and 'id' or 'idempotency key', by_id and job.id or job.key }
    end
    answers[#answers + 1] = old.id
    answers[#answers + 1] = old.mine and 1 or 0
  else
    local new = { id = job.id, fp = job.fp, mine = false }
    seen[job.id] = new
    if job.key ~= '' then seen[idem_key(job.tenant, job.key)] = new end
    fresh[#fresh + 1] = job
    tenants[job.tenant] = (tenants[job.tenant] or 0) + 1
    answers[#answers + 1] = job.id
    answers[#answers + 1] = 1
  end
end

local size = call('ZCARD', open)
if #fresh > 0 and size + #fresh > max_queue then return { 'overloaded', 'pool', size } end
for tenant, more in pairs(tenants) do
  local has = num(call('HGET', P .. 'tenants:open:' .. pool, tenant))
  if max_tenant > 0 and has + more > max_tenant then return { 'overloaded', 'tenant ' .. tenant, has } end
end

local arrival = math.max(num(call('HGET', P .. 'counters:' .. pool, 'arrival')), math.floor(now * 1e6))
local total_cost, top = 0, 0
for _, job in ipairs(fresh) do
  arrival = arrival + 1
  local urgency_s = math.min(horizon_s, tonumber(job.deadline_s) or horizon_s)
  local record = {
    'v', 1, 'job', job.job, 'fp', job.fp, 'call', nonce, 'pool', pool, 'tenant', job.tenant,
    'priority', job.priority, 'cost', job.cost, 'share', job.share, 'state', 'queued', 'place', 'waiting',
    'created_at', stamp(now),
  }
  if job.deadline_s ~= '' then
    local deadline = now + tonumber(job.deadline_s)
    record[#record + 1] = 'deadline_at'
    record[#record + 1] = stamp(deadline)
    call('ZADD', P .. 'deadlines:' .. pool, deadline, job.id)
  end
  if job.key ~= '' then
    record[#record + 1] = 'idem'
    record[#record + 1] = job.key
    call('SET', idem_key(job.tenant, job.key), job.id .. ' ' .. job.fp)
  end
  job.order = string.format('%.0f', arrival + urgency_s * 1e6)
  call('DEL', P .. 'events:' .. job.id)
  call('HSET', job_key(job.id), 'order', job.order, unpack(record))
  call('ZADD', open, now, job.id)
  call('ZADD', recent, arrival, job.id)
  call('HINCRBY', P .. 'tenants:open:' .. pool, job.tenant, 1)
  event(job.id, 'queued')
  enqueue(job.id, job, false)
  total_cost = total_cost + tonumber(job.cost)
  top = math.max(top, tonumber(job.priority))
end

local released = {}
if #fresh > 0 then
  call('SADD', P .. 'pools', pool)
  call('ZREMRANGEBYRANK', recent, 0, -recent_limit - 1)
  call('HSET', P .. 'counters:' .. pool, 'arrival', string.format('%.0f', arrival))
  count(pool, 'waiting', #fresh)
  count(pool, 'submitted', #fresh)
  count(pool, 'cost', string.format('%.0f', total_cost))
  released = release(pool)
  if #released < #fresh then outrank(pool, top, released) end
else
  for i = 1, #answers, 2 do  -- the reply with these was lost
    if answers[i + 1] == 1 and call('HGET', job_key(answers[i]), 'place') == 'released' then
      released[#released + 1] = answers[i]
    end
  end
end
return { 'ok', answers, released }
