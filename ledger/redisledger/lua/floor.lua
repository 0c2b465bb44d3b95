#!lua flags=allow-oom
-- Floor raises what a window has spent to what a process was told that it had. A rolling one is not for it.
--
-- KEYS[1] → the row
-- ARGV[1] → JSON, type floorArgs in rearm.go
--
-- Returns ok | there
local w, field = redis.call('HGET', KEYS[1], 'w:' .. q.name), 'u:' .. q.start .. ':' .. q.name
if w and int(w) > int(q.start) then return { 'there' } end -- another window counts now
int(q.stop)
local spent = w == q.start and int((cell(KEYS[1], q.name, q))) or 0
local more = int(q.spent) - spent
if not (more > 0 and int(q.spent) < 9e18) then return { 'there' } end
int(redis.call('HGET', KEYS[1], field) or '0')
enter(KEYS[1], q)
shift(KEYS[1], q.name, q, more, 0)
redis.call('HINCRBY', KEYS[1], field, str(more))
return { 'ok' }
