-- quota.lua - how many requests a second a user may send, over all workers of this
-- process. What is above gets OVERLOADED: drivers then try another host or slow
-- down. Several instances of the proxy count each for itself.
local lists = require "lists"

-- ---- options: [lua] in the configuration ----
-- requests a second of each user; 0: no limit
local everybody = proxy.option("quota_per_second", 0)
-- of single users: quota_users = report = 50, batchjob = 500
local users = lists.numbers("quota_users", proxy.option("quota_users", ""))

proxy.on_request("quota", { kinds = "read,write,unknown" }, function(req)
  local user = req:user() or req:client_addr()  -- no user: the clusters ask for no password
  local limit = users[user] or everybody
  if limit > 0 and not proxy.rate("quota of " .. user, limit) then
    return req:deny("overloaded", "%s may send %d requests per second", user, limit)
  end
end)
