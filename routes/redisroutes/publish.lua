-- Publishes changes of routes, all or none.
--
-- KEYS: version epoch routes log
-- ARGV: the epoch and version the caller knows, the log's length to keep, then
--       three values per change: host, and the record before and after the
--       number of its version; both are empty to remove the host.
-- Returns the new version, or false if epoch or version are not these.
if redis.call('GET', KEYS[2]) ~= ARGV[1] or (redis.call('GET', KEYS[1]) or '0') ~= ARGV[2] then
  return false
end
local version
for i = 4, #ARGV, 3 do
  local host, before, after = ARGV[i], ARGV[i + 1], ARGV[i + 2]
  -- A Lua number as text would become 1e+14 one day.
  version = string.format('%.0f', redis.call('INCR', KEYS[1]))
  local record = ''
  if before == '' then
    redis.call('HDEL', KEYS[3], host)
  else
    record = before .. version .. after
    redis.call('HSET', KEYS[3], host, record)
  end
  redis.call('XADD', KEYS[4], 'MAXLEN', '~', ARGV[3], version .. '-0', 'host', host, 'route', record)
end
return version
