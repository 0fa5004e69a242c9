-- Answers which users are online, and notes whether this node watches them; or how many messages wait for each.
-- life, `ask`, `here`, `watch`, `unwatch` or `count`, users (at most 100). Returns 1 or 0 for each user, or the number of
-- messages. With `here` a user who has just left is not online.
local life, wish, states = ARGV[2], ARGV[3], {}
if wish == 'watch' and is_dead(life) then
  return redis.error_reply('DEAD this life has lost its lease')
end
for i = 4, #ARGV do
  local user = ARGV[i]
  local u = P .. 'u:' .. user
  local f = redis.call('HMGET', u, 'r', 'a', 'w', 'n')
  states[i - 3] = wish == 'count' and tonumber(f[4] or '0') or (f[1] or (f[2] and wish ~= 'here')) and 1 or 0
  if wish == 'watch' or wish == 'unwatch' then
    local others, is_known = without(f[3], life)
    if wish == 'watch' and not is_known then
      redis.call('HSET', u, 'w', with(others, life))
      redis.call('SADD', P .. 'w:' .. life, user)
    elseif wish == 'unwatch' and is_known then
      set(u, 'w', others)
      redis.call('SREM', P .. 'w:' .. life, user)
    end
  end
end
return states
