-- Events of another Redis, whose numbers are not those of this one. Each is taken once.
-- the name of that Redis, then epoch, number and text of each event
local P, from = ARGV[1], ARGV[2]
local f = events_of(P)
if not f then
  return 0
end
local keys, last = {}, {}
for i = 3, #ARGV, 3 do
  local t, number, text = P .. 'ev:t:' .. from .. ':' .. ARGV[i], tonumber(ARGV[i + 1]), ARGV[i + 2]
  if not last[t] then
    keys[#keys + 1], last[t] = t, tonumber(redis.call('GET', t) or 0)
  end
  if number > last[t] then
    last[t] = number
    local first, to = string.match(text, '^"type":"lost","from":(%d+),"to":(%d+),')
    if first then
      drop_events(P, f, tonumber(to) - tonumber(first) + 1)
    else
      append_event(P, f, text, 1)
    end
  end
end
for _, t in ipairs(keys) do
  redis.call('SET', t, string.format('%.0f', last[t]), 'PX', 86400000)
end
return 1
