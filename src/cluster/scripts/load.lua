-- What is known of the mailbox of a user, with messages above a number; nothing is changed.
-- user, number, how many messages at most, epoch
local user, after, most = ARGV[2], ARGV[3], tonumber(ARGV[4])
local refused = refusal(ARGV[5])
if refused then
  return refused
end
local u = P .. 'u:' .. user
local f = fields_of(u)
if not f.t then
  return false
end
f.e = ARGV[5]
local devices = devices_of(u)
return picture(u, user, f.e, f, devices, (connected(f.p)), math.floor(now_ms() / 1000), after, most)
