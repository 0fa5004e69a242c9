-- What the scripts about blocks share. ARGV[1] is the prefix of all keys. Blocks are in three of them:
--   blocks    the reason of each user's block
--   blocks:u  the users, in the order of their names
--   blocks:e  when each block ends, in ms since 1970
-- and `blocks:n` is the number of the last change.
local P = ARGV[1]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local function whole(number)
  return string.format('%.0f', number)
end

local function lift(user)
  redis.call('ZREM', P .. 'blocks:e', user)
  redis.call('ZREM', P .. 'blocks:u', user)
  redis.call('HDEL', P .. 'blocks', user)
end

-- How a block is written: when it ends, for how many ms it lasts, the lengths of the two texts that follow.
local function written(user, ends, left, reason)
  return whole(ends) .. ' ' .. whole(left) .. ' ' .. #user .. ' ' .. #reason .. ' ' .. user .. reason
end

for _, user in ipairs(redis.call('ZRANGEBYSCORE', P .. 'blocks:e', '-inf', whole(now), 'LIMIT', 0, 100)) do
  lift(user)
end
