#!lua flags=no-writes
-- States reads what stands in the windows of a reservation, for the answer to a replay.
--
-- KEYS[i] → rows
-- ARGV[1] → JSON, type statesArgs in list.go
--
-- Returns ok NOW N (START END SPENT HELD FROM FIRST)×N
return report({ 'ok', str(clock()) }, q.parts)
