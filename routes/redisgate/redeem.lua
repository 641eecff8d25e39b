-- Counts one use of a share, unless it has been used as often as it may be.
-- KEYS[1] uses; ARGV id, field of the last use, most uses (0: any), now
local uses = tonumber(redis.call('HGET', KEYS[1], ARGV[1]) or '0')
local most = tonumber(ARGV[3])
if most > 0 and uses >= most then
	return 0
end
redis.call('HINCRBY', KEYS[1], ARGV[1], 1)
redis.call('HSET', KEYS[1], ARGV[2], ARGV[4])
return 1
