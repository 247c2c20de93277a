-- by_table.lua - reads and writes of single tables. A table that is rebuilt on
-- target is read there early; one that is given up stays behind on origin.
--
-- A table that is written on one cluster only drifts apart: the other cluster
-- does not get what is written meanwhile, and nobody will copy it for you.
local lists = require "lists"

-- ---- options: [lua] in the configuration ----
-- by_table_reads = shop.orders = target, shop.carts = mirror
local reads = lists.routes("by_table_reads", proxy.option("by_table_reads", ""))
-- by_table_writes = shop.sessions = origin
local writes = lists.routes("by_table_writes", proxy.option("by_table_writes", ""))

for name, route in pairs(writes) do
  if route == "mirror" then error("by_table_writes: " .. name .. ": only reads can be mirrored", 0) end
end

-- The tables of a batch are asked for one by one. When they have to go to different
-- clusters the driver gets an error that names two of them, and nothing is sent.
proxy.on_request("by-table", { kinds = "read,write", scope = "table" }, function(req)
  local keyspace, name = req:keyspace(), req:table()
  if not keyspace or not name then return nil end
  local routes = req:kind() == "read" and reads or writes
  return routes[keyspace .. "." .. name]
end)
