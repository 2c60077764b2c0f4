#!lua flags=allow-oom
-- Register a worker or refresh it; capacity that appears releases jobs.
--
-- 1 name, 2 pool, 3 ttl_s, 4 capacity it adds, then field, value of its report -> {released...}
local name, pool, ttl_s, capacity = arg(1), arg(2), tonumber(arg(3)), tonumber(arg(4))
local worker, capacities = P .. 'worker:' .. name, P .. 'capacities:' .. pool
local report = {}
local i = 5
while arg(i) do
  report[#report + 1] = arg(i)
  i = i + 1
end
call('SADD', P .. 'pools', pool)
call('DEL', worker)
call('HSET', worker, 'seen_at', stamp(now), unpack(report))
call('PEXPIRE', worker, math.floor(ttl_s * 1000))
call('ZADD', P .. 'workers:' .. pool, now + ttl_s, name)
local before = num(call('HGET', capacities, name))
call('HSET', capacities, name, capacity)
if capacity ~= before then count(pool, 'capacity', capacity - before) end
if capacity == 0 and call('HGET', P .. 'alone:' .. pool, name) == '' then
  call('HDEL', P .. 'alone:' .. pool, name)  -- it makes room for a job that it will not take
end
return release(pool)
