-- Takes out messages whose time is over.
-- how many users at most. Returns how many were looked at.
-- A message of a user who is connected is taken out later: a device may have acknowledged it to its node, which tells it
-- here within a second, or when it reaches this database again. A node that does not come back has lost its lease by
-- then, and its users are not connected any more.
local LATE = 15
local seconds = math.floor(now_ms() / 1000)
local users = redis.call('ZRANGEBYSCORE', P .. 'due', '-inf', seconds, 'LIMIT', 0, ARGV[2])
for _, user in ipairs(users) do
  local u, s = P .. 'u:' .. user, P .. 's:' .. user
  local f = redis.call('HMGET', u, 't', 'n', 'b', 'l', 'r', 'p')
  local devices, lost = devices_of(u), lost_of(f[4])
  local _, speaks_v2 = connected(f[6])
  local late = speaks_v2 and LATE or 0
  local n, b, next_due, first = tonumber(f[2] or '0'), tonumber(f[3] or '0'), nil, nil
  local all = redis.call('XRANGE', s, '-', '+', 'COUNT', 256)
  for at, found in ipairs(all) do
    local ends = tonumber(found[2][1]) + late
    if ends <= seconds then
      redis.call('XDEL', s, found[1])
      n, b = n - 1, b - #found[2][2]
      local behind = not first and all[at + 1] and number_of(all[at + 1][1]) or nil
      lose(user, lost, devices, behind, number_of(found[1]), found[2][2], 'e', seconds)
    else
      first = first or found
      next_due = math.min(next_due or ends, ends)
    end
  end
  if n <= 0 then
    n, b = 0, 0
    redis.call('DEL', s, P .. 'k:' .. user)
  elseif not next_due or #all == 256 then
    next_due = math.min(next_due or seconds + 60, seconds + 60)
  end
  if not f[1] then
    redis.call('ZREM', P .. 'due', user)
  elseif n == 0 and #devices == 0 then
    give_up(u, user, f[1])
  else
    redis.call('HSET', u, 'n', n, 'b', b)
    put_lost(u, lost)
    if next_due then
      redis.call('HSET', u, 'm', next_due)
      redis.call('ZADD', P .. 'due', next_due, user)
    else
      redis.call('HDEL', u, 'm')
      redis.call('ZREM', P .. 'due', user)
    end
  end
end
return #users
