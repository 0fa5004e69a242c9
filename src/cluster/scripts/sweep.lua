-- Clears up what a node that has died has left, in steps.
-- dead life, own life, users in this step at most. Returns -1 if this is not for this node, otherwise how much is
-- left, and for how many ms each user who has just left has to be waited for: user, ms, ...
local dead, life, most, now = ARGV[2], ARGV[3], tonumber(ARGV[4]), now_ms()
if not is_dead(dead) or is_dead(life) then
  return { -1 }
end
-- One node does this. If it dies, the next one goes on.
local lock = P .. 'sweep:' .. dead
local owner = redis.call('GET', lock)
if owner and owner ~= life then
  return { -1 }
end
redis.call('SET', lock, life, 'PX', 5000)
local users, watched = P .. 'n:' .. dead, P .. 'w:' .. dead
local answer = { 0 }
for _, user in ipairs(redis.call('SPOP', users, most)) do
  local u = P .. 'u:' .. user
  local f = redis.call('HMGET', u, 'r', 'p', 'a', 'w')
  local routes, was_here = without(f[1], dead)
  if was_here then
    set_routes(u, f[1], routes)
  end
  leave_places(u, user, f[2], dead, now)
  local at, of = string.match(f[3] or '', '^(%d+) (%d+)')
  if routes == '' and of == dead and now - at < OFFLINE_AFTER then
    -- The node has ended in an orderly way, and the user may be back soon.
    local device = string.match(f[3], '^%d+ %d+ (.*)$')
    redis.call('HSET', u, 'a', string.format('%s %s %s', at, life, device))
    redis.call('SADD', P .. 'n:' .. life, user)
    answer[#answer + 1] = user
    answer[#answer + 1] = OFFLINE_AFTER - (now - at)
  elseif routes == '' and (was_here or of == dead) then
    goes_offline(u, user, f[3], f[4], now)
  end
end
for _, user in ipairs(redis.call('SPOP', watched, most)) do
  local u = P .. 'u:' .. user
  set(u, 'w', (without(redis.call('HGET', u, 'w'), dead)))
end
local rest = redis.call('SCARD', users) + redis.call('SCARD', watched)
if rest == 0 then
  local name = string.match(redis.call('HGET', P .. 'nodes', dead) or '', '^[^\n]*')
  if redis.call('GET', P .. 'name:' .. name) == dead then
    redis.call('DEL', P .. 'name:' .. name)
  end
  redis.call('HDEL', P .. 'nodes', dead)
  redis.call('DEL', lock)
end
answer[1] = rest
return answer
