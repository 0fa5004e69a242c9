-- Forgets the messages of a user up to a number. If that is all, and the user is not connected with v2, the whole mailbox
-- is given up.
-- user, number, epoch
local user, seq = ARGV[2], tonumber(ARGV[3])
local refused = refusal(ARGV[4])
if refused then
  return refused
end
local u = P .. 'u:' .. user
local f = redis.call('HMGET', u, 't', 'o', 'p', 'r', 'n', 'b', 'l')
if not f[1] then
  return 0
end
local top, base = tonumber(f[1]), tonumber(f[2] or '0')
local names, speaks_v2 = connected(f[3])
local last = math.min(seq, top)
if last < top then
  local s, n, b = P .. 's:' .. user, tonumber(f[5] or '0'), tonumber(f[6] or '0')
  local id = string.format('%.0f-0', last)
  for _, found in ipairs(redis.call('XRANGE', s, '-', id)) do
    n, b = n - 1, b - #found[2][2]
  end
  redis.call('XTRIM', s, 'MINID', string.format('%.0f-0', last + 1))
  redis.call('HSET', u, 'n', n, 'b', b, 'o', math.max(base, last))
elseif speaks_v2 then
  redis.call('DEL', P .. 's:' .. user, P .. 'k:' .. user, P .. 'c:' .. user, P .. 'C:' .. user)
  redis.call('ZREM', P .. 'due', user)
  redis.call('HSET', u, 'n', 0, 'b', 0, 'o', top)
  redis.call('HDEL', u, 'm', 'l')
  for _, it in ipairs(devices_of(u)) do
    if not names[it.name] then
      redis.call('HDEL', u, it.slot)
    end
  end
else
  give_up(u, user, top)
  redis.call('DEL', P .. 'c:' .. user, P .. 'C:' .. user)
end
if f[4] then
  publish(u, 'r', f[4], string.format('\1\5%.0f,%.0f,%s', base + 1, last, user))
end
return 1
