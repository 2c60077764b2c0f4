#!lua flags=allow-oom
-- Give a released job to a worker, with a fencing token and a lease. The same nonce gets the same answer.
--
-- 1 id, 2 worker, 3 nonce, 4 lease_s
-- -> {'granted', job, token, attempts, alone, created_at, claimed_at, priority, asides, kept, trial, clear}
--  | {'refused', reason, {released...}}
local id, worker, nonce, lease_s = arg(1), arg(2), arg(3), tonumber(arg(4))
local record = read(id)
local function refused(reason, released) return { 'refused', reason, released or {} } end
if not record then return refused('unknown') end
local pool = record.pool
local lease, inflight, alone = P .. 'leases:' .. pool, P .. 'inflight:' .. worker, P .. 'alone:' .. pool

local function granted()
  local values = call('HMGET', job_key(id), 'job', 'token', 'attempts', 'alone', 'created_at', 'claimed_at',
    'priority', 'asides', 'kept', 'trial', 'clear')
  return {
    'granted', values[1], values[2], values[3] or '0', values[4] or '', values[5], values[6],
    values[7], values[8] or '0', values[9] or '0', values[10] or '', values[11] or '',
  }
end

if record.state == 'running' then
  if record.nonce ~= nonce or record.worker ~= worker then return refused('claimed') end
  call('ZADD', lease, now + lease_s, id)
  return granted()
end
if record.state ~= 'queued' then return refused(record.state) end
if past_deadline(record) then
  expire(id, record)
  return refused('expired', release(pool))
end
if record.nonce == nonce then return refused('stale') end
if record.place == 'waiting' then return refused('not_released') end
if call('HGET', P .. 'counters:' .. pool, 'paused') == '1' then return refused('paused') end
if num(call('ZSCORE', P .. 'workers:' .. pool, worker)) <= now then return refused('unregistered') end

-- An idle worker is ready at once: one that still makes room is ordinary again.
local function take_over()
  local entries = call('HGETALL', alone)
  for i = 1, #entries, 2 do
    if entries[i + 1] == '' then
      call('HDEL', alone, entries[i])
      return true
    end
  end
  return false
end

-- Whether a worker that was set aside holds nothing any more.
local function somebody_is_free()
  local entries = call('HGETALL', alone)
  for i = 1, #entries, 2 do
    if entries[i + 1] == '' and call('EXISTS', P .. 'inflight:' .. entries[i]) == 0 then return true end
  end
  return false
end

local quarantined = record.place == 'quarantine'
if quarantined then
  if call('EXISTS', inflight) == 1 then
    if num(call('HGET', P .. 'capacities:' .. pool, worker)) == 0 or not may_set_aside(pool, worker) then
      return refused(somebody_is_free() and 'elsewhere' or 'busy')
    end
    call('HSETNX', alone, worker, '')
    return refused(call('HGET', alone, worker) == '' and 'drain' or 'busy')
  end
  if not may_set_aside(pool, worker) and not take_over() then return refused('busy') end
  call('HSET', alone, worker, id)
elseif call('HEXISTS', alone, worker) == 1 then
  return refused('alone')
end

leave(id, record)
count(pool, 'leased', 1)
-- Time keeps tokens growing when a restarted Redis forgot its last second; the old token, when the clock went back.
local token = math.max(num(record.token) + 1, math.floor(now * 1e6))
call('HSET', job_key(id), 'state', 'running', 'place', 'leased', 'token', string.format('%.0f', token), 'nonce', nonce,
  'worker', worker, 'alone', quarantined and '1' or '', 'claimed_at', stamp(now), 'step', 0, 'told', 0, 'stride', 0,
  'told_by', string.format('%.0f', token), 'started_at', record.started_at ~= '' and record.started_at or stamp(now))
call('ZADD', lease, now + lease_s, id)
call('SADD', inflight, id)
event(id, 'started', 'message', worker)
return granted()
