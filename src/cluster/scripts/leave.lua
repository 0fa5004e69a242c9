-- A connection of a user has ended.
-- user, life, connections that the user still has on this node, conn, device, cursor, number at which the client hung
-- (0 for none), epoch, and, if another connection of its device takes its place: conn, dialect, age in ms. Returns 1 if
-- this was the last connection of the user.
local user, life, count, conn, device = ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6]
local refused = refusal(ARGV[9])
if refused then
  return refused
end
local u, now = P .. 'u:' .. user, now_ms()
local f = redis.call('HMGET', u, 'r', 'p', 'a', 'w')
local others, is_known = without(f[1], life)
local routes = others
if count ~= '0' and is_known then
  routes = with(others, life .. '*' .. count)
end
local all = places(f[2])
for i, it in ipairs(all) do
  if it.life == life and it.conn == conn then
    table.remove(all, i)
    if ARGV[10] then
      place(all, { life = life, conn = ARGV[10], since = now - ARGV[12], dialect = ARGV[11], device = device }, 5, now)
    else
      device_left(u, user, device, now, ARGV[7], ARGV[8])
    end
    set(u, 'p', written(all))
    break
  end
end
if routes ~= f[1] and is_known then
  set_routes(u, f[1], routes)
end
local is_last = 0
if is_known and routes == '' then
  redis.call('HSET', u, 'a', string.format('%.0f %s %s', now, life, device))
  is_last = 1
elseif is_known and others == routes then
  redis.call('SREM', P .. 'n:' .. life, user)
end
return is_last
