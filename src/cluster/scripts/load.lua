-- What is known of the mailbox of a user; nothing is changed, except that messages whose time is over stay.
-- user
local user = ARGV[2]
local u = P .. 'u:' .. user
local f = fields_of(u)
if not f.t then
  return false
end
local devices = devices_of(u)
return picture(u, user, f.e, f, devices, (connected(f.p)), math.floor(now_ms() / 1000))
