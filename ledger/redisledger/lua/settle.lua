#!lua flags=allow-oom
-- Settle books what became of a call. It asks neither budgets nor the key's state, and works when Redis is out
-- of memory: the money is gone.
--
-- KEYS[1…6] → as close.lua says
-- KEYS[7] → who carries the object that it has      KEYS[8] → who carries the object that the reply names
-- KEYS[9] → the record of another carrier   KEYS[10] → the row of that one's key   KEYS[11…] → rows of the shared budgets
-- ARGV[1] → JSON, type settleArgs in settle.go
--
-- Returns ok NOW OVER FIXED N (START END SPENT HELD FROM FIRST)×N
--         settled, as ok   with other amounts: the first stand
--         missing | lost | stale | carrier ID   no such reservation | and some were lost | Go has to read record | carrier anew
local now = clock()
local rec = redis.call('HMGET', KEYS[1], 'p', 'l', 'o', 'e', 'f', 'k', 'c', 'saw', 'd', 'al', 'b', 'ov')
if not rec[1] then return { lossy() and 'lost' or 'missing' } end
if rec[2] ~= q.layout or (rec[3] or '') ~= q.from or rec[6] ~= q.key then return { 'stale' } end
local list, over, by, holds = known(rec[4]), rec[12] or '0', nil, false
local function done(status) return report({ status, str(now), over, rec[5] }, list) end
local function ok() learn() return done('ok') end

if q.phase == 'in_doubt' then
  if rec[1] == 'in_flight' then doubt() end
  return (rec[1] == 'in_flight' or rec[1] == 'in_doubt') and ok() or done('ok') -- else more is known already
end
if rec[1] == 'settled' then
  local first = string.gmatch(rec[11] or '', '%d+') -- as before it was adjusted
  for i, p in ipairs(q.parts) do
    local stood = tonumber(first() or list[i].booked)
    if p.booked ~= '' and int(p.booked) ~= stood then return done('settled') end
  end
  return ok()
end
local other = q.object ~= '' and redis.call('GET', KEYS[8]) or ''
if other == q.id then other = '' end
if other ~= q.other or other ~= '' and (redis.call('HGET', KEYS[9], 'v') or '') ~= q.version then return { 'carrier', other } end
for i, p in ipairs(q.parts) do
  p.sum, p.rest = p.booked == '' and list[i].booked or int(p.booked), int(p.held)
  by = by or overrun(i, list[i], p)
  holds = holds or p.rest > 0
  sound(KEYS[p.row], p.name, list[i], p.sum, p.rest)
end
if q.other ~= (rec[8] or '') then q.absorb, q.ends = {}, false end -- its reply may be older than that one's
for _, a in ipairs(q.absorb) do sound(KEYS[a.row], a.name, a, 0, int(a.held)) end
local carries = redis.call('GET', KEYS[7]) == q.id
local key = redis.call('HEXISTS', KEYS[2], 'open') == 1
if by then ready(KEYS[5], KEYS[6]) end

rebook(list, q.phase, q.object, rec[9])
ended(q.phase == 'settled', rec[7] or '', list)
if by then over = overran(now, list, rec[10] or '', rec[5], key, by) end
for _, a in ipairs(q.absorb) do
  shift(KEYS[a.row], a.name, a, 0, -tonumber(a.held))
  forget(KEYS[a.row], a.name, a)
end
if q.ends then lapse(KEYS[9], KEYS[4], q.other) redis.call('DEL', KEYS[8]) end
if carries then redis.call('DEL', KEYS[7]) end
if q.object ~= '' and holds then redis.call('SET', KEYS[8], q.id) end
local reply = ok()
forgetall(list)
return reply
