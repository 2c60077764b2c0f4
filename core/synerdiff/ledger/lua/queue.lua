-- The waiting jobs of a pool in fair order: priority, then tenants by start-time fair queueing over cost (Goyal,
-- Vin, Cheng 1996), then deadline or arrival within the tenant.

local function queue_key(pool, priority, tenant)
  return P .. 'queue:' .. pool .. ':' .. priority .. ':' .. tenant
end

local function tenants_key(pool, priority) return P .. 'tenants:' .. pool .. ':' .. priority end

local function vtime_key(pool, priority) return P .. 'vtime:' .. pool .. ':' .. priority end

-- Tags of tenants that left a level, while others wait on it and its virtual time has not passed them.
local function left_key(pool, priority) return vtime_key(pool, priority) .. ':left' end

-- `refund`: the job was released before, and its tenant paid for it.
local function enqueue(id, record, refund)
  local pool, priority, tenant = record.pool, record.priority, record.tenant
  local tenants, left = tenants_key(pool, priority), left_key(pool, priority)
  call('ZADD', queue_key(pool, priority, tenant), record.order, id)
  local tag = call('ZSCORE', tenants, tenant)
  if tag and not refund then return end
  local level = num(call('HGET', vtime_key(pool, priority), '*'))
  local paid = refund and num(record.share) or 0
  call('ZADD', tenants, math.max(level, num(tag or call('ZSCORE', left, tenant)) - paid), tenant)
  call('ZREM', left, tenant)
  call('ZADD', P .. 'priorities:' .. pool, -tonumber(priority), priority)
end

-- A tenant has nothing waiting. Its tag is kept while it says something; an empty level starts afresh.
local function close_tenant(pool, priority, tenant, tag)
  local tenants, vtime, left = tenants_key(pool, priority), vtime_key(pool, priority), left_key(pool, priority)
  call('ZREM', tenants, tenant)
  if call('EXISTS', tenants) == 1 then
    if num(tag) > num(call('HGET', vtime, '*')) then call('ZADD', left, tag, tenant) end
  else
    call('DEL', vtime, left)
    call('ZREM', P .. 'priorities:' .. pool, priority)
  end
end

local function dequeue(id, record)
  local pool, priority, tenant = record.pool, record.priority, record.tenant
  local queue = queue_key(pool, priority, tenant)
  call('ZREM', queue, id)
  if call('EXISTS', queue) == 0 then
    close_tenant(pool, priority, tenant, call('ZSCORE', tenants_key(pool, priority), tenant))
  end
end

-- Take the job whose turn it is; returns its id and priority, or nil.
local function pop(pool)
  local priority = call('ZRANGE', P .. 'priorities:' .. pool, 0, 0)[1]
  if not priority then return nil end
  local tenants = tenants_key(pool, priority)
  local first = call('ZRANGE', tenants, 0, 0, 'WITHSCORES')
  local tenant, tag = first[1], tonumber(first[2])
  local queue = queue_key(pool, priority, tenant)
  local id = call('ZPOPMIN', queue)[1]
  local after = tag + num(call('HGET', job_key(id), 'share'))
  call('HSET', vtime_key(pool, priority), '*', tag)
  call('ZREMRANGEBYSCORE', left_key(pool, priority), '-inf', tag)
  if call('EXISTS', queue) == 1 then
    call('ZADD', tenants, after, tenant)
  else
    close_tenant(pool, priority, tenant, after)
  end
  return id, priority
end
