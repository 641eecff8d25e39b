-- Marks an epoch as complete: every pod has been published in it.
--
-- KEYS: version epoch log complete
-- ARGV: the epoch and version the caller knows.
-- Returns the new version, or false if epoch or version are not these.
if redis.call('GET', KEYS[2]) ~= ARGV[1] or (redis.call('GET', KEYS[1]) or '0') ~= ARGV[2] then
  return false
end
redis.call('SET', KEYS[4], ARGV[1])
local version = string.format('%.0f', redis.call('INCR', KEYS[1]))
redis.call('XADD', KEYS[3], version .. '-0', 'complete', ARGV[1])
return version
