-- Publishes a part of the list of all blocks to one node, so that it comes in order with the changes.
-- life, behind which user the part begins, how many blocks at most. Returns to how many nodes it went: one, or none.
local life, after, most = ARGV[2], ARGV[3], tonumber(ARGV[4])
local from = after == '' and '-' or '(' .. after
local users = redis.call('ZRANGEBYLEX', P .. 'blocks:u', from, '+', 'LIMIT', 0, most + 1)
local more = #users > most and 1 or 0
local parts = { (redis.call('GET', P .. 'blocks:n') or '0') .. ' ' .. more .. ' ' .. #after .. ' ' .. after }
for at = 1, math.min(#users, most) do
  local user = users[at]
  local ends = tonumber(redis.call('ZSCORE', P .. 'blocks:e', user) or 0)
  local left = math.max(ends - now, 1)
  parts[#parts + 1] = written(user, ends, left, redis.call('HGET', P .. 'blocks', user) or '')
end
return redis.call('PUBLISH', P .. 'i:' .. life, string.char(1, 27) .. table.concat(parts))
