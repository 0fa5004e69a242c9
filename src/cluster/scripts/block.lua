-- Blocks a user, or lifts the block, and tells all nodes.
-- user, for how many ms (0 lifts the block), reason, most blocks
-- Returns -1 if there are too many blocks; or the number of the change, and when the block ends (0 if it is lifted).
local user, left, reason, most = ARGV[2], tonumber(ARGV[3]), ARGV[4], tonumber(ARGV[5])
local ends = 0
if left > 0 then
  if not redis.call('ZSCORE', P .. 'blocks:u', user) and redis.call('ZCARD', P .. 'blocks:u') >= most then
    return -1
  end
  ends = now + left
  redis.call('ZADD', P .. 'blocks:e', whole(ends), user)
  redis.call('ZADD', P .. 'blocks:u', 0, user)
  redis.call('HSET', P .. 'blocks', user, reason)
else
  lift(user)
end
local number = redis.call('INCR', P .. 'blocks:n')
redis.call('PUBLISH', P .. 'all', string.char(1, 26) .. number .. ' ' .. written(user, ends, left, reason))
return { number, whole(ends) }
