#!lua flags=allow-oom
-- Floor raises what a window has spent to what a process was told that it had. Where the row is new, because it was lost
-- alone, it also puts back what was held, which the reservations that are still there will settle. Of a rolling budget
-- only such a row is for it: all that counted is put into the newest slot, where it counts for longer than it would have.
--
-- KEYS[1] → the row
-- ARGV[1] → JSON, type floorArgs in rearm.go
--
-- Returns ok | there
if q.back ~= '0' then
  if q.alone == '' or #slots(KEYS[1], q.name) > 0 or not (int(q.spent) + int(q.held) < 9e15) then return { 'there' } end
  int(q.stop)
  enter(KEYS[1], q)
  shift(KEYS[1], q.name, q, int(q.spent), int(q.held))
  return { 'ok' }
end
local w, field = redis.call('HGET', KEYS[1], 'w:' .. q.name), 'u:' .. q.start .. ':' .. q.name
if w and int(w) > int(q.start) then return { 'there' } end -- another window counts now
int(q.stop)
local spent = w == q.start and int((cell(KEYS[1], q.name, q))) or 0
local more, held = int(q.spent) - spent, q.alone ~= '' and not w and int(q.held) or 0
if not (more + held > 0 and more >= 0 and int(q.spent) < 9e18) then return { 'there' } end
int(redis.call('HGET', KEYS[1], field) or '0')
enter(KEYS[1], q)
shift(KEYS[1], q.name, q, more, held)
redis.call('HINCRBY', KEYS[1], field, str(more))
return { 'ok' }
