-- Renews the lease of a node, and looks at all nodes.
-- life, how the node describes itself, lease in ms. Returns whether the lease still ran, the time in ms, then for each
-- node its life, for how many ms its lease runs (-2 if it has run out), and how it describes itself.
local life = ARGV[2]
if redis.call('PEXPIRE', P .. 'l:' .. life, ARGV[4]) == 0 then
  return { 0 }
end
redis.call('HSET', P .. 'nodes', life, ARGV[3])
local answer, nodes = { 1, now_ms() }, redis.call('HGETALL', P .. 'nodes')
for i = 1, #nodes, 2 do
  answer[#answer + 1] = nodes[i]
  answer[#answer + 1] = redis.call('PTTL', P .. 'l:' .. nodes[i])
  answer[#answer + 1] = nodes[i + 1]
end
return answer
