-- The backend has taken all events up to one.
-- life, ordinal and number of that event, bytes of the texts that were taken, number of these events. Returns whether
-- this node tells the backend.
local P, life, ordinal, number = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])
local f = events_of(P)
if not f or redis.call('GET', P .. 'ev:teller') ~= life or tonumber(ordinal) > tonumber(f.ordinal) then
  return 0
end
redis.call('XTRIM', P .. 'ev', 'MINID', string.format('%s-%.0f', ordinal, number + 1))
f.bytes = math.max(0, f.bytes - tonumber(ARGV[5]) - EVENT_SIZE * tonumber(ARGV[6]))
if redis.call('XLEN', P .. 'ev') == 0 then
  f.bytes = 0
end
redis.call('HSET', P .. 'ev:s', 'bytes', string.format('%.0f', f.bytes))
if f.lost and f.last > 0 then
  append_event(P, f, nil, 1)
end
return 1
