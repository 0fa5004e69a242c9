-- Finds out whether users whose last connection has ended are offline now, five seconds later.
-- life, users (at most 100). Returns for each user in how many ms to ask again; 0 means never.
local life, now, again = ARGV[2], now_ms(), {}
for i = 3, #ARGV do
  local user = ARGV[i]
  local u = P .. 'u:' .. user
  local f = redis.call('HMGET', u, 'r', 'a', 'w')
  local at, of = string.match(f[2] or '', '^(%d+) (%d+)')
  again[i - 2] = 0
  if of == life and now - at < OFFLINE_AFTER then
    again[i - 2] = OFFLINE_AFTER - (now - at)
  else
    if of == life then
      goes_offline(u, user, f[2], f[3], now)
    end
    local _, is_here = without(f[1], life)
    if not is_here then
      redis.call('SREM', P .. 'n:' .. life, user)
    end
  end
end
return again
