-- A request of a backend that was claimed ends.
-- life, key, hash of the request, for how many ms it is remembered, what was carried out or nothing
local P, life, key, hash, keep, done = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6]
local q = P .. 'q:' .. key
local f = redis.call('HMGET', q, 'h', 'd', 'x', 'b')
if f[1] ~= hash or f[4] ~= life then
  return 0
end
redis.call('HDEL', q, 'b')
-- If nothing is unsure, what was carried out says everything, and the single messages need no longer be remembered.
if done and string.byte(done) == 1 then
  redis.call('DEL', q)
  redis.call('HSET', q, 'h', hash)
end
if done then
  local time = redis.call('TIME')
  local until_ms = time[1] * 1000 + math.floor(time[2] / 1000) + tonumber(keep)
  redis.call('HSET', q, 'd', done, 'x', string.format('%.0f', until_ms))
  redis.call('PEXPIRE', q, keep)
elseif f[2] then
  redis.call('PEXPIREAT', q, f[3])
else
  redis.call('DEL', q)
  redis.call('ZREM', P .. 'ql', key)
end
return 1
