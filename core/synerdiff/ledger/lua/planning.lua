#!lua flags=no-writes
-- The live workers' reports as one text with those fields alone that planning needs: a tick reads hundreds of them.
--
-- 1 pool, then fields -> JSON: [[name, value of each field...], ...]
local pool = arg(1)
local fields = {}
local i = 2
while arg(i) do
  fields[#fields + 1] = arg(i)
  i = i + 1
end
local found = {}
for _, name in ipairs(call('ZRANGEBYSCORE', P .. 'workers:' .. pool, '(' .. stamp(now), '+inf')) do
  local values = call('HMGET', P .. 'worker:' .. name, unpack(fields))
  if values[1] then
    local line = { name }
    for _, value in ipairs(values) do line[#line + 1] = value or '' end
    found[#found + 1] = line
  end
end
return #found > 0 and cjson.encode(found) or '[]'
