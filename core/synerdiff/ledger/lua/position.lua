#!lua flags=no-writes
-- How many queued jobs are expected to start before a queued one: those released, those of higher priorities, those
-- before it in its tenant's queue, and what fair sharing gives the other tenants until then, as if all jobs cost what
-- this one does. At most 1,000 tenants of a level are looked at.
--
-- 1 id -> position, -1 if the job is not queued
local id = arg(1)
local record = read(id)
if not record or record.state ~= 'queued' then return -1 end
if record.place ~= 'waiting' then return 0 end
local pool, priority, share = record.pool, record.priority, tonumber(record.share)
local TENANTS = 1000

local ahead = num(call('HGET', P .. 'counters:' .. pool, 'released'))
for _, other in ipairs(call('ZRANGE', P .. 'priorities:' .. pool, 0, -1)) do
  if tonumber(other) > tonumber(priority) then
    for _, tenant in ipairs(call('ZRANGE', tenants_key(pool, other), 0, TENANTS - 1)) do
      ahead = ahead + call('ZCARD', queue_key(pool, other, tenant))
    end
  end
end

local rank = num(call('ZRANK', queue_key(pool, priority, record.tenant), id))
local turn = num(call('ZSCORE', tenants_key(pool, priority), record.tenant)) + rank * share
local tags = call('ZRANGE', tenants_key(pool, priority), 0, TENANTS - 1, 'WITHSCORES')
for i = 1, #tags, 2 do
  if tags[i] ~= record.tenant then
    local turns = math.max(0, math.ceil((turn - tonumber(tags[i + 1])) / share))
    ahead = ahead + math.min(turns, call('ZCARD', queue_key(pool, priority, tags[i])))
  end
end
return ahead + rank
