-- Changes a membership: the part at the group (`g`), the part at the user (`u`), or both (`gu`), because group and
-- user may be in different databases.
-- part, `join` or `leave`, group, user, most groups of a user. Returns 1 if the membership has changed, 0 if it was
-- so already, and -1 if the user is in too many groups.
local part, wish, group, user, most = ARGV[2], ARGV[3], ARGV[4], ARGV[5], tonumber(ARGV[6])
local g, ug, u = P .. 'g:' .. group, P .. 'ug:' .. user, P .. 'u:' .. user
local changed = 0
if string.find(part, 'u', 1, true) then
  if wish == 'join' then
    if redis.call('SCARD', ug) >= most and redis.call('SISMEMBER', ug, group) == 0 then
      return -1
    end
    changed = redis.call('SADD', ug, group)
  else
    changed = redis.call('SREM', ug, group)
  end
  local routes = redis.call('HGET', u, 'r')
  if changed == 1 and routes then
    publish(u, 'r', routes, membership(user, group, wish == 'join'))
  end
end
if string.find(part, 'g', 1, true) then
  local at_group
  if wish == 'join' then
    at_group = redis.call('ZADD', g, 0, user)
  else
    at_group = redis.call('ZREM', g, user)
  end
  if part == 'g' then
    changed = at_group
  end
end
return changed
