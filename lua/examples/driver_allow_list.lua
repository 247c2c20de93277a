-- driver_allow_list.lua - only drivers that were tested with the new cluster may
-- send requests; from a version on, if one is given. Drivers say their name and
-- version when they connect; old ones may not say it.
--
-- A refused driver still connects: it reads system tables, which no script is
-- asked about. Its first request of its own gets the error.
local lists = require "lists"

-- ---- options: [lua] in the configuration ----
-- NAME = LOWEST VERSION, as the drivers say them; 0: any version
-- driver_allow_list = DataStax Python Driver = 3.25, github.com/gocql/gocql = 0
local list = proxy.option("driver_allow_list", "")
-- whether a driver that does not say its name may pass
local nameless = proxy.option("driver_allow_nameless", false)

-- "4.13.0-rc1" as { 4, 13, 0 }
local function numbers(version)
  local n = {}
  for digits in version:match("^[%d.]*"):gmatch("%d+") do n[#n + 1] = tonumber(digits) end
  return n
end

local function is_below(version, least)
  for i = 1, #least do
    local a = version[i] or 0
    if a ~= least[i] then return a < least[i] end
  end
  return false
end

local least = {}
for name, version in pairs(lists.map("driver_allow_list", list)) do
  least[name] = numbers(version)
  if #least[name] == 0 then
    error("driver_allow_list: " .. name .. " = " .. version .. ": a version begins with a number", 0)
  end
end

local function is_allowed(name, version)
  if not name then return nameless end
  if not least[name] then return false end
  return not is_below(numbers(version or ""), least[name])
end

if list ~= "" then
  proxy.on_request("driver-allow-list", { on_error = "pass" }, function(req)
    local name, version = req:client_driver(), req:client_driver_version()
    if not is_allowed(name, version) then
      return req:deny("unauthorized", "driver %s %s is not allowed here", name or "without a name", version or "")
    end
  end)
end
