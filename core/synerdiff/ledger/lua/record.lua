-- The record job:{id}. Numbers are decimal, times seconds since the epoch, absent fields mean ''.
--
-- v            schema version, 1; readers ignore fields they do not know
-- job          the job's fields as JSON
-- fp, call     fingerprint of the fields; nonce of the submit that made the record
-- pool, tenant, priority, cost, share (cost over the tenant's weight), order (score in its queue)
-- created_at, deadline_at, started_at (first claim), claimed_at (last), finished_at
-- state        queued, running, succeeded, failed, cancelled, expired, dead
-- place        waiting, released, quarantine (all queued), leased (running), '' (final)
-- token, nonce, worker, alone ('1')    of the last claim; handed: token of the last hand-back
-- attempts     crashes while it ran alone; lapses: leases that lapsed under a live worker
-- trial        after a crash in company: the step that it must get past alone before it may have company again; 'over'
--              when it had that chance, or crashed alone: it runs alone to its end
-- clear        the step with which it has surely got past that, '' where that is not known
-- idem         the idempotency key it was submitted with, whose key idem:{tenant}:{idem} ends with the record
-- hints        hints sent again since the release; asked_at: when a worker was last asked to make way for it
-- kept, kept_by  denoising steps of all its images in its latent checkpoint; token of the claim that made it
-- asides, base  times it was handed back for a more urgent job, and its priority before the first: each time raises it
-- step, result (JSON), error (JSON)
-- told, stride  step of its last report; the most steps between two reports, 0 before the second; of the claim with the
--              token told_by: an older worker's claim leaves them as they were
-- deliveries   attempts to deliver the webhook, a JSON object a line

local FIELDS = {
  'state', 'place', 'pool', 'tenant', 'priority', 'cost', 'share', 'order', 'created_at', 'deadline_at',
  'started_at', 'token', 'nonce', 'worker', 'alone', 'handed', 'attempts', 'lapses', 'asides', 'step', 'kept', 'trial',
  'told', 'stride', 'told_by',
}

local function idem_key(tenant, key) return P .. 'idem:' .. tenant .. ':' .. key end

local function job_key(id) return P .. 'job:' .. id end

local function read(id)
  local values = call('HMGET', job_key(id), unpack(FIELDS))
  if not values[1] then return nil end
  local record = {}
  for i, field in ipairs(FIELDS) do record[field] = values[i] or '' end
  return record
end

local function past_deadline(record)
  return record.deadline_at ~= '' and now >= tonumber(record.deadline_at)
end

-- Append to the job's event stream; `...` are field, value pairs.
local function event(id, kind, ...)
  call('XADD', P .. 'events:' .. id, 'MAXLEN', '~', 100, '*', 'kind', kind, 'at', stamp(now), ...)
end

local function count(pool, field, by)
  call('HINCRBY', P .. 'counters:' .. pool, field, string.format('%d', by))  -- Redis 7.0 would send -0, and refuse it
end
