-- What the scripts share that clear up what a node has left; this is a part of them, behind `devices.lua`.

-- Takes out all places that a user has on a node. Returns the device of the newest one; empty if there was none.
local function leave_places(u, user, p, life, now)
  local all, left, last = places(p), {}, ''
  for _, it in ipairs(all) do
    if it.life == life then
      last = it.device
      device_left(u, user, it.device, now, '0', '0')
    else
      left[#left + 1] = it
    end
  end
  if #left < #all then
    set(u, 'p', written(left))
  end
  return last
end

