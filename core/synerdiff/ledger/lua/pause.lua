#!lua flags=allow-oom
-- Stop a pool from releasing and claiming, or let it go on. Jobs that run are not touched.
--
-- 1 pool, 2 paused ('1' or '') -> {released...}
local pool = arg(1)
call('HSET', P .. 'counters:' .. pool, 'paused', arg(2))
if arg(2) == '1' then return {} end
hint_again(pool)
return release(pool)
