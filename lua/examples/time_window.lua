-- time_window.lua - reads come from target at certain hours only: at night at first,
-- when few look, or by day, when somebody is there who can act.
--
-- Hours are those of UTC. Each request is decided when it comes, so a switch needs
-- no reload and no restart.

-- ---- options: [lua] in the configuration ----
-- HH:MM; an end before the beginning is one on the next day
local from = proxy.option("time_window_from", "22:00")
local to = proxy.option("time_window_to", "04:00")

local function minutes(option, text)
  local hour, minute = text:match("^(%d%d):(%d%d)$")
  hour, minute = tonumber(hour), tonumber(minute)
  if not hour or hour * 60 + minute > 24 * 60 or minute > 59 then
    error(option .. ": '" .. text .. "' is not a time from 00:00 to 24:00", 0)
  end
  return hour * 60 + minute
end

local first, last = minutes("time_window_from", from), minutes("time_window_to", to)

local function is_open()
  local now = math.floor(proxy.time() / 60) % (24 * 60)  -- proxy.time(): seconds since 1970, UTC
  if first <= last then return now >= first and now < last end
  return now >= first or now < last
end

-- Every second is often enough; a request then only looks at a variable.
local open = is_open()
proxy.on_tick(1, function()
  local now_open = is_open()
  if now_open ~= open then
    proxy.log("info", "time_window: reads %s", now_open and "come from target" or "go their usual way")
    open = now_open
  end
end)

proxy.on_request("time-window", { kinds = "read" }, function()
  if open then return "target" end
end)
