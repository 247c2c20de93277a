-- canary.lua - a share of the reads comes from target, chosen by partition key:
-- the same key always goes the same way, so nobody sees a row come and go. Raise
-- the share step by step; keys that are on target stay there.
--
-- What is not prepared has no partition key that the proxy knows: it stays.

-- ---- options: [lua] in the configuration ----
-- reads from target, out of 1000
local permille = proxy.option("canary_permille", 50)
-- only in these keyspaces: canary_keyspaces = billing, stock; empty: in all
local keyspaces = proxy.option("canary_keyspaces", "")

if permille < 0 or permille > 1000 then error("canary_permille is 0 to 1000", 0) end
if keyspaces == "" then keyspaces = nil end

local canary = proxy.route { to = "target", tag = "canary" }

-- on_error = "pass": should this script ever fail, requests go their usual way.
local filter = { kinds = "read", keyspaces = keyspaces, on_error = "pass" }
proxy.on_request("canary", filter, function(req)
  local bucket = req:key_bucket(1000)  -- 0 to 999, nil where the partition key is not known
  if bucket and bucket < permille then return canary end
end)
