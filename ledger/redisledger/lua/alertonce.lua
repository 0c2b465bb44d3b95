#!lua
-- Alert stores an alert that its caller has seen, once for its id.
--
-- KEYS[1] → the mark of the id: until when it stands   KEYS[2] → the order of the alerts   KEYS[3] → their texts
-- ARGV[1] → JSON, type alertArgs in alert.go
--
-- Returns ok
local now, told = clock(), redis.call('GET', KEYS[1])
if told and int(told) > now then return { 'ok' } end
ready(KEYS[2], KEYS[3])
redis.call('SET', KEYS[1], str(now + int(q.span)), 'PX', q.keep)
tell(KEYS[2], KEYS[3], q.id, { kind = q.kind, key = q.key, hold = q.hold, memo = q.memo, at = str(now) })
return { 'ok' }
