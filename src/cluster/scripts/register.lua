-- Begins a life of a node. name, life, how the node describes itself, lease in ms, epoch
-- Returns 0; or for how many ms the lease of another life with this name still runs; or -1 if this life is taken.
local name, life, about, lease = ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local refused = refusal(ARGV[6])
if refused then
  return refused
end
local other = redis.call('GET', P .. 'name:' .. name)
if other and other ~= life then
  local left = redis.call('PTTL', P .. 'l:' .. other)
  if left > 0 then
    return left
  end
end
if other ~= life and (redis.call('HEXISTS', P .. 'nodes', life) == 1 or not is_dead(life)) then
  return -1
end
redis.call('SET', P .. 'name:' .. name, life)
redis.call('SET', P .. 'l:' .. life, name, 'PX', lease)
redis.call('HSET', P .. 'nodes', life, about)
-- The others look at once who is there, so that they ask this node, too.
redis.call('PUBLISH', P .. 'all', string.char(VERSION, 25))
return 0
