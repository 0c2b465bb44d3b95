#!lua flags=no-writes
-- Overdue lists reservations in doubt, and those in flight past their deadline, oldest first.
--
-- KEYS[1] → open reservations by deadline
-- ARGV[1] → JSON, type overdueArgs in list.go
--
-- Returns ok ID…
local reply = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', str(clock()), 'LIMIT', q.from, q.limit)
table.insert(reply, 1, 'ok')
return reply
