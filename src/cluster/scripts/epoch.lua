-- Finds out in which epoch this database is, whenever a node connects to it. A new epoch begins with a process that
-- was not there before, and with one that has become the master in place of another: then the history of its data
-- has a new name, and it remembers the earlier one. (The name alone is new, too, when the first replica attaches.)
-- run_id, replid, replid2, the name of a new epoch, the most messages and bytes of a user who is away. Returns the ordinal of the epoch, the time in ms, and the names of
-- the epochs from the oldest one that is remembered to the present one.
local P, run_id, replid, replid2, name = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local key, MOST = P .. 'epoch', 32
local f = redis.call('HMGET', key, 'ordinal', 'run', 'repl', 'names')
-- A database that has lost its data begins with another ordinal than before, so that nobody takes one epoch for another.
local time = redis.call('TIME')
local ordinal, names = tonumber(f[1] or time[1] % 1000000 * 1000 + math.floor(time[2] / 1000)), f[4] or ''
local is_promoted = f[3] ~= replid and string.find(replid2, '[^0]') ~= nil
if f[2] ~= run_id or is_promoted then
  ordinal = ordinal + 1
  names = names .. name .. ' '
  local _, count = string.gsub(names, ' ', '')
  if count > MOST then
    names = string.gsub(names, '^%S+ ', '', 1)
  end
  redis.call('HSET', key, 'ordinal', ordinal, 'run', run_id, 'repl', replid, 'names', names)
elseif f[3] ~= replid then
  redis.call('HSET', key, 'repl', replid)
end
redis.call('SET', P .. 'bounds', ARGV[6])
return { ordinal, time[1] * 1000 + math.floor(time[2] / 1000), names }
