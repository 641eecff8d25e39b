-- Stores a value, unless the writer believes to hold a lock that another has taken.
-- KEYS: values, index, lock. ARGV: key, value, what the lock holds or "".
if ARGV[3] ~= '' then
  local now = redis.call('GET', KEYS[3])
  if now and now ~= ARGV[3] then
    return 0
  end
end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
redis.call('ZADD', KEYS[2], 0, ARGV[1])
return 1
