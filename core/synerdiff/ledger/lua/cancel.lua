#!lua flags=allow-oom
-- End an open job for good, wherever it is. Its holder learns it with the next renewal, and can write nothing more.
--
-- 1 id -> {accepted, state or '', {released...}}
local id = arg(1)
local record = read(id)
if not record then return { 0, '', {} } end
if record.state == 'cancelled' then return { 1, 'cancelled', {} } end
if record.place == '' then return { 0, record.state, {} } end
finish(id, record, 'cancelled', 'cancelled')
return { 1, 'cancelled', release(record.pool) }
