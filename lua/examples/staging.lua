-- staging.lua - whole keyspaces that stay on origin: test data, staging, what will
-- never move. Reads, writes, changes of the schema and USE go to origin alone, so
-- target needs to know nothing of them.
--
-- Without Lua, a rule does the same: [routing] rule = all staging.* origin

-- ---- options: [lua] in the configuration ----
-- keyspaces that stay: staging_keyspaces = staging, scratch
local keyspaces = proxy.option("staging_keyspaces", "")

-- With scope = "table" PREPARE and USE follow, too: target is not asked for tables that it does not have.
if keyspaces ~= "" then
  local filter = { kinds = "read,write,schema,use", keyspaces = keyspaces, scope = "table" }
  proxy.on_request("staging", filter, function() return "origin" end)
end
