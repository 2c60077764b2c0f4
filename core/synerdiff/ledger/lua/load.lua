#!lua flags=no-writes
-- A pool's counters and its oldest open job; nothing is scanned.
--
-- 1 pool -> {now, oldest arrival or '', live workers, {field, value, ...}}
local pool = arg(1)
local oldest = call('ZRANGE', P .. 'jobs:open:' .. pool, 0, 0, 'WITHSCORES')
return {
  stamp(now), oldest[2] or '', call('ZCOUNT', P .. 'workers:' .. pool, '(' .. stamp(now), '+inf'),
  call('HGETALL', P .. 'counters:' .. pool),
}
