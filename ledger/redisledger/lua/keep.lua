#!lua
-- Keep stores a text for a while, in place of what was there.
--
-- KEYS[1] → the text: when it is over, a space, its bytes
-- ARGV[1] → JSON, type keepTextArgs in lease.go   ARGV[2] → the text, any bytes
--
-- Returns ok
redis.call('SET', KEYS[1], str(clock() + int(q.span)) .. ' ' .. ARGV[2], 'PX', q.keep)
return { 'ok' }
