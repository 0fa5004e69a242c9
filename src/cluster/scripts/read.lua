-- The next events for the node that tells the backend. If there are none, the node is told when there are.
-- life, the id of the last event that it has or `0-0`, most events, most bytes. Returns -1 if another node tells,
-- otherwise id, epoch and text of each event.
local P, life, after, most = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[5])
if redis.call('GET', P .. 'ev:teller') ~= life then
  return { -1 }
end
local answer, bytes = { 1 }, 0
for _, entry in ipairs(redis.call('XRANGE', P .. 'ev', '(' .. after, '+', 'COUNT', ARGV[4])) do
  if bytes > 0 and bytes + #entry[2][2] > most then
    break
  end
  bytes = bytes + #entry[2][2]
  answer[#answer + 1] = entry[1]
  answer[#answer + 1] = entry[2][1]
  answer[#answer + 1] = entry[2][2]
end
if #answer == 1 then
  redis.call('HSET', P .. 'ev:s', 'sleeper', life)
end
return answer
