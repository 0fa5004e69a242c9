local function tell() end
