-- What the scripts share that know on which nodes a user is connected. This file stands in front of each of
-- them. ARGV[1] is the prefix of all keys. The fields of `u:{user}` that are read here:
--   r  routes, `life*connections` for each node, separated by spaces; absent while the user has no connection
--   p  places, one line for each device that is connected: `life conn since dialect device`
--   a  `ms life device`: when the last connection ended, which node finds out five seconds later whether the user is
--      offline, and the device of that connection
--   w  the lives of the nodes that watch the presence of the user, separated by spaces
-- The first bytes of what is published are those of `codec.rs`.

local P = ARGV[1]
local VERSION, DISPLACED, PRESENCE, MEMBERSHIP = 1, 1, 2, 3
local OFFLINE_AFTER = 5000
-- A command may be under way for so many milliseconds, and a node does not know the time of Redis better than that.
local UNDER_WAY = 1000
-- A connection that is younger than so many milliseconds is new.
local NEW = 5000

local function now_ms()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

-- Sets a field of a user, or removes it if it is empty.
local function set(u, field, text)
  if text == '' then
    redis.call('HDEL', u, field)
  else
    redis.call('HSET', u, field, text)
  end
end

-- Changes the routes of a user, and counts the users who have one.
local function set_routes(u, before, after)
  set(u, 'r', after)
  if (before or '') == '' then
    if after ~= '' then
      redis.call('INCR', P .. 'online')
    end
  elseif after == '' then
    redis.call('DECR', P .. 'online')
  end
end

-- Returns words without the one of a life, and whether it was among them.
local function without(words, life)
  local kept, found = {}, false
  for word in string.gmatch(words or '', '%S+') do
    if string.match(word, '^%d+') == life then
      found = true
    else
      kept[#kept + 1] = word
    end
  end
  return table.concat(kept, ' '), found
end

local function with(words, word)
  if words == '' then
    return word
  end
  return words .. ' ' .. word
end

local function is_dead(life)
  return redis.call('EXISTS', P .. 'l:' .. life) == 0
end

-- Why a node is refused that believes in another epoch than the one in which this database is, if it does. The database
-- has lost its data while the node was connected, so what the node says of numbers is about other messages.
local function refusal(ordinal)
  if redis.call('HGET', P .. 'epoch', 'ordinal') ~= ordinal then
    return redis.error_reply('EPOCH this database is in another epoch')
  end
end

local goes_offline

-- Publishes to each life among the words of a field, and removes those that are dead from it. A life
-- without a subscriber whose lease still runs is only connecting again. A user whose last route is removed is offline from
-- now on, because the sweep of that life does not find the route any more. Returns how many got the message.
local function publish(u, field, words, payload)
  local got, left = 0, words
  for life in string.gmatch(words, '(%d+)[^ ]*') do
    if redis.call('PUBLISH', P .. 'i:' .. life, payload) > 0 then
      got = got + 1
    elseif is_dead(life) then
      left = without(left, life)
    end
  end
  if left ~= words then
    if field == 'r' then
      set_routes(u, words, left)
      if left == '' then
        local f = redis.call('HMGET', u, 'a', 'w')
        goes_offline(u, string.sub(u, #P + 3), f[1], f[2], now_ms())
      end
    else
      set(u, field, left)
    end
  end
  return got, left
end

-- Tells the nodes that watch a user whether the user is online now.
local function tell_watchers(u, user, watchers, is_online)
  if watchers then
    publish(u, 'w', watchers, string.char(VERSION, PRESENCE, is_online and 1 or 0) .. user)
  end
end

-- Tells the backend that a user is online from now on, or no longer.
local function tell_backend(kind, user, device, at)
  local name = kind == 'o' and 'online' or 'offline'
  tell(P, kind, string.format('"type":"%s","user":%s,"device":%s,"at":%.0f}', name, cjson.encode(user), cjson.encode(device), at))
end

-- A user is offline from now on. `left` is the field `a`; it is empty if the node of the last connection has died.
function goes_offline(u, user, left, watchers, now)
  local at, device = string.match(left or '', '^(%d+) %d+ (.*)$')
  redis.call('HDEL', u, 'a')
  tell_watchers(u, user, watchers, false)
  tell_backend('f', user, device or '', tonumber(at or now))
end

-- The places of a user, the connection that has begun first in front.
local function places(p)
  local all = {}
  for life, conn, since, dialect, device in string.gmatch(p or '', '(%d+) (%d+) (%d+) (%d) ([^\n]*)\n') do
    all[#all + 1] = { life = life, conn = conn, since = tonumber(since), dialect = dialect, device = device }
  end
  return all
end

local function written(all)
  local lines = {}
  for i, it in ipairs(all) do
    lines[i] = string.format('%s %s %.0f %s %s\n', it.life, it.conn, it.since, it.dialect, it.device)
  end
  return table.concat(lines)
end

-- Gives a connection its place. Returns whether it has one now, and the connections that have lost theirs:
-- an older one of the device, and the oldest one if there are too many devices. When a node has stood still, nobody
-- knows exactly when a connection to it was made: between `since` and `latest`. It gets no place if another one may be
-- newer, and the third result is whether that one may also be older. That is not known of a new connection either,
-- because the clock may have been set back since the other place was given: its client comes again and gets the place
-- then, if it is still there.
local function place(all, new, most, now)
  local gone, at = {}, 1
  local is_new = now - (new.latest or new.since) < NEW
  for i = #all, 1, -1 do
    local old = all[i]
    if old.device == new.device then
      -- When a node registers anew, its connections enter again, and `since` is only as exact as the command was
      -- fast. So a connection of a life that has ended is not newer. Nor is one of the future newer than a new one: it was
      -- there before the clock was set back.
      local is_same = old.life == new.life and old.conn == new.conn
      local is_newer = old.since > new.since and not (is_new and old.since > now)
      if is_newer and not is_same and not (old.life ~= new.life and is_dead(old.life)) then
        return false, gone, is_new or old.since <= (new.latest or new.since)
      end
      table.remove(all, i)
      if old.life ~= new.life then
        gone[#gone + 1] = old
      end
    end
  end
  while at <= #all and all[at].since <= new.since do
    at = at + 1
  end
  table.insert(all, at, new)
  while #all > most do
    local oldest = table.remove(all, 1)
    gone[#gone + 1] = oldest
  end
  for _, it in ipairs(gone) do
    if it == new then
      return false, gone, is_new or all[1] ~= nil and all[1].since <= (new.latest or new.since)
    end
  end
  return true, gone, false
end

-- Tells a connection on another node that it has lost its place.
local function tell_displaced(user, it)
  redis.call('PUBLISH', P .. 'i:' .. it.life, string.char(VERSION, DISPLACED) .. it.conn .. ' ' .. user)
end

-- What the nodes of a user are told of a membership that has changed.
local function membership(user, group, joins)
  return string.char(VERSION, MEMBERSHIP, joins and 1 or 0, #user) .. user .. group
end
