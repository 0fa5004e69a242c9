-- A node begins a request of a backend that has an idempotency key, so that no other node carries it out meanwhile.
-- life, key, hash of the request, for how many ms the key is kept at least, most keys. The fields of `q:{key}`:
--   h  the hash      d  what was carried out      x  until when that is kept, in ms      b  the life that is at it
--   names of 8 bytes: messages that were made, see send.lua
-- Returns `other` for a key of another request, `busy`, or `yours` and what was carried out before.
local P, life, key, hash, hold, most = ARGV[1], ARGV[2], ARGV[3], ARGV[4], tonumber(ARGV[5]), tonumber(ARGV[6])
local q = P .. 'q:' .. key
local f = redis.call('HMGET', q, 'h', 'd', 'x', 'b')
local is_busy = f[4] and f[4] ~= life and redis.call('EXISTS', P .. 'l:' .. f[4]) == 1
if f[1] and f[1] ~= hash and f[2] then
  return { 'other' }
end
-- Another request that is being carried out may yet turn out to be wrong, and then its key is free.
if is_busy then
  return { 'busy' }
end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('HSET', q, 'h', hash, 'b', life)
-- Messages that were made, though the node that was at it has died, are remembered longer than that.
local hold = math.max(hold, redis.call('PTTL', q), tonumber(f[3] or 0) - now)
redis.call('PEXPIRE', q, string.format('%.0f', hold))
if not f[1] then
  redis.call('ZADD', P .. 'ql', string.format('%.0f', now), key)
  if redis.call('ZCARD', P .. 'ql') > most then
    for i, old in ipairs(redis.call('ZPOPMIN', P .. 'ql', 2)) do
      if i % 2 == 1 and old ~= key then
        redis.call('DEL', P .. 'q:' .. old)
      end
    end
  end
end
return { 'yours', f[2] }
