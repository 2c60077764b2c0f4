-- Every key of the ledger, below one prefix (`synerdiff:`). Scripts make their keys from ids they read, so the
-- ledger needs a Redis that is not a cluster.
--
-- job:{id}                     hash    the record; its fields are at the head of record.lua
-- events:{id}                  stream  progress, about 100 entries, as long as the record
-- preview:{id}                 stream  the last preview of a running job, with expiry
-- latents:{id}                 string  latent checkpoint (safetensors), with expiry; gone with the job's end
-- revoked:{pool}               stream  running jobs that were cancelled or expired, about 1000: their holders read it
-- jobs:open:{pool}             zset    every job not in a final state -> arrival, seconds
-- jobs:recent:{pool}           zset    the newest ids, bounded -> arrival, microseconds
-- jobs:dead                    zset    jobs whose attempts are used up -> when
-- webhooks                     zset    ended jobs whose webhook is still to be delivered -> when
-- idem:{tenant}:{key}          string  "{id} {fingerprint}", as long as the record
-- rate:{tenant}                hash    tokens left of the tenant's request rate, and when that was true; with expiry
-- pools                        set     names of pools that ever had a job or a worker
-- counters:{pool}              hash    jobs at each place (waiting, released, quarantine, leased), cost (of the open),
--                                      capacity (of the live workers), total:{state}, submitted, paused,
--                                      arrival (the last, microseconds), reaped_at, graces (given in a row)
-- tenants:open:{pool}          hash    tenant -> its open jobs
-- deadlines:{pool}             zset    open jobs with a deadline -> deadline, seconds
--   the queue, in fair order
-- priorities:{pool}            zset    priorities that have waiting jobs -> minus the priority
-- tenants:{pool}:{p}           zset    tenants with waiting jobs of priority p -> start tag (virtual time)
-- vtime:{pool}:{p}             hash    * -> the level's virtual time
-- vtime:{pool}:{p}:left        zset    tenants with nothing waiting -> tag they left with, until virtual time passes it
-- queue:{pool}:{p}:{tenant}    zset    waiting jobs -> deadline or arrival + horizon, microseconds
--   what was released, and who holds it
-- released:{pool}:{p}          zset    released and unclaimed jobs -> when the next hint is due
-- quarantine:{pool}            zset    jobs that must run alone, unclaimed -> when the next hint is due
-- leases:{pool}                zset    claimed jobs -> end of the lease
-- inflight:{worker}            set     jobs the worker holds
-- discard:{pool}               zset    jobs that ended without a result after they began -> when to delete their images
-- alone:{pool}                 hash    worker set aside for quarantined jobs -> the job, or '' while it makes room
--   workers
-- worker:{name}                hash    last report, with expiry
-- workers:{pool}               zset    worker -> until when it counts as alive
-- capacities:{pool}            hash    worker -> capacity it adds
--   plans
-- leader:{name}                hash    holder, epoch, until
-- plan:{pool}:{profile}        hash    head of the plan in force (version, theta, table, ...)
-- table:{hash}                 string  a plan's table, with expiry
-- profile:{profile}            string  a profile's document
-- catalogue                    hash    model -> entry
-- dead_letters                 list    malformed messages, newest first, bounded
--
-- Arguments 1 to 8 are the same for every script; an operation's own follow, and are named at its head.

local call = redis.call
local P = ARGV[1]
local RESULT_TTL_S, DEAD_TTL_S = tonumber(ARGV[3]), tonumber(ARGV[4])
local MAX_ATTEMPTS, RELEASE_FACTOR = tonumber(ARGV[5]), tonumber(ARGV[6])
local HINT_BACKOFF_S, HINT_BACKOFF_CAP_S = tonumber(ARGV[7]), tonumber(ARGV[8])

local function arg(i) return ARGV[8 + i] end

local function num(value) return tonumber(value) or 0 end

local function stamp(seconds) return string.format('%.6f', seconds) end

local function clock()
  if ARGV[2] ~= '' then return tonumber(ARGV[2]) end  -- a test's clock
  local time = call('TIME')
  return tonumber(time[1]) + tonumber(time[2]) / 1e6
end

local now = clock()
