-- A list of the users who are online begins. For some seconds each user who comes to another node is told of as an
-- event, so that whoever takes the list and the events behind it misses nobody. `listed` is longer than users have
-- until they are offline, and than nodes are waited for.
-- Returns how many users are online, and the epoch and the number of the last event, or nothing.
local P = ARGV[1]
redis.call('SET', P .. 'listed', '1', 'PX', 12000)
local f, count = events_of(P), tonumber(redis.call('GET', P .. 'online') or 0)
if f then
  return { count, f.epoch, f.last }
end
return { count }
