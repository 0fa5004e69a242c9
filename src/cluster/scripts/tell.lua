-- Events that a node has seen. What was sent twice, because the reply was lost, is told once. What was sent behind
-- events that are missing here is not told: the node sends all of them again, in their order.
-- source, number of this batch, number of the last batch of which the node knows that it was taken, then kind and text of
-- each event. Returns whether everything up to this batch is told.
local t = ARGV[1] .. 'ev:t:' .. ARGV[2]
local number, last = tonumber(ARGV[3]), tonumber(redis.call('GET', t) or 0)
if last >= number then
  return 1
elseif math.max(last, tonumber(ARGV[4])) < number - 1 then
  return 0
end
redis.call('SET', t, ARGV[3], 'PX', 86400000)
local f = events_of(ARGV[1])
if f then
  for i = 5, #ARGV, 2 do
    tell_of(ARGV[1], f, ARGV[i], ARGV[i + 1])
  end
end
return 1
