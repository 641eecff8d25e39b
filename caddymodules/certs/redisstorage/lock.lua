-- Takes, extends or releases a lock. It holds "<fence>:<owner>", without an owner
-- for some time after it was released.
-- KEYS: lock, fence. ARGV: what to do, the owner or what the lock holds, milliseconds.
local now = redis.call('GET', KEYS[1])
if ARGV[1] == 'take' then
  if now and string.sub(now, -1) ~= ':' then
    return ''
  end
  local held = redis.call('INCR', KEYS[2]) .. ':' .. ARGV[2]
  redis.call('SET', KEYS[1], held, 'PX', ARGV[3])
  return held
end
-- Gone means that Redis lost it, or that it ran out and nobody wanted it.
if now and now ~= ARGV[2] then
  return ''
end
if ARGV[1] == 'extend' then
  redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
else
  redis.call('SET', KEYS[1], string.match(ARGV[2], '^%d+:'), 'PX', ARGV[3])
end
return ARGV[2]
