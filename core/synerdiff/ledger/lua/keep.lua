#!lua
-- Keep a job's latent checkpoint for whoever claims it next, instead of the one before.
-- Not allowed when Redis is out of memory: a job goes on without it.
--
-- 1 id, 2 token, 3 steps it holds, 4 data, 5 ttl_s -> 1 | 0
local id, token, steps = arg(1), arg(2), tonumber(arg(3))
local held = call('HMGET', job_key(id), 'state', 'token', 'kept', 'kept_by')
if held[1] ~= 'running' or held[2] ~= token then return 0 end
if held[4] == token and num(held[3]) >= steps then return 1 end  -- a call that was sent again and came late
call('SET', P .. 'latents:' .. id, arg(4), 'PX', math.floor(tonumber(arg(5)) * 1000))
call('HSET', job_key(id), 'kept', steps, 'kept_by', token)
return 1
