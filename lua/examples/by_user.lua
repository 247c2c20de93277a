-- by_user.lua - a user's reads come from another cluster than everybody else's.
-- Made for reporting, which may wait longer and does not need the latest row.
--
-- A user who writes to both clusters and reads from target sees what is there:
-- copy old rows first.

-- ---- options: [lua] in the configuration ----
-- users whose reads come from target, by one replica's answer: by_user_names = report, export
local users = proxy.option("by_user_names", "")
-- how long such a read may take; empty: as long as all others (request_timeout)
local timeout = proxy.option("by_user_timeout", "30s")

-- Made once, when the script is loaded. The tag shows how much goes this way:
-- zdm_cqlferry_policy_tagged_requests_total{tag="reporting"}
local reporting = proxy.route {
  to = "target",
  consistency = "LOCAL_ONE",
  timeout = timeout ~= "" and timeout or nil,
  tag = "reporting",
}

-- `users` is looked at before Lua is: requests of other users cost next to nothing.
if users ~= "" then
  proxy.on_request("by-user", { kinds = "read", users = users }, function()
    return reporting
  end)
end
