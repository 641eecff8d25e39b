-- Counts one attempt and returns how many there were within the window.
-- KEYS[1] counter; ARGV window in milliseconds
local n = redis.call('INCR', KEYS[1])
if n == 1 or redis.call('PTTL', KEYS[1]) < 0 then
	redis.call('PEXPIRE', KEYS[1], ARGV[1])
end
return n
