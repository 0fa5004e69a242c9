-- Events that a node has seen. What was sent twice, because the reply was lost, is told once.
-- source, number of this batch, then kind and text of each event; the kind `!` stands for so many that were dropped
local t = ARGV[1] .. 'ev:t:' .. ARGV[2]
if tonumber(redis.call('GET', t) or 0) >= tonumber(ARGV[3]) then
  return 0
end
redis.call('SET', t, ARGV[3], 'PX', 86400000)
for i = 4, #ARGV, 2 do
  if ARGV[i] == '!' then
    local f = events_of(ARGV[1])
    if f then
      drop_events(ARGV[1], f, tonumber(ARGV[i + 1]))
    end
  else
    tell(ARGV[1], ARGV[i], ARGV[i + 1])
  end
end
return 1
