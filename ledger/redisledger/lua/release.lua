#!lua flags=allow-oom
-- Release gives a hold back, on proof that the vendor did not execute. It works when Redis is out of memory.
--
-- KEYS[1…6] → as close.lua says; [5] and [6] are not used
-- KEYS[7] → who carries its object     KEYS[8…] → rows of the shared budgets
-- ARGV[1] → JSON, type releaseArgs in settle.go
--
-- Returns ok        given back
--         ok kept   it stays: a retry has attached
--         settled   nothing to give back
--         stale     Go has to read the record and propose anew
local now = clock()
local rec = redis.call('HMGET', KEYS[1], 'p', 'l', 'o', 'e', 'attached', 'c', 'k', 'd', 'ru')
if not rec[1] then
  -- A reserve that is still on its way must find that it came too late.
  redis.call('HSET', KEYS[1], 'v', '1', 'p', 'released', 'l', '', 'e', '', 'f', '', 'k', q.key)
  ended(true, '', {})
  return { 'ok' }
end
if rec[1] == 'released' then return { 'ok' } end
if rec[1] == 'settled' then return { 'settled' } end
if rec[5] and rec[1] == 'pending' and q.phase == 'in_flight' then return { 'ok', 'kept' } end
if rec[2] ~= q.layout or (rec[3] or '') ~= q.from or rec[7] ~= q.key then return { 'stale' } end

-- Only who has seen the doubt can resolve it: this same release sent a second time must not, nor may one of who saw it
-- before another retry has attached.
if rec[5] and (rec[1] == 'in_flight' or rec[1] == 'in_doubt' and (q.phase ~= 'in_doubt' or (rec[9] or '') ~= q.ru)) then
  if rec[1] == 'in_flight' then doubt() end
  return { 'ok', 'kept' }
end

local list, phase = known(rec[4]), 'released'
local carries = redis.call('GET', KEYS[7]) == q.id
for i, p in ipairs(q.parts) do
  p.sum = p.calls and not (q.unsent and rec[1] == 'in_flight') and list[i].booked or 0
  p.rest = carries and math.min(list[i].base, list[i].held) or 0
  if p.rest > 0 then phase = 'pending' end
  sound(KEYS[p.row], p.name, list[i], 0, 0)
end

rebook(list, phase, rec[3] or '', rec[8])
redis.call('HSET', KEYS[1], 'void', '1') -- what is left is the object's level: a retry is a new spend
ended(phase == 'released', rec[6] or '', list)
if carries and phase == 'released' then redis.call('DEL', KEYS[7]) end
forgetall(list)
return { 'ok' }
