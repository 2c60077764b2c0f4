#!lua flags=allow-oom
-- A worker leaves. Jobs it still holds are treated as a crash's when their leases lapse.
--
-- 1 name -> {}
local name = arg(1)
local pool = call('HGET', P .. 'worker:' .. name, 'pool')
if pool then forget_worker(pool, name) end
return {}
