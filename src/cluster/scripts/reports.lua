-- Events of which the backend is told together with a send; this is a part of `send.lua`, behind `events.lua`.
-- Each has the letter of its kind, the length of its text, a comma, and its text.
local reports = A[#A]
A[#A] = nil

local function report(P, all)
  local f, at = events_of(P), 1
  while f and at <= #all do
    local kind, len, from = string.match(all, '^(.)(%d+),()', at)
    at = from + len
    tell_of(P, f, kind, string.sub(all, from, at - 1))
  end
end
