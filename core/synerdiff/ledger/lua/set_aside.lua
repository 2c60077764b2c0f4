#!lua flags=allow-oom
-- A full worker, which follows no hint until one of its jobs ends, asks whether a job waits that must run alone and
-- for which it may be set aside; if it means it, it is: it has to make room then, and is given ordinary jobs no more.
--
-- 1 pool, 2 worker, 3 '1' if it means it -> 1 | 0
local pool, worker = arg(1), arg(2)
local alone = P .. 'alone:' .. pool
local empty = 0
for _, id in ipairs(call('HVALS', alone)) do empty = empty + (id == '' and 1 or 0) end
if call('ZCARD', P .. 'quarantine:' .. pool) <= empty or call('HEXISTS', alone, worker) == 1 then return 0 end
if call('HGET', P .. 'counters:' .. pool, 'paused') == '1' then return 0 end
if num(call('HGET', P .. 'capacities:' .. pool, worker)) == 0 or not may_set_aside(pool, worker) then return 0 end
if arg(3) == '1' then call('HSET', alone, worker, '') end
return 1
