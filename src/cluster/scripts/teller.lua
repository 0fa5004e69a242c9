-- A node says which events are wanted, and asks whether it is the one that tells the backend.
-- life, lease in ms, kinds, most bytes. Returns 1 or 0.
local P, life, lease, kinds, most = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local has = redis.call('HMGET', P .. 'ev:s', 'kinds', 'most')
if has[1] ~= kinds or has[2] ~= most then
  redis.call('HSET', P .. 'ev:s', 'kinds', kinds, 'most', most)
end
events_of(P)
if redis.call('EXISTS', P .. 'l:' .. life) == 0 then
  return 0
end
local owner = redis.call('GET', P .. 'ev:teller')
if owner and owner ~= life and redis.call('EXISTS', P .. 'l:' .. owner) == 1 then
  return 0
end
redis.call('SET', P .. 'ev:teller', life, 'PX', lease)
return 1
