#!lua flags=allow-oom
-- A full worker follows no hint until one of its jobs ends, so it asks by itself for a job that waits and must run alone:
-- 'ask' says for which one it may be set aside. 'take' sets it aside: it has to make room then, and is given ordinary
-- jobs no more. 'still' says which one waits while it is set aside and has taken none, so that it can send that hint.
--
-- 1 pool, 2 worker, 3 'ask', 'take' or 'still' -> id | ''
local pool, worker, how = arg(1), arg(2), arg(3)
local alone, quarantine = P .. 'alone:' .. pool, P .. 'quarantine:' .. pool
local SUSPECTS_EACH = 4  -- one after another, before a further full worker is taken out for them
local LOOK_AT = 50

local function free_to_ask()
  if how == 'still' or call('HEXISTS', alone, worker) == 1 then return false end
  if call('HGET', P .. 'counters:' .. pool, 'paused') == '1' then return false end
  if num(call('HGET', P .. 'capacities:' .. pool, worker)) == 0 or not may_set_aside(pool, worker) then return false end
  return call('ZCARD', quarantine) > SUSPECTS_EACH * call('HLEN', alone)
end

-- The first one whose record is still there.
local function suspect()
  for _, id in ipairs(call('ZRANGE', quarantine, 0, LOOK_AT - 1)) do
    local record = read(id)
    if record and record.place == 'quarantine' then return id end
  end
end

local aside = call('HGET', alone, worker) == ''
if not aside and not free_to_ask() then return '' end
local id = suspect()
if id and how == 'take' then
  call('HSET', alone, worker, '')
elseif aside and not id then
  call('HDEL', alone, worker)
  hint_again(pool)
end
return id or ''
