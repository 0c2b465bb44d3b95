#!lua
-- Check writes, so that a replica, a full server and missing permissions show before the first call.
--
-- KEYS[1] → a row of its own
-- ARGV[1] → JSON, type checkArgs in check.go
--
-- Returns ok NOW
redis.call('HSET', KEYS[1], 'open', q.nonce)
redis.call('PEXPIRE', KEYS[1], 60000)
return { 'ok', str(clock()) }
