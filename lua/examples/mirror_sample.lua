-- mirror_sample.lua - target gets a copy of some reads, to see whether it can bear
-- them and how fast it is. Nobody waits for a copy and nobody sees its answer:
-- look at zdm_async_request_duration_seconds.
--
-- read_mode = dual_async_on_secondary copies all reads; this copies a sample.

-- ---- options: [lua] in the configuration ----
-- copied reads, out of 1000 partition keys: always the same keys, as caches will see them
local permille = proxy.option("mirror_sample_permille", 10)
-- at most so many a second in this process, whatever the share
local per_second = proxy.option("mirror_sample_per_second", 100)

if permille < 0 or permille > 1000 then error("mirror_sample_permille is 0 to 1000", 0) end

proxy.on_request("mirror-sample", { kinds = "read" }, function(req)
  local bucket = req:key_bucket(1000)
  if not bucket or bucket >= permille then return nil end
  if proxy.rate("mirror sample", per_second) then return "mirror" end
end)
