#!lua
-- Raise adds lines to a reservation in flight, once, as reserve would, or changes nothing.
--
-- KEYS[1] → the reservation's record        KEYS[2] → the key's row         KEYS[3] → the tenant's controls
-- KEYS[4], KEYS[5], KEYS[6] → not used
-- KEYS[7] → which reservation carries the object   KEYS[8] → its record     KEYS[9] → pending reservations by deadline
-- KEYS[10] → not used                              KEYS[11], KEYS[12] → alerts, their order and texts
-- KEYS[13…] → rows of the shared budgets
-- ARGV[1] → JSON, type reserveArgs in reserve.go
--
-- Returns ok NOW N (…)×N M (…)×M   as reserve
--         replay RECORD…   it was raised before
--         missing | busy   no such reservation | not in flight, another attempt's or key's, or on another object
--         stale            the caller's hold is not what the record says
--         denied, short, doomed, carrier, window, spec   as reserve
local now = clock()
local rec = redis.call('HMGET', KEYS[1], 'p', 'n', 'raised', 'l', 'o', 'e', 'k', 'ru')
if not rec[1] then return { 'missing' } end
if rec[1] ~= 'in_flight' or rec[2] ~= q.nonce then return { 'busy' } end
if rec[3] then return dump({ 'replay' }, KEYS[1]) end
if rec[4] ~= q.was or (rec[5] or '') ~= q.from or (rec[8] or '') ~= q.ru then return { 'stale' } end
if rec[7] ~= q.key or q.object ~= '' and q.from ~= '' and q.object ~= q.from then return { 'busy' } end
local own = parts(rec[6])
for _, m in ipairs(q.parts) do
  local p = m.own > 0 and (own[m.own] or {})
  if p and not (p.start == m.old[1].start and p.held == int(m.old[1].held) and p.booked == int(m.old[1].booked)) then
    return { 'stale' }
  end
end
local no = admit(now) or q.doomed and { 'doomed' } or moved() or charge(now)
if no then return no end

local list, sees = landed(own), saw()
if q.object ~= '' then note('saw', sees) end
redis.call('HSET', KEYS[1], 'raised', '1', 'f', q.fixed, 'l', q.layout, 'e', pack(list))
note('o', q.object ~= '' and q.object or q.from)
note('m', q.memo)
note('al', q.marks)
note('w', table.concat(would, ' '))
redis.call('HINCRBY', KEYS[1], 'v', 1)
redis.call('HDEL', KEYS[1], 'probing')
put(list)
alert(now, list, q.marks, q.fixed, KEYS[11], KEYS[12])
return told(report({ 'ok', str(now) }, list))
