-- freeze.lua - some tables must not change for a while: during a last comparison,
-- or before they are dropped. What the proxy does not understand might change
-- them, so it is refused, too.
local lists = require "lists"

-- ---- options: [lua] in the configuration ----
-- freeze_tables = billing.invoices, archive.*
local tables = proxy.option("freeze_tables", "")
-- what is added to the error that drivers get
local reason = proxy.option("freeze_reason", "is read-only during the migration")

if tables == "" then return end  -- nothing is frozen: no hook

local frozen = proxy.set(tables)
local keyspaces = {}  -- that hold a frozen table
for _, name in ipairs(lists.words(tables)) do
  local keyspace = name:match("^([^.]+)%.[^.]+$")
  if not keyspace then error("freeze_tables: '" .. name .. "' is not KEYSPACE.TABLE or KEYSPACE.*", 0) end
  keyspaces[#keyspaces + 1] = keyspace
end

-- Requests about other keyspaces are not asked about. on_error = "deny": should this script
-- fail, what it is asked about is refused, not let through.
local filter = { kinds = "write,schema,unknown", keyspaces = keyspaces, scope = "table", on_error = "deny" }

proxy.on_request("freeze", filter, function(req)
  local keyspace, name = req:keyspace(), req:table()
  if req:kind() == "unknown" then
    return req:deny("unauthorized", "not understood by the proxy, while some tables are frozen")
  elseif not name then  -- CREATE, ALTER or DROP of the keyspace, or of types and functions in it
    return req:deny("unauthorized", "keyspace %s has a table that %s", keyspace, reason)
  elseif frozen[keyspace .. "." .. name] or frozen[keyspace .. ".*"] then
    return req:deny("unauthorized", "%s.%s %s", keyspace, name, reason)
  end
end)
