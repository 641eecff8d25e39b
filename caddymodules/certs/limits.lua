-- Counts an order of a certificate, unless a limit is reached.
-- KEYS: back-off, orders of the name, of the tenant, of all.
-- ARGV: most of the name and of the tenant in a day, most of all in an hour.
-- A most of 0 is not looked at. Returns {which limit, milliseconds until then}; of an
-- order that is counted {'', milliseconds until the hour ends, orders of all in it}.
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local untilTime = tonumber(redis.call('HGET', KEYS[1], 'until') or '0')
if untilTime > now then
  return { 'backoff', untilTime - now }
end
local names = { 'name', 'tenant', 'total' }
local windows = { 86400000, 86400000, 3600000 }
for i = 1, 3 do
  local most = tonumber(ARGV[i])
  if most > 0 and tonumber(redis.call('GET', KEYS[i + 1]) or '0') >= most then
    return { names[i], redis.call('PTTL', KEYS[i + 1]) }
  end
end
for i = 1, 3 do
  if tonumber(ARGV[i]) > 0 and redis.call('INCR', KEYS[i + 1]) == 1 then
    redis.call('PEXPIRE', KEYS[i + 1], windows[i])
  end
end
return { '', redis.call('PTTL', KEYS[4]), tonumber(redis.call('GET', KEYS[4]) or '0') }
