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
local touched = {}  -- keyspaces that hold a frozen table: nobody may drop them
for _, name in ipairs(lists.words(tables)) do
  local keyspace = name:match("^([^.]+)%.[^.]+$")
  if not keyspace then error("freeze_tables: '" .. name .. "' is not KEYSPACE.TABLE or KEYSPACE.*", 0) end
  touched[keyspace] = true
end

-- on_error = "deny": should this script fail, what it guards is refused, not let through.
proxy.on_request("freeze", { kinds = "write,schema,unknown", on_error = "deny" }, function(req)
  if req:kind() == "unknown" then
    return req:deny("unauthorized", "not understood by the proxy, while some tables are frozen")
  end
  -- Of a batch all tables. A statement about a whole keyspace has no table.
  for name, keyspace, table in req:tables() do
    if not table and touched[keyspace] then
      return req:deny("unauthorized", "keyspace %s has a table that %s", keyspace, reason)
    end
    if table and keyspace and (frozen[name] or frozen[keyspace .. ".*"]) then
      return req:deny("unauthorized", "%s %s", name, reason)
    end
  end
end)
