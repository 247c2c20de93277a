-- read_only_target.lua - nothing that an application sends changes target. For the
-- time in which its data is loaded from a snapshot, or is compared.
--
-- What is written to origin meanwhile is missing on target: load it before the
-- script goes.

-- ---- options: [lua] in the configuration ----
-- only these keyspaces: read_only_target_keyspaces = billing, stock; empty: all
local keyspaces = proxy.option("read_only_target_keyspaces", "")
-- true: refuse with an error what would change them, instead of sending it to origin only
local refuse = proxy.option("read_only_target_refuse", false)

if keyspaces == "" then keyspaces = nil end

-- `unknown` is what the proxy does not understand: it may be a write. With scope = "table" a
-- batch over one of these keyspaces and another one is refused, not sent to one cluster whole.
local filter = { kinds = "write,schema,unknown", keyspaces = keyspaces, scope = "table", on_error = "deny" }
proxy.on_request("read-only-target", filter, function(req)
  if refuse then return req:deny("unauthorized", "target is read-only for now") end
  return "origin"
end)
