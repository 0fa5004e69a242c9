-- Events of which the backend is told. This file stands in front of each script that tells of one.
--   ev    stream of the events that wait; an entry's id is `ordinal-number`, its field is the epoch of the number
--   ev:s  what is known of the stream:
--     kinds, most      the letters of the events that are wanted, and the most bytes that wait; no field, no events
--     ordinal, epoch   the present epoch of the numbers, and its name; a later one has a greater ordinal
--     since            the time in the name of that epoch
--     of               the epoch of the database in which that epoch has begun
--     last, bytes      the last number, and how many bytes wait
--     lost             the first number that was dropped and is not yet reported
--     dropped          how many events were dropped
--     sleeper          the life that is told when there is an event
--   ev:teller          the life that tells the backend
-- A number is given to each event, also to one that does not fit. The next one that fits comes behind a `lost` event.
local EVENTS, EVENT_SIZE = { 'kinds', 'most', 'of', 'ordinal', 'epoch', 'last', 'bytes', 'lost', 'sleeper', 'since' }, 32

local function ms_of_event()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

local function base36(number)
  local text = ''
  while number > 0 do
    local digit = number % 36
    text = string.sub('0123456789abcdefghijklmnopqrstuvwxyz', digit + 1, digit + 1) .. text
    number = (number - digit) / 36
  end
  return text
end

-- Returns what is known of the stream; nil if nobody wants events. In another epoch of the database a new epoch of
-- the numbers begins, because the last events may be gone. Then the first number counts as lost. The name of an epoch
-- is its time, so that a later one is greater, and behind it the name of the database's epoch, which no other one
-- has: a failover may lose that there was an epoch, and after a clock was set back the next one has the same time.
local function events_of(P)
  local s, f = P .. 'ev:s', {}
  local values = redis.call('HMGET', s, unpack(EVENTS))
  for i, name in ipairs(EVENTS) do
    f[name] = values[i] or nil
  end
  if not f.kinds then
    return nil
  end
  f.last, f.bytes = tonumber(f.last or 0), tonumber(f.bytes or 0)
  local of = redis.call('HGET', P .. 'epoch', 'ordinal') or '0'
  if f.of ~= of then
    f.last = f.ordinal and 1 or 0
    f.lost = f.ordinal and '1' or nil
    local since = math.max(ms_of_event(), tonumber(f.since or 0) + 1)
    f.of, f.ordinal, f.epoch = of, string.format('%.0f', tonumber(f.ordinal or 0) + 1), base36(since)
    f.epoch = f.epoch .. (string.match(redis.call('HGET', P .. 'epoch', 'names') or '', '(%S+) $') or '')
    redis.call('HSET', s, 'of', of, 'ordinal', f.ordinal, 'epoch', f.epoch, 'last', f.last, 'since', string.format('%.0f', since))
    if f.lost then
      redis.call('HSET', s, 'lost', f.lost)
    else
      redis.call('HDEL', s, 'lost')
    end
  end
  return f
end

-- Drops so many events.
local function drop_events(P, f, count)
  if not f.lost then
    f.lost = string.format('%.0f', f.last + 1)
    redis.call('HSET', P .. 'ev:s', 'lost', f.lost)
  end
  f.last = f.last + count
  redis.call('HSET', P .. 'ev:s', 'last', string.format('%.0f', f.last))
  redis.call('HINCRBY', P .. 'ev:s', 'dropped', count)
end

local function add_event(P, f, text)
  f.last, f.bytes = f.last + 1, f.bytes + #text + EVENT_SIZE
  redis.call('XADD', P .. 'ev', string.format('%s-%.0f', f.ordinal, f.last), f.epoch, text)
end

-- Adds an event, or only the report of what was lost if there is no event. `share` is the part of the stream that it
-- may use.
local function append_event(P, f, text, share)
  local s, size, notice = P .. 'ev:s', text and #text + EVENT_SIZE or 0, nil
  if f.lost then
    notice = string.format('"type":"lost","from":%s,"to":%.0f,"at":%.0f}', f.lost, f.last, ms_of_event())
    size = size + #notice + EVENT_SIZE
  end
  if f.bytes + size >= tonumber(f.most) * share then
    if text then
      drop_events(P, f, 1)
    end
    return
  end
  if notice then
    add_event(P, f, notice)
    f.lost = nil
    redis.call('HDEL', s, 'lost')
  end
  if text then
    add_event(P, f, text)
  end
  redis.call('HSET', s, 'last', string.format('%.0f', f.last), 'bytes', string.format('%.0f', f.bytes))
  if f.sleeper then
    redis.call('HDEL', s, 'sleeper')
    redis.call('PUBLISH', P .. 'i:' .. f.sleeper, string.char(1, 24))
    f.sleeper = nil
  end
end

-- Tells of an event when it is known what `events_of` returns: the letter of its kind, and its JSON without the first
-- field, `"type":…}`. The kind `!` stands for so many events that were dropped.
local function tell_of(P, f, kind, text)
  if kind == '!' then
    drop_events(P, f, tonumber(text))
  elseif string.find(f.kinds, kind, 1, true) then
    -- Messages must not push out the events that say who is online.
    append_event(P, f, text, (kind == 'o' or kind == 'f') and 1 or 0.75)
  end
end

local function tell(P, kind, text)
  local f = events_of(P)
  if f then
    tell_of(P, f, kind, text)
  end
end
