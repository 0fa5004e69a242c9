-- A device of a user has handled every message up to a number.
-- user, device, number, epoch
local user, device, seq = ARGV[2], ARGV[3], tonumber(ARGV[4])
local refused = refusal(ARGV[5])
if refused then
  return refused
end
local u = P .. 'u:' .. user
local f = redis.call('HMGET', u, 't', 'n', 'b')
if not f[1] then
  return 0
end
local devices = devices_of(u)
for _, it in ipairs(devices) do
  if it.name == device then
    seq = math.min(seq, tonumber(f[1]))
    if seq <= it.cursor then
      return 0
    end
    it.cursor = seq
    put_device(u, it)
    trim(u, user, devices, tonumber(f[2] or '0'), tonumber(f[3] or '0'))
    return 1
  end
end
return 0
