-- Keeps the message of one send for up to 100 users of this database, and publishes it to their nodes.
--   2 ordinal of the epoch      3 sender        4 name of the send, 8 bytes, or empty
--   5 hash of its content and its id, 24 bytes  6 two letters: which messages are kept, u usual, i if there is a mailbox,
--   a always, n never; and o if the other devices of the sender get copies, c if none but these copies are made, or -
--   7 for how many seconds it is kept           8 the entry: a letter for its kind, and its body
--   9 most messages, 10 most bytes, 11 most bytes while a device is connected
--   12 how many users there are                 13... the users
-- Behind them, if one of these is not empty: idempotency key of a backend's request; name of the send before it from the
-- same sender in the same pipeline; key of the sender; group; and, for a receipt, the id that it is about. Nearly always all
-- of them are empty, and each argument takes Redis time.
-- The script that tells the backend, whose text has more at the places in `[[`, has one argument behind them: the events.
-- They are told if the send was not made before; those of a receipt if it is a new one.
-- Returns for one user the number of the message, 0 if nobody gets it, -1 if it is only published; for several users a
-- list of these; for a group how many users and connections get it, and the best of these numbers. A send that was made
-- before: `dup` and what was kept of it. One whose predecessor has failed: `after`.
-- Numbers are written with `%d`: one that becomes a text by itself is written as a fraction with up to 17 digits, which
-- takes long.
local A, call, format = ARGV, redis.call, string.format
--[[EVENTS]]
local P, ordinal, from, name = A[1], A[2], A[3], A[4]
local entry, most, most_bytes = A[8], A[9] + 0, A[10] + 0
local last, once, previous, own_key, group, about = 13, '', '', '', '', ''
if #A ~= 13 then
  last = 12 + A[12]
  if #A > last then
    once, previous, own_key, group, about = A[last + 1], A[last + 2], A[last + 3], A[last + 4], A[last + 5]
  end
end
local time = call('TIME')
local now = time[1] + 0
local cids, meta, meta_before

local note_once
if once ~= '' then
  -- The messages of this request that were made are fields of `q:{key}`, beside those of its claim. In another database
  -- than that of the claims the key is new.
  note_once = function(fate)
    call('HSET', cids, name, A[5] .. fate)
    call('PEXPIRE', cids, 600000)
    if call('HLEN', cids) == 1 then
      call('ZADD', P .. 'ql', string.format('%.0f', now * 1000), once)
      if call('ZCARD', P .. 'ql') > 100000 then
        for i, old in ipairs(call('ZPOPMIN', P .. 'ql', 2)) do
          if i % 2 == 1 and old ~= once then
            call('DEL', P .. 'q:' .. old)
          end
        end
      end
    end
  end
  cids = P .. 'q:' .. once
  local was = call('HGET', cids, name)
  if was then
    return { 'dup', was }
  end
elseif name ~= '' then
  cids = P .. 'c:' .. from
  local f = call('HMGET', cids, '', name, previous)
  meta = f[1]
  local was, before = f[2], f[3]
  if meta and string.byte(meta) == 67 then
    was = was or call('HGET', P .. 'C:' .. from, name)
    before = before or call('HGET', P .. 'C:' .. from, previous)
  end
  if was then
    return { 'dup', was }
  end
  if previous ~= '' and not before then
    return { 'after' }
  end
  meta_before = meta
  if not meta then
    local d = call('HMGET', P .. 'u:' .. from, '0', '1', '2', '3', '4')
    local count = 0
    for i = 1, 5 do
      count = count + (d[i] and 1 or 0)
    end
    meta = (count > 1 and '-o' or '--') .. time[1]
  elseif now - string.sub(meta, 3) > 43200 or (string.byte(name) % 16 == 0 and call('HLEN', cids) >= 512) then
    call('RENAME', cids, P .. 'C:' .. from)
    call('EXPIRE', P .. 'C:' .. from, 86400)
    meta, meta_before = 'C' .. string.sub(meta, 2, 2) .. time[1], nil
  end
end
--[[REPORT OF A SEND]]

-- Nearly always one user gets a message without a key and without copies, and within all bounds. Then none of the functions
-- below is made.
local letter, copies = string.byte(A[6], 1, 2)
local has_copies = copies ~= 45 and string.byte(meta or '', 2) == 111
local is_usual = own_key == '' and group == '' and about == ''
if last == 13 and is_usual and copies ~= 99 and not has_copies and letter ~= 110 then
  local to = A[13]
  local u, ends = P .. 'u:' .. to, now + A[7]
  local f = call('HMGET', u, 'r', 't', 'e', 'n', 'b', 'm')
  local r, top, n, b = f[1], f[2], (f[4] or 0) + 1, (f[5] or 0) + #entry
  local life = r and string.match(r, '^(%d+)%*%d+$')
  if top and f[3] == ordinal and n <= most and b <= most_bytes and f[6] and f[6] + 0 <= ends and (life or not r) then
    local seq = format('%d', top + 1)
    call('XADD', P .. 's:' .. to, seq .. '-0', format('%d', ends), entry)
    call('HSET', u, 't', seq, 'n', format('%d', n), 'b', format('%d', b))
    if life then
      -- A node that has died is removed from the routes when its lease has run out.
      call('PUBLISH', P .. 'i:' .. life, '\1\4' .. ordinal .. ',' .. seq .. ',' .. format('%d', #to) .. ',' .. to .. ',;' .. entry)
    end
    if once ~= '' then
      note_once('k')
    elseif name ~= '' then
      if meta == meta_before then
        call('HSET', cids, name, A[5] .. 'k')
      else
        call('HSET', cids, name, A[5] .. 'k', '', meta)
        call('EXPIRE', cids, 172800)
      end
    end
    return top + 1
  end
end

-- If the database has lost its data without a restart, numbers would begin anew in the same epoch, and clients would take
-- new messages for old ones. A mailbox that is of this epoch, as above, has not been lost.
if call('HGET', P .. 'epoch', 'ordinal') ~= ordinal then
  return redis.error_reply('EPOCH this database is in another epoch')
end

local function whole(number)
  return format('%d', number)
end

local function slow(what, a, b, c, d, e, g)
--[[LIBRARY]]
  if what == 'receipt' then
    return is_new_receipt(a, b, c)
  elseif what == 'drop' then
    return publish(a, 'r', b, c)
  end
  return keep_slowly(a, b, c, d, e, g, ordinal, most, most_bytes, A[11] + 0)
end

-- Gives a message to one user. Returns its number, and notes in `lists` what is published to which node. What is only
-- published writes nothing, so the name of the send is written before: without room nothing is published, and a send that
-- comes again is found.
local lists, connections, is_written = {}, 0, name == ''
local function give(to, entry, keep, key)
  local u = P .. 'u:' .. to
  local f = call('HMGET', u, 'r', 't', 'e', 'n', 'b', 'm')
  local r, top, seq = f[1], f[2], 0
  if keep == 'a' or (keep ~= 'n' and top) or (keep == 'u' and not r) then
    local n, b = (f[4] or 0) + 1, (f[5] or 0) + #entry
    local ends = now + A[7]
    if not top or f[3] ~= ordinal or key ~= '' or n > most or b > most_bytes then
      seq = slow('keep', to, entry, f, key, now, ends)
    else
      seq = top + 1
      local newest, till = whole(seq), whole(ends)
      call('XADD', P .. 's:' .. to, newest .. '-0', till, entry)
      if f[6] and f[6] + 0 <= ends then
        call('HSET', u, 't', newest, 'n', whole(n), 'b', whole(b))
      else
        call('HSET', u, 't', newest, 'n', whole(n), 'b', whole(b), 'm', till)
        call('ZADD', P .. 'due', till, to)
      end
    end
  end
  if r then
    if seq == 0 then
      seq = -1
      if not is_written then
        call('HSET', cids, name, A[5] .. 's')
      end
    end
    is_written = true
    local head = (seq > 0 and whole(seq) or '0') .. ',' .. whole(#to) .. ',' .. to .. ','
    for life, count in string.gmatch(r, '(%d+)%*(%d+)') do
      lists[life] = (lists[life] or '') .. head
      connections = connections + count
    end
  end
  return seq, r, u
end

local function post(entry, r, u)
  for life, heads in pairs(lists) do
    if call('PUBLISH', P .. 'i:' .. life, '\1\4' .. ordinal .. ',' .. heads .. ';' .. entry) == 0 and r then
      -- This removes all that are dead.
      slow('drop', u, r, '')
      r = nil
    end
  end
  lists = {}
end

local results, best, users = {}, 0, 0
if copies ~= 99 then
  local key, keep = own_key, string.sub(A[6], 1, 1)
  if about ~= '' and not slow('receipt', from, A[13], about) then
    return 0
  end
  --[[REPORT OF A RECEIPT]]
  if key ~= '' then
    local kind = string.sub(entry, 1, 1)
    if kind == 'm' then
      key = 'g\0' .. group .. '\0' .. from .. '\0' .. key
    elseif kind == 'r' then
      key = 'r\0' .. from
    else
      key = 'm\0' .. from .. '\0' .. key
    end
  end
  local r, u
  for i = 13, last do
    local seq
    seq, r, u = give(A[i], entry, keep, key)
    results[i - 12] = seq
    if seq ~= 0 then
      users = users + 1
    end
    if seq > 0 or (seq < 0 and best == 0) then
      best = seq
    end
  end
  if last > 13 then
    r = nil
  end
  post(entry, r, u)
end

-- The copies for the other devices of the sender.
if has_copies then
  local after = string.sub(entry, 2)
  local sent = connections
  if group ~= '' then
    local own = 'o\0\0' .. after
    local key = own_key ~= '' and ('o\0' .. group .. '\0' .. from .. '\0' .. own_key) or ''
    local _, r, u = give(from, own, 'i', key)
    post(own, r, u)
  else
    for i = 13, last do
      local to = A[i]
      if to ~= from then
        local own = 'o' .. string.char(math.floor(#to / 256), #to % 256) .. to .. after
        local key = own_key ~= '' and ('o\0' .. to .. '\0' .. own_key) or ''
        local _, r, u = give(from, own, 'i', key)
        post(own, r, u)
      end
    end
  end
  connections = sent
end

if name ~= '' then
  local fate = best > 0 and 'k' or (best < 0 or copies == 99) and 's' or 'o'
  if once ~= '' then
    -- What has reached nobody is tried again when the request comes again.
    if fate ~= 'o' then
      note_once(fate)
    end
  elseif meta == meta_before then
    call('HSET', cids, name, A[5] .. fate)
  else
    call('HSET', cids, name, A[5] .. fate, '', meta)
    call('EXPIRE', cids, 172800)
  end
end
if group ~= '' then
  return { users, connections, best }
elseif last == 13 then
  return results[1] or 0
end
return results
