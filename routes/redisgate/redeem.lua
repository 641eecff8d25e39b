-- Counts one use of a share, unless it has been used as often as it may be.
-- KEYS[1] uses; ARGV id, field of the last use, most uses (0: any), now, whether it is
-- unused if there is no count (1)
local uses = redis.call('HGET', KEYS[1], ARGV[1])
local most = tonumber(ARGV[3])
if most > 0 and (tonumber(uses or '0') >= most or (not uses and ARGV[5] ~= '1')) then
	return 0
end
redis.call('HINCRBY', KEYS[1], ARGV[1], 1)
redis.call('HSET', KEYS[1], ARGV[2], ARGV[4])
return 1
