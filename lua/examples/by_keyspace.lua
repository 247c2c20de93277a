-- by_keyspace.lua - reads of some keyspaces come from one cluster, the rest stays
-- as it is. This is what most migrations need: keyspaces move one after the other.
--
-- Without Lua, rules do the same: [routing] rule = read billing.* target
local lists = require "lists"

-- ---- options: [lua] in the configuration ----
-- keyspaces whose reads come from target: by_keyspace_target = billing, stock
local on_target = proxy.option("by_keyspace_target", "")
-- keyspaces whose reads come from origin, also when target is the primary
local on_origin = proxy.option("by_keyspace_origin", "")

local routes = {}
for _, name in ipairs(lists.words(on_target)) do routes[name] = "target" end
for _, name in ipairs(lists.words(on_origin)) do
  if routes[name] then error("by_keyspace_origin: " .. name .. " is in by_keyspace_target, too", 0) end
  routes[name] = "origin"
end

-- scope = "table": the answer depends on the table alone, so the proxy asks once and remembers.
proxy.on_request("by-keyspace", { kinds = "read", scope = "table" }, function(req)
  return routes[req:keyspace()]  -- not in the list: nil, which is no opinion
end)
