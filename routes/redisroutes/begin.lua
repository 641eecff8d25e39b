-- Begins a new epoch, with the records that are there and an empty log.
--
-- KEYS: version epoch log complete
-- ARGV: the epoch the caller knows ('' for none), the id of the new one, a
--       version that the new epoch's are above.
-- Returns the new version, or false if the epoch is not that one.
if (redis.call('GET', KEYS[2]) or '') ~= ARGV[1] then
  return false
end
redis.call('DEL', KEYS[3], KEYS[4])
if tonumber(redis.call('GET', KEYS[1]) or '0') < tonumber(ARGV[3]) then
  redis.call('SET', KEYS[1], ARGV[3])
end
local version = string.format('%.0f', redis.call('INCR', KEYS[1]))
redis.call('XADD', KEYS[3], version .. '-0', 'epoch', ARGV[2])
redis.call('SET', KEYS[2], ARGV[2])
return version
