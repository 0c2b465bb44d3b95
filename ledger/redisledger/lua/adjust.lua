#!lua flags=allow-oom
-- Adjust corrects what a finished reservation has cost. It asks neither budgets nor the key's state, and works when
-- Redis is out of memory: the money is gone, or was never taken.
--
-- KEYS[1…6] → as close.lua says   KEYS[7…] → rows of the shared budgets
-- ARGV[1] → JSON, type adjustArgs in adjust.go
--
-- Returns ok NOW OVER FIXED N (START END SPENT HELD FROM FIRST)×N
--         stale   the record is not as Go has read it, perhaps because this very adjustment was booked before
local now = clock()
local rec = redis.call('HMGET', KEYS[1], 'v', 'e', 'f', 'o', 'c', 'al', 'b', 'adj')
if rec[1] ~= q.version then return { 'stale' } end
local list, over, first = known(rec[2]), '0', {}
for i, p in ipairs(q.parts) do
  first[i] = str(list[i].booked)
  p.sum, p.rest = int(p.booked), 0
  if p.sum > list[i].booked + list[i].held then over = '1' end
  sound(KEYS[p.row], p.name, list[i], p.sum, 0)
end
if rec[6] then ready(KEYS[5], KEYS[6]) end

-- Field b keeps what the settlement booked, so that it can still be told from another one.
redis.call('HSET', KEYS[1], 'adj', (rec[8] or '') .. str(now) .. ' ' .. q.entry .. '\n', 'b', rec[7] or table.concat(first, ' '))
rebook(list, 'settled', rec[4] or '', '0')
ended(true, rec[5] or '', list)
alert(now, list, rec[6] or '', rec[3], KEYS[5], KEYS[6])
local reply = report({ 'ok', str(now), over, rec[3] }, list)
forgetall(list)
return reply
