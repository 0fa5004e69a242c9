-- What the scripts share that know mailboxes. The fields of `u:{user}` that belong to a mailbox:
--   t  the newest number; the user has a mailbox if there is one       o  the base: lower numbers are of an earlier mailbox
--   e  the ordinal of the epoch in which it was changed last           x  `ordinal:number ` for each epoch before it: its last number
--   n  how many messages wait        b  their bytes        m  the second in which the first of them is over, or an earlier one
--   l  the numbers that were lost: `from-to` with a letter for the reason, and `=slot` if only that device has lost them or
--      `!slot` if that device has not
--   0, 1, 2, 3, 4  the devices: `cursor away sequence tries name`; away is the second since which it has no connection
-- Streams `s:{user}` have an entry for each message that waits, whose id is its number. Its field is the second in which it
-- is over.

local function number_of(id)
  return tonumber(string.match(id, '^%d+'))
end

local function long(text, at)
  local a, b = string.byte(text, at, at + 1)
  return (a or 0) * 256 + (b or 0)
end

-- The parts of an entry: its kind, for a copy the user to whom the message was sent, and the rest.
local function parts(entry)
  local kind, at, to = string.sub(entry, 1, 1), 2, nil
  if kind == 'o' then
    to = string.sub(entry, 4, 3 + long(entry, 2))
    at = 4 + #to
  end
  local it = { kind = kind, to = to, id = string.sub(entry, at, at + 15), marks = string.byte(entry, at + 16) or 0 }
  at = at + 17 + 4
  for _, part in ipairs({ 'from', 'device', 'group', 'key' }) do
    local len = long(entry, at)
    it[part] = string.sub(entry, at + 2, at + 1 + len)
    at = at + 2 + len
  end
  it.message = string.sub(entry, at)
  return it
end

local function devices_of(u)
  local f, all = redis.call('HMGET', u, '0', '1', '2', '3', '4'), {}
  for i = 1, 5 do
    if f[i] then
      local cursor, away, tried, tries, name = string.match(f[i], '^(%d+) (%d+) (%d+) (%d+) (.*)$')
      all[#all + 1] = { slot = i - 1, cursor = tonumber(cursor), away = tonumber(away), tried = tonumber(tried),
        tries = tonumber(tries), name = name }
    end
  end
  return all
end

local function put_device(u, it)
  redis.call('HSET', u, it.slot, string.format('%.0f %.0f %.0f %d %s', it.cursor, it.away, it.tried, it.tries, it.name))
end

-- The names of the devices that are connected anywhere, and whether one of them speaks v2. `but` does not count.
local function connected(p, but)
  local names, speaks_v2 = {}, false
  for dialect, name in string.gmatch(p or '', '%d+ %d+ %d+ (%d) ([^\n]*)\n') do
    if name ~= but then
      names[name] = true
      speaks_v2 = speaks_v2 or dialect == '2'
    end
  end
  return names, speaks_v2
end

-- The lost numbers, the lowest first.
local function lost_of(l)
  local all = {}
  for from, to, why, sign, slot in string.gmatch(l or '', '(%d+)%-(%d+)(%a)([=!]?)(%d?) ') do
    all[#all + 1] = { from = tonumber(from), to = tonumber(to), why = why, mark = sign .. slot }
  end
  return all
end

local function put_lost(u, all)
  local texts = {}
  for i, it in ipairs(all) do
    texts[i] = string.format('%.0f-%.0f%s%s ', it.from, it.to, it.why, it.mark)
  end
  set(u, 'l', table.concat(texts))
end

-- Notes that a message is lost. Ranges become one if no message between them is kept, or if there are too many.
local function note_lost(all, first, seq, why, mark)
  local at = #all + 1
  while at > 1 and all[at - 1].from > seq do
    at = at - 1
  end
  local before = all[at - 1]
  if before and before.to >= seq then
    if string.sub(before.mark, 1, 1) ~= '=' or string.sub(mark, 1, 1) == '=' then
      return
    end
    -- Only one device has lost it so far, and now it is lost for the others, too.
    table.remove(all, at - 1)
    for _, it in ipairs({ { before.from, seq - 1, before.why, before.mark }, { seq, seq, why, mark }, { seq + 1, before.to, before.why, before.mark } }) do
      if it[1] <= it[2] then
        table.insert(all, at - 1, { from = it[1], to = it[2], why = it[3], mark = it[4] })
        at = at + 1
      end
    end
    return
  end
  if before and before.mark == mark and (before.to + 1 == seq or (first and seq < first)) then
    before.to, before.why = seq, why
  else
    table.insert(all, at, { from = seq, to = seq, why = why, mark = mark })
  end
  if #all > 64 then
    all[2].from, all[2].mark = all[1].from, ''
    table.remove(all, 1)
  end
end

-- Whether a device gets a message: the one that has sent it gets no copy of it.
local function is_for(it, device)
  return not (it.kind == 'o' and it.device == device.name)
end

-- Tells the backend of a message that no device had, because a bound or its time has taken it.
local function tell_undelivered(user, it, seq, devices, now)
  if it.kind == 'o' or it.marks % 2 == 0 then
    return
  end
  for _, device in ipairs(devices) do
    if device.cursor >= seq then
      return
    end
  end
  local to = it.group ~= '' and '"group":' .. cjson.encode(it.group) or '"toUserId":' .. cjson.encode(user)
  local frame = '{"type":"message","formUserId":' .. cjson.encode(it.from) .. ',' .. to .. ',"message":' .. it.message .. '}'
  tell(P, 'u', string.format('"type":"undelivered","user":%s,"device":"","toUserId":%s,"frame":%s,"at":%.0f}',
    cjson.encode(it.from), cjson.encode(user), cjson.encode(frame), now * 1000))
end

-- A message is taken out although not every device had it.
local function lose(user, lost, devices, first, seq, entry, why, now)
  local it, mark = parts(entry), ''
  for _, device in ipairs(devices) do
    if not is_for(it, device) then
      mark = '!' .. device.slot
    end
  end
  note_lost(lost, first, seq, why, mark)
  tell_undelivered(user, it, seq, devices, now)
end

-- Takes out the oldest messages until the others are within the bounds.
local function keep_within(u, user, n, b, most, most_bytes, now)
  local s = P .. 's:' .. user
  local devices, lost = devices_of(u), lost_of(redis.call('HGET', u, 'l'))
  while n > 0 and (n > most or b > most_bytes) do
    local all = redis.call('XRANGE', s, '-', '+', 'COUNT', 2)
    local oldest = all[1]
    if not oldest then
      n, b = 0, 0
      break
    end
    redis.call('XDEL', s, oldest[1])
    n, b = n - 1, b - #oldest[2][2]
    lose(user, lost, devices, all[2] and number_of(all[2][1]), number_of(oldest[1]), oldest[2][2], 'o', now)
  end
  put_lost(u, lost)
  return n, b
end

-- Notes at which number an earlier epoch has ended, at the first change in a new one.
local function enter_epoch(u, ordinal, e, x, top)
  if e and e ~= ordinal then
    local text = (x or '') .. e .. ':' .. top .. ' '
    local _, count = string.gsub(text, ' ', '')
    if count > 32 then
      text = string.gsub(text, '^%S+ ', '', 1)
    end
    redis.call('HSET', u, 'e', ordinal, 'x', text)
    return text
  end
  return x
end

-- Makes a mailbox. Its numbers begin above all those of mailboxes that were given up. In each earlier epoch this was the
-- last number of the user, as far as this database knows: a client that has seen a later one has lost something.
local function make_mailbox(u, ordinal)
  local high, x = tonumber(redis.call('GET', P .. 'high') or '0'), nil
  redis.call('HSET', u, 't', high, 'o', high, 'e', ordinal)
  if tonumber(ordinal) > 1 then
    x = string.format('%.0f:%.0f ', ordinal - 1, high)
    redis.call('HSET', u, 'x', x)
  end
  return high, x
end

-- Keeps a message where more has to be done than usual.
local function keep_slowly(user, entry, f, key, now, ends, ordinal, most, most_bytes, live_bytes)
  local u, s = P .. 'u:' .. user, P .. 's:' .. user
  local top = tonumber(f[2])
  local n, b = tonumber(f[4] or '0'), tonumber(f[5] or '0')
  if not top then
    top = make_mailbox(u, ordinal)
  elseif f[3] ~= ordinal then
    enter_epoch(u, ordinal, f[3], redis.call('HGET', u, 'x'), f[2])
  end
  local seq = top + 1
  if key ~= '' then
    local k = P .. 'k:' .. user
    local old = redis.call('HGET', k, key)
    local found = old and redis.call('XRANGE', s, old, old)
    if found and found[1] then
      redis.call('XDEL', s, old)
      n, b = n - 1, b - #found[1][2][2]
    end
    redis.call('HSET', k, key, seq .. '-0')
  end
  redis.call('XADD', s, seq .. '-0', ends, entry)
  n, b = n + 1, b + #entry
  redis.call('HSET', u, 't', seq, 'n', n, 'b', b)
  if not f[6] or tonumber(f[6]) > ends then
    redis.call('HSET', u, 'm', ends)
    redis.call('ZADD', P .. 'due', ends, user)
  end
  if n > most or b > most_bytes then
    local _, speaks_v2 = connected(redis.call('HGET', u, 'p'))
    if speaks_v2 then
      most, most_bytes = math.huge, live_bytes
    end
    if n > most or b > most_bytes then
      n, b = keep_within(u, user, n, b, most, most_bytes, now)
      redis.call('HSET', u, 'n', n, 'b', b)
    end
  end
  return seq
end

-- Whether a receipt tells of a later message than the one before it. Devices on several nodes acknowledge the same.
local function is_new_receipt(from, to, id)
  local c, field = P .. 'c:' .. from, 'receipt ' .. to
  local last = redis.call('HGET', c, field) or redis.call('HGET', P .. 'C:' .. from, field)
  if last and last >= id then
    return false
  end
  redis.call('HSET', c, field, id)
  if redis.call('TTL', c) < 0 then
    redis.call('EXPIRE', c, 172800)
  end
  return true
end

-- Forgets what every device had. Reads at most 256 messages.
local function trim(u, user, devices, n, b)
  if n == 0 or #devices == 0 then
    return n, b
  end
  local s, least = P .. 's:' .. user, math.huge
  for _, device in ipairs(devices) do
    least = math.min(least, device.cursor)
  end
  local all, last, first = redis.call('XRANGE', s, '-', '+', 'COUNT', 256), nil, nil
  for _, found in ipairs(all) do
    local seq, entry = number_of(found[1]), found[2][2]
    local had = seq <= least
    if not had then
      had = true
      local it
      for _, device in ipairs(devices) do
        if device.cursor < seq then
          it = it or parts(entry)
          if is_for(it, device) then
            had = false
            break
          end
        end
      end
    end
    if not had then
      first = seq
      break
    end
    n, b, last = n - 1, b - #entry, seq
  end
  if n <= 0 or #all == 0 then
    n, b = 0, 0
    redis.call('DEL', s, P .. 'k:' .. user)
  elseif last then
    redis.call('XTRIM', s, 'MINID', string.format('%.0f-0', last + 1))
  end
  redis.call('HSET', u, 'n', n, 'b', b)
  local l = redis.call('HGET', u, 'l')
  if l then
    -- What lies between messages that are kept stays: a device that was forgotten has lost it, too.
    local left = {}
    for _, it in ipairs(lost_of(l)) do
      local knows = not first or it.to < first
      for _, device in ipairs(devices) do
        local concerns = it.mark ~= '!' .. device.slot and (string.sub(it.mark, 1, 1) ~= '=' or it.mark == '=' .. device.slot)
        if concerns and device.cursor < it.to then
          knows = false
        end
      end
      if not knows then
        left[#left + 1] = it
      end
    end
    put_lost(u, left)
  end
  return n, b
end

-- A device of a user has no connection any more. `hung_at` is the first message that it has not acknowledged, if the
-- message was written completely; after three of these the device skips it.
local function device_left(u, user, device, now, cursor, hung_at)
  local f = redis.call('HMGET', u, 't', 'n', 'b', 'p', 'l')
  if not f[1] then
    return
  end
  local devices, top, seconds = devices_of(u), tonumber(f[1]), math.floor(now / 1000)
  local n, b, hung = tonumber(f[2] or '0'), tonumber(f[3] or '0'), tonumber(hung_at or '0')
  for _, it in ipairs(devices) do
    if it.name == device then
      it.cursor = math.max(it.cursor, math.min(tonumber(cursor or '0'), top))
      it.away = seconds
      if hung > it.cursor then
        it.tries = it.tried == hung and it.tries + 1 or 1
        it.tried = hung
        if it.tries >= 3 then
          it.tries = 0
          local id = string.format('%.0f-0', hung)
          local found = redis.call('XRANGE', P .. 's:' .. user, id, id)[1]
          if found then
            local lost = lost_of(f[5])
            note_lost(lost, nil, hung, 'u', '=' .. it.slot)
            put_lost(u, lost)
            if #devices == 1 then
              tell_undelivered(user, parts(found[2][2]), hung, devices, seconds)
            end
          end
        end
      end
      put_device(u, it)
    end
  end
  n, b = trim(u, user, devices, n, b)
  local _, speaks_v2 = connected(f[4], device)
  local bounds = redis.call('GET', P .. 'bounds')
  if bounds and not speaks_v2 then
    local most, most_bytes = string.match(bounds, '^(%d+) (%d+)')
    if n > tonumber(most) or b > tonumber(most_bytes) then
      n, b = keep_within(u, user, n, b, tonumber(most), tonumber(most_bytes), seconds)
      redis.call('HSET', u, 'n', n, 'b', b)
    end
  end
end

-- What a node has to know of a mailbox: ordinal of the epoch, newest number, base, ends of epochs, lost numbers, how many
-- messages wait, devices (name, cursor, seconds since it is away or -1), the first messages behind a number, the time in
-- seconds.
local function picture(u, user, ordinal, f, devices, names, seconds, after, most)
  local list = {}
  for _, it in ipairs(devices) do
    local away = -1
    if not names[it.name] then
      away = it.away > 0 and math.max(0, seconds - it.away) or 0
    end
    list[#list + 1] = it.name
    list[#list + 1] = it.cursor
    list[#list + 1] = away
  end
  local messages = {}
  if tonumber(f.n or '0') > 0 and most > 0 then
    messages = redis.call('XRANGE', P .. 's:' .. user, '(' .. after, '+', 'COUNT', most)
  end
  -- A mark of a lost range is the name of its device.
  local lost = {}
  for _, it in ipairs(lost_of(f.l)) do
    local sign, name = string.sub(it.mark, 1, 1), ''
    for _, device in ipairs(devices) do
      if string.sub(it.mark, 2) == tostring(device.slot) then
        name = device.name
      end
    end
    for _, value in ipairs({ it.from, it.to, it.why, sign, name }) do
      lost[#lost + 1] = value
    end
  end
  return { f.e or ordinal, tonumber(f.t), tonumber(f.o or '0'), f.x or '', lost, tonumber(f.n or '0'), list, messages, seconds }
end

local function fields_of(u)
  local f = redis.call('HMGET', u, 't', 'o', 'e', 'x', 'n', 'l', 'p')
  return { t = f[1], o = f[2], e = f[3], x = f[4], n = f[5], l = f[6], p = f[7] }
end

-- A connection of a device has opened. Returns the picture of the mailbox, or nothing for a page of v1 that gets nothing.
local function device_came(u, user, device, dialect, visits, ordinal, now)
  local f, seconds = fields_of(u), math.floor(now / 1000)
  if dialect ~= '2' and (visits ~= '1' or not f.t) then
    return false
  end
  if not f.t then
    f.t, f.x = make_mailbox(u, ordinal)
    f.o, f.e = f.t, ordinal
  else
    f.x = enter_epoch(u, ordinal, f.e, f.x, f.t)
    f.e = ordinal
  end
  local devices = devices_of(u)
  local names = connected(f.p)
  local answer = picture(u, user, ordinal, f, devices, names, seconds, '0', 128)
  local taken, oldest = {}, nil
  for _, it in ipairs(devices) do
    if it.name == device then
      it.away = 0
      put_device(u, it)
      return answer
    end
    taken[it.slot] = true
    if not names[it.name] and (not oldest or it.away < oldest.away) then
      oldest = it
    end
  end
  local slot = 0
  while taken[slot] and slot < 5 do
    slot = slot + 1
  end
  if slot == 5 then
    if not oldest then
      return answer
    end
    slot = oldest.slot
    local lost = {}
    for _, it in ipairs(lost_of(f.l)) do
      if it.mark == '!' .. slot then
        it.mark = ''
      end
      if it.mark ~= '=' .. slot then
        lost[#lost + 1] = it
      end
    end
    put_lost(u, lost)
  end
  put_device(u, { slot = slot, cursor = tonumber(f.o or '0'), away = 0, tried = 0, tries = 0, name = device })
  -- The next send of this user makes copies for the other devices.
  local c = P .. 'c:' .. user
  local meta = redis.call('HGET', c, '')
  if meta and #devices > 0 then
    redis.call('HSET', c, '', string.sub(meta, 1, 1) .. 'o' .. string.sub(meta, 3))
  end
  return answer
end

-- Gives up the mailbox of a user who is not connected with v2.
local function give_up(u, user, top)
  local high = tonumber(redis.call('GET', P .. 'high') or '0')
  if tonumber(top) > high then
    redis.call('SET', P .. 'high', top)
  end
  redis.call('HDEL', u, 't', 'o', 'e', 'x', 'n', 'b', 'm', 'l', '0', '1', '2', '3', '4')
  redis.call('DEL', P .. 's:' .. user, P .. 'k:' .. user)
  redis.call('ZREM', P .. 'due', user)
end
