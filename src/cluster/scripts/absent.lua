-- Users who are not on a node, though this database takes them for connected: it has lost that they have left.
-- life, users (at most 100). Returns for each user in how many ms to ask whether the user is offline; 0 means never.
local life, now, again = ARGV[2], now_ms(), {}
for i = 3, #ARGV do
  local user = ARGV[i]
  local u = P .. 'u:' .. user
  local f = redis.call('HMGET', u, 'r', 'p', 'a')
  local routes, is_known = without(f[1], life)
  local last = leave_places(u, user, f[2], life, now)
  if is_known then
    set_routes(u, f[1], routes)
  end
  if is_known and routes == '' then
    redis.call('HSET', u, 'a', string.format('%.0f %s %s', now, life, last))
  end
  if (is_known and routes == '') or string.match(f[3] or '', '^%d+ (%d+)') == life then
    again[i - 2] = OFFLINE_AFTER
  else
    redis.call('SREM', P .. 'n:' .. life, user)
    again[i - 2] = 0
  end
end
return again
