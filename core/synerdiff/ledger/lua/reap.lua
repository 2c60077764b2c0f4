#!lua flags=allow-oom
-- Find what time has run out for: workers, leases, deadlines. Bounded work a call; the next call goes on.
--
-- A lease that lapsed under a worker that is gone: the job goes to quarantine. Under a worker that was seen alive
-- after the lapse (it stopped renewing because the job made no progress): the job runs again from the queue, and
-- from quarantine if that happens a second time. A worker not seen since the lapse may be either: wait.
-- After a gap between two calls (broker paused, no reaper, clock moved) nothing can be told from a lapse: every lease
-- and worker gets one period of grace, three times in a row at most: a reaper that is always so late must still find the
-- dead.
--
-- 1 pool, 2 reap_gap_s, 3 lease_grace_s
-- -> {{requeued...}, {quarantined...}, {dead...}, {expired...}, {workers...}, {released...}, grace}
local pool, gap_s, grace_s = arg(1), tonumber(arg(2)), tonumber(arg(3))
local leases, workers = P .. 'leases:' .. pool, P .. 'workers:' .. pool
local LIMIT, GRACES = 500, 3

local before = call('HMGET', P .. 'counters:' .. pool, 'reaped_at', 'graces')
local since = now - num(before[1])

-- Never less than a lease had, unless the clock went back and its end with it.
local function grace(key)
  local how = since < 0 and 'XX' or 'GT'
  for _, member in ipairs(call('ZRANGE', key, 0, -1)) do call('ZADD', key, how, now + grace_s, member) end
end

local late = since > gap_s or since < 0
local gap = since < 0 or late and num(before[2]) < GRACES
call('HSET', P .. 'counters:' .. pool, 'reaped_at', stamp(now), 'graces', late and num(before[2]) + 1 or 0)
if gap then
  grace(leases)
  grace(workers)
end

local lost = call('ZRANGEBYSCORE', workers, '-inf', now, 'LIMIT', 0, LIMIT)
for _, name in ipairs(lost) do forget_worker(pool, name) end

local ended = { waiting = {}, quarantine = {}, dead = {}, expired = {} }

local function hung(id, record)
  local lapses = call('HINCRBY', job_key(id), 'lapses', 1)
  if lapses > 1 or record.alone == '1' then return crashed(id, record, 'it hung and its lease lapsed') end
  requeue(id, record, false, 'it hung and its lease lapsed')
  return 'waiting'
end

-- Where the job went, or nil if it is too early to tell.
local function lapse(id, lapsed_at)
  local record = read(id)
  if not record then  -- somebody deleted the key by hand
    call('ZREM', leases, id)
    return nil
  end
  if past_deadline(record) then
    expire(id, record)
    return 'expired'
  end
  if not call('ZSCORE', workers, record.worker) then return crashed(id, record, 'its worker died') end
  if num(call('HGET', P .. 'worker:' .. record.worker, 'seen_at')) > lapsed_at then return hung(id, record) end
  return nil
end

local lapsed = call('ZRANGEBYSCORE', leases, '-inf', now, 'WITHSCORES', 'LIMIT', 0, LIMIT)
for i = 1, #lapsed, 2 do
  local went = lapse(lapsed[i], tonumber(lapsed[i + 1]))
  if went then table.insert(ended[went], lapsed[i]) end
end

for _, id in ipairs(call('ZRANGEBYSCORE', P .. 'deadlines:' .. pool, '-inf', now, 'LIMIT', 0, LIMIT)) do
  local record = read(id)
  if record then
    expire(id, record)
    table.insert(ended.expired, id)
  else
    call('ZREM', P .. 'deadlines:' .. pool, id)
  end
end

return { ended.waiting, ended.quarantine, ended.dead, ended.expired, lost, release(pool), gap and 1 or 0 }
