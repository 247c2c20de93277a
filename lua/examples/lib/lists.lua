-- lists.lua - options that hold more than one value. Used by the examples:
--
--   local lists = require "lists"      -- with  [lua] lua_path = FOLDER-OF-THIS-FILE
--
-- Names are written as Cassandra keeps them: lower case, unless they stand in
-- double quotes in CQL.
local lists = {}

-- "a, b c" as { "a", "b", "c" }.
function lists.words(text)
  local words = {}
  for word in text:gmatch("[^%s,]+") do words[#words + 1] = word end
  return words
end

-- "a = x, b = y" as { a = "x", b = "y" }. `option` is named when the text is wrong.
function lists.map(option, text)
  local map = {}
  for part in text:gmatch("[^,]+") do
    local name, value = part:match("^%s*(.-)%s*=%s*(.-)%s*$")
    if not name or name == "" or value == "" then
      error(option .. ": '" .. part .. "' is not of the form NAME = VALUE", 0)
    end
    if map[name] then error(option .. ": " .. name .. " stands there twice", 0) end
    map[name] = value
  end
  return map
end

-- The same where each value is a route: a wrong one is found when the script is
-- loaded, not when a request comes.
function lists.routes(option, text)
  local known = { origin = true, target = true, both = true, mirror = true }
  local map = lists.map(option, text)
  for name, route in pairs(map) do
    if not known[route] then
      error(option .. ": " .. name .. " = " .. route .. ": a route is origin, target, both or mirror", 0)
    end
  end
  return map
end

-- The same where each value is a number.
function lists.numbers(option, text)
  local map = {}
  for name, value in pairs(lists.map(option, text)) do
    map[name] = tonumber(value) or error(option .. ": " .. name .. " = " .. value .. " is not a number", 0)
  end
  return map
end

return lists
