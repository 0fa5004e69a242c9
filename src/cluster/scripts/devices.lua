-- What the scripts share that know the devices of a user. `P` is the prefix of all keys.

-- A device of a user has no connection any more.
local function device_left(u, user, device, now)
end

-- A connection of a device has opened. Returns what the node has to know of the mailbox of the user.
local function device_came(u, user, device, dialect, visits, epoch, now)
end
