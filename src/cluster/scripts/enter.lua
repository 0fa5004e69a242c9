-- A connection of a user has opened.
-- user, life, connections of the user on this node, dialect, device, conn, age in ms, most devices, whether a page of
-- v1 gets what waits, epoch, groups of the ticket: most groups of a user, then each one and whether it is in this database
local user, life, count, dialect, device, conn = ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6], ARGV[7]
local age, most = tonumber(ARGV[8]), tonumber(ARGV[9])
if is_dead(life) then
  return redis.error_reply('DEAD this life has lost its lease')
end
local u, now = P .. 'u:' .. user, now_ms()
local f = redis.call('HMGET', u, 'r', 'p', 'a', 'w')
local others, is_known = without(f[1], life)
local all = places(f[2])
local new = { life = life, conn = conn, since = now - age, dialect = dialect, device = device }
local is_placed, gone = place(all, new, most)
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
for i = 13, #ARGV, 2 do
  local group = ARGV[i]
  if redis.call('SISMEMBER', ug, group) == 0 and redis.call('SCARD', ug) < tonumber(ARGV[12]) then
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
return { mine, redis.call('SMEMBERS', ug), elsewhere, device_came(u, user, device, dialect, ARGV[10], ARGV[11], now) or false }
