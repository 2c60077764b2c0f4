#!lua flags=allow-oom
-- Append events to jobs' streams, each fenced by its token.
--
-- For each: id, token, kind, step, steps, image or '', message, data (JSON) or '' -> {1 | 0, ...}
-- A preview replaces the one before, in a stream of its own: records are kept for long, pictures are not.
local PREVIEW_TTL_S = 60
local answers = {}

local function preview(id, kind, ...)
  local key = P .. 'preview:' .. id
  call('XADD', key, 'MAXLEN', 1, '*', 'kind', kind, 'at', stamp(now), ...)
  call('EXPIRE', key, PREVIEW_TTL_S)
end

-- The most that a job stepped between two reports, by which its trial ends if it crashes before the next one.
local function stepped(id, step, told, stride)
  if told > 0 then stride = math.max(stride, step - told) end
  call('HSET', job_key(id), 'step', step, 'told', step, 'stride', stride)
end

local i = 1
while arg(i) do
  local id, token, kind, step = arg(i), arg(i + 1), arg(i + 2), arg(i + 3)
  local held = call('HMGET', job_key(id), 'state', 'token', 'told', 'stride')
  local mine = held[1] == 'running' and held[2] == token
  if mine then
    if kind == 'step' then
      stepped(id, num(step), num(held[3]), num(held[4]))
    else
      call('HSET', job_key(id), 'step', math.max(num(step), num(held[3])))  -- a preview may come late
    end
    local append = kind == 'preview' and preview or event
    append(id, kind, 'step', step, 'steps', arg(i + 4), 'image', arg(i + 5), 'message', arg(i + 6), 'data', arg(i + 7))
  end
  answers[#answers + 1] = mine and 1 or 0
  i = i + 8
end
return answers
