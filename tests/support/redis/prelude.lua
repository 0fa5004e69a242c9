-- What a script of Redis finds: the table `redis`, and globals that cannot be added to.
local call, run, sha1hex, place, plain = ...

local function single(field)
  return function(...)
    if select('#', ...) ~= 1 or type((...)) ~= 'string' then
      return { err = 'ERR wrong number or type of arguments' }
    end
    return { [field] = (...) }
  end
end

redis = {
  call = call,
  pcall = run,
  error_reply = function(...)
    local reply = single('err')(...)
    local code, text = reply.err:gsub('^%-', ''):match('^([^ ]*) (.*)$')
    if not code then code, text = 'ERR', reply.err:gsub('^%-', '') end
    reply.err = code .. ' ' .. text:gsub('^[\r\n]+', ''):gsub('[\r\n]+$', '')
    return reply
  end,
  status_reply = single('ok'),
  sha1hex = sha1hex,
  log = function() end,
  replicate_commands = function() return true end,
  set_repl = function() end,
  setresp = function() end,
  LOG_DEBUG = 0, LOG_VERBOSE = 1, LOG_NOTICE = 2, LOG_WARNING = 3,
  REPL_ALL = 3, REPL_AOF = 1, REPL_SLAVE = 2, REPL_REPLICA = 2, REPL_NONE = 0,
}
loadfile, dofile, print, require, module, package, io, collectgarbage = nil

local caught = pcall
local function result(is_well, ...)
  if is_well then return is_well, ... end
  local problem = plain((...))
  -- Redis gives the text alone, as its older versions did.
  if type(problem) == 'table' and type(problem.err) == 'string' then problem = problem.err end
  return is_well, problem
end
function pcall(...)
  return result(caught(...))
end

local function handle(problem)
  problem = plain(problem)
  if type(problem) ~= 'table' then problem = { err = 'ERR ' .. tostring(problem) } end
  problem.line = place()
  return problem
end

setmetatable(_G, {
  __index = function(_, name)
    error("Script attempted to access nonexistent global variable '" .. tostring(name) .. "'", 2)
  end,
  __newindex = function()
    error('Attempt to modify a readonly table', 2)
  end,
})

return function(script, keys, arguments)
  rawset(_G, 'KEYS', keys)
  rawset(_G, 'ARGV', arguments)
  return xpcall(script, handle)
end
