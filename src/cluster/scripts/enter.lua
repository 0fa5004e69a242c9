-- A connection of a user has opened.
-- user, life, connections of the user on this node, dialect, device, conn, age in ms at most, by how many ms it may be
-- younger, when the command was sent, most devices, whether a page of v1 gets what waits, epoch, groups of the ticket:
-- most groups of a user, then each one and whether it is in this database
-- Returns the connections of this node that have lost their places, the groups of the user, those whose members are in
-- another database, the mailbox, and whether the connection has no place although it may be the newest one.
local user, life, count, dialect, device, conn = ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6], ARGV[7]
local age, doubt, most = tonumber(ARGV[8]), tonumber(ARGV[9]), tonumber(ARGV[11])
local refused = refusal(ARGV[13])
if refused then
  return refused
end
if is_dead(life) then
  return redis.error_reply('DEAD this life has lost its lease')
end
local u, now = P .. 'u:' .. user, now_ms()
local f = redis.call('HMGET', u, 'r', 'p', 'a', 'w')
local others, is_known = without(f[1], life)
local all = places(f[2])
local sent = math.min(now, ARGV[10] + UNDER_WAY)
local new = { life = life, conn = conn, since = sent - age, latest = now - age + doubt, dialect = dialect, device = device }
local is_placed, gone, is_unsure = place(all, new, most, now)
set_routes(u, f[1], with(others, life .. '*' .. count))
redis.call('HSET', u, 'p', written(all))
if f[3] then
  redis.call('HDEL', u, 'a')
end
if not is_known then
  redis.call('SADD', P .. 'n:' .. life, user)
end
local mine = {}
if not is_placed then
  mine[1] = conn
end
for _, it in ipairs(gone) do
  if it.device ~= device then
    device_left(u, user, it.device, now, '0', '0')
  end
  if it.life ~= life then
    tell_displaced(user, it)
  elseif it.conn ~= conn then
    mine[#mine + 1] = it.conn
  end
end
local came = not f[1] and not f[3]
if came then
  tell_watchers(u, user, f[4], true)
end
-- While the backend lists who is online, it is told of each user who comes to another node, so that its list is
-- complete.
if came or (not is_known and redis.call('EXISTS', P .. 'listed') == 1) then
  tell_backend('o', user, device, now)
end
-- The groups that a ticket names.
local ug, elsewhere = P .. 'ug:' .. user, {}
for i = 15, #ARGV, 2 do
  local group = ARGV[i]
  if redis.call('SISMEMBER', ug, group) == 0 and redis.call('SCARD', ug) < tonumber(ARGV[14]) then
    redis.call('SADD', ug, group)
    if others ~= '' then
      publish(u, 'r', others, membership(user, group, true))
    end
    if ARGV[i + 1] == '1' then
      redis.call('ZADD', P .. 'g:' .. group, 0, user)
    else
      elsewhere[#elsewhere + 1] = group
    end
  end
end
local mailbox = device_came(u, user, device, dialect, ARGV[12], ARGV[13], now) or false
return { mine, redis.call('SMEMBERS', ug), elsewhere, mailbox, is_unsure and 1 or 0 }
