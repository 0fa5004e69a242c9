-- Messages of a user above a number, which did not arrive at a node.
-- user, number, how many messages at most, epoch. Returns the newest number, what is lost and the devices, then the
-- messages.
local refused = refusal(ARGV[5])
if refused then
  return refused
end
local f = redis.call('HMGET', P .. 'u:' .. ARGV[2], 't', 'l', '0', '1', '2', '3', '4')
return { f, redis.call('XRANGE', P .. 's:' .. ARGV[2], '(' .. ARGV[3], '+', 'COUNT', ARGV[4]) }
