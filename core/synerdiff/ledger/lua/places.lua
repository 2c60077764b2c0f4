-- Where an open job is (waiting, released, quarantine, leased), and every way from one place to the next.

-- A writer that does not know yet that its job ended may store an image for so long: S3's timeouts, tried twice.
local DISCARD_AFTER_S = 60

local function released_key(pool, priority) return P .. 'released:' .. pool .. ':' .. priority end

-- All released jobs are due for a hint: theirs may have gone to a worker that had to refuse it.
local function hint_again(pool)
  for priority = 0, 9 do
    local key = released_key(pool, priority)
    for _, id in ipairs(call('ZRANGE', key, 0, -1)) do call('ZADD', key, now, id) end
  end
end

-- Up to half the workers, and at least one, are set aside for jobs that must run alone.
local function may_set_aside(pool, worker)
  local alone = P .. 'alone:' .. pool
  if call('HEXISTS', alone, worker) == 1 then return true end
  return call('HLEN', alone) < math.max(1, math.floor(call('ZCARD', P .. 'workers:' .. pool) / 2))
end

-- No job is left that must run alone: workers that made room for one are ordinary again.
local function free_reserved(pool)
  local alone = P .. 'alone:' .. pool
  local freed = false
  local entries = call('HGETALL', alone)
  for i = 1, #entries, 2 do
    if entries[i + 1] == '' then
      call('HDEL', alone, entries[i])
      freed = true
    end
  end
  if freed then hint_again(pool) end
end

-- Jobs whose turn to run alone has come: release() names them, so that they need not wait for the reconciler.
local turn_of = {}

-- A job that ran alone leaves its worker, which stays set aside while it lives and more of them wait.
local function end_alone(record)
  local pool, worker, alone = record.pool, record.worker, P .. 'alone:' .. record.pool
  local next = call('ZRANGE', P .. 'quarantine:' .. pool, 0, 0)[1]
  if next and call('ZSCORE', P .. 'workers:' .. pool, worker) then
    call('HSET', alone, worker, '')
    call('ZADD', P .. 'quarantine:' .. pool, now + HINT_BACKOFF_S, next)
    turn_of[#turn_of + 1] = next
  else
    call('HDEL', alone, worker)
    hint_again(pool)
  end
end

local function leave(id, record)
  local pool, place = record.pool, record.place
  if place == '' then return end
  count(pool, place, -1)
  if place == 'waiting' then
    dequeue(id, record)
  elseif place == 'released' then
    call('ZREM', released_key(pool, record.priority), id)
  elseif place == 'quarantine' then
    call('ZREM', P .. 'quarantine:' .. pool, id)
    if call('EXISTS', P .. 'quarantine:' .. pool) == 0 then free_reserved(pool) end
  elseif place == 'leased' then
    call('ZREM', P .. 'leases:' .. pool, id)
    call('SREM', P .. 'inflight:' .. record.worker, id)
    if record.alone == '1' then end_alone(record) end
  end
end

-- Back to the queue, at the place that its arrival gives it.
local function requeue(id, record, quarantine, why)
  leave(id, record)
  local place = quarantine and 'quarantine' or 'waiting'
  count(record.pool, place, 1)
  call('HSET', job_key(id), 'state', 'queued', 'place', place, 'worker', '', 'alone', '')
  if quarantine then
    call('ZADD', P .. 'quarantine:' .. record.pool, now, id)
  else
    enqueue(id, record, true)
  end
  event(id, 'requeued', 'message', why)
end

-- Release in fair order while the pool has room; returns the ids, whose hints the caller sends now (and again
-- after the backoff, unless somebody claims them).
local function release(pool)
  local have = call('HMGET', P .. 'counters:' .. pool, 'paused', 'capacity', 'released', 'leased')
  if have[1] == '1' then return {} end
  local ids, alone = {}, turn_of
  turn_of = {}
  local room = RELEASE_FACTOR * num(have[2]) - num(have[3]) - num(have[4])
  while #ids < room do
    local id, priority = pop(pool)
    if not id then break end
    call('HSET', job_key(id), 'place', 'released', 'hints', 0)
    call('ZADD', released_key(pool, priority), now + HINT_BACKOFF_S, id)
    ids[#ids + 1] = id
  end
  if #ids > 0 then
    count(pool, 'waiting', -#ids)
    count(pool, 'released', #ids)
  end
  for _, id in ipairs(alone) do ids[#ids + 1] = id end
  return ids
end

-- End an open job. `...` are further record fields; `message` goes to the last event.
local function finish(id, record, state, message, ...)
  local pool, tenants = record.pool, P .. 'tenants:open:' .. record.pool
  leave(id, record)
  call('DEL', P .. 'latents:' .. id)
  if record.state == 'running' and (state == 'cancelled' or state == 'expired') then
    call('XADD', P .. 'revoked:' .. pool, 'MAXLEN', '~', 1000, '*', 'id', id)
  end
  call('HSET', job_key(id), 'state', state, 'place', '', 'finished_at', stamp(now), ...)
  call('ZREM', P .. 'jobs:open:' .. pool, id)
  if record.deadline_at ~= '' then call('ZREM', P .. 'deadlines:' .. pool, id) end
  if call('HINCRBY', tenants, record.tenant, -1) <= 0 then call('HDEL', tenants, record.tenant) end
  count(pool, 'cost', '-' .. record.cost)
  count(pool, 'total:' .. state, 1)
  event(id, state, 'message', message)
  if record.started_at ~= '' and (state == 'cancelled' or state == 'expired') then
    call('ZADD', P .. 'discard:' .. pool, now + DISCARD_AFTER_S, id)
  end
  call('DEL', P .. 'preview:' .. id)
  -- Quotes inside JSON strings are escaped, so this is the field and never a prompt's text.
  local has = call('HMGET', job_key(id), 'job', 'idem')
  if string.find(has[1] or '', '"webhook":"', 1, true) then
    call('ZADD', P .. 'webhooks', now, id)
  end
  local keep_s = RESULT_TTL_S
  if state == 'dead' then
    keep_s = DEAD_TTL_S
    call('ZADD', P .. 'jobs:dead', now, id)
    call('ZREMRANGEBYSCORE', P .. 'jobs:dead', '-inf', now - DEAD_TTL_S)
  end
  call('PEXPIRE', job_key(id), math.floor(keep_s * 1000))
  call('PEXPIRE', P .. 'events:' .. id, math.floor(keep_s * 1000))
  -- A job's end must not fail where an older ACL file keeps this key from its worker.
  if has[2] then redis.pcall('PEXPIRE', idem_key(record.tenant, has[2]), math.floor(keep_s * 1000)) end
end

local function expire(id, record)
  local info = { code = 'job_expired', message = 'the deadline passed before the images were done', retryable = false }
  finish(id, record, 'expired', 'the deadline passed', 'error', cjson.encode(info))
end

-- Where a job was in a crash: the step of its slowest image, by what is known: its last report, and its checkpoint,
-- which counts the steps of all images together. And the step with which it has surely got past that, where somebody
-- can tell: its worker lives and said the step, or no report came, though a first step is told at once; else it did no
-- more after its last report than between any two before, one more that a period may hold, and the one it crashed in.
-- Of several images some may be far ahead of the slowest, so nobody can tell.
local function reached(id, record, step)
  local ok, job = pcall(cjson.decode, call('HGET', job_key(id), 'job'))
  local n = math.max(1, ok and type(job) == 'table' and tonumber(job.n) or 1)
  local at = math.max(step or num(record.step), math.ceil(num(record.kept) / n))
  local stride = num(record.stride)
  if n > 1 then return at, '' end
  if step then return at, at + 2 end
  if record.told_by ~= record.token then return at, '' end
  if record.told == '0' then return at, at + 2 end
  return at, stride > 0 and at + stride + 2 or ''
end

-- A job's worker, or the worker's engine, died under it. Only a crash while it ran alone counts as an attempt: in
-- company it may have been a neighbour's fault, and once alone past where it was it may have company again, a single
-- time. `step`: what it had done, where its worker lives and says so. Returns 'dead' or 'quarantine'.
local function crashed(id, record, why, step)
  local at, clear = 'over', ''
  if record.alone ~= '1' and record.trial == '' then at, clear = reached(id, record, step) end
  call('HSET', job_key(id), 'trial', at, 'clear', clear)
  if record.alone == '1' then
    local attempts = call('HINCRBY', job_key(id), 'attempts', 1)
    if attempts >= MAX_ATTEMPTS then
      local sentence = 'crashed ' .. attempts .. ' times while it ran alone; the last time ' .. why
      finish(id, record, 'dead', sentence, 'error',
        cjson.encode({ code = 'job_dead', message = sentence, retryable = false }))
      return 'dead'
    end
  end
  requeue(id, record, true, why)
  return 'quarantine'
end

-- The pool has no room, but released jobs of a lower priority that nobody claimed yet: they go back to the queue, one
-- for one, so that an urgent job does not wait behind them. Appends the ids released instead.
local function outrank(pool, top, ids)
  local have = call('HMGET', P .. 'counters:' .. pool, 'paused', 'capacity')
  if have[1] == '1' or num(have[2]) == 0 then return end
  for low = 0, top - 1 do
    while call('EXISTS', released_key(pool, low)) == 1 do
      local first = call('ZRANGE', P .. 'priorities:' .. pool, 0, 0)[1]
      if not first or tonumber(first) <= low then return end
      local victim = call('ZREVRANGE', released_key(pool, low), 0, 0)[1]
      local record = read(victim)
      leave(victim, record)
      count(pool, 'waiting', 1)
      call('HSET', job_key(victim), 'place', 'waiting')
      enqueue(victim, record, true)
      for _, id in ipairs(release(pool)) do ids[#ids + 1] = id end
    end
  end
end

local function forget_worker(pool, name)
  count(pool, 'capacity', -num(call('HGET', P .. 'capacities:' .. pool, name)))
  call('HDEL', P .. 'capacities:' .. pool, name)
  call('ZREM', P .. 'workers:' .. pool, name)
  call('DEL', P .. 'worker:' .. name)
  if call('HGET', P .. 'alone:' .. pool, name) == '' then call('HDEL', P .. 'alone:' .. pool, name) end
end
