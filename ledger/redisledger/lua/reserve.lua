#!lua
-- Reserve admits a call and holds its lines in all its budgets, or changes nothing.
--
-- KEYS[1] → the reservation's record        KEYS[2] → the key's row         KEYS[3] → the tenant's controls
-- KEYS[4] → open reservations by deadline   KEYS[5] → the claim             KEYS[6] → the record that claimed first
-- KEYS[7] → which reservation carries the object   KEYS[8] → its record     KEYS[9…] → rows of the shared budgets
-- ARGV[1] → JSON, type reserveArgs in reserve.go
--
-- Returns ok NOW N (START END SPENT HELD)×N, followed by the first attempt's record where a retry attached
--         replay RECORD…            this id was reserved before, perhaps by this very call
--         denied CODE NAME          the key may not call, or the idempotency key conflicts
--         short NOW (INDEX START END SPENT HELD NEED)…   every budget that does not cover it
--         doomed                    the key may call, but Go has found a reason to refuse
--         claim ID GONE | carrier ID | window NOW | spec   Go has to look again and propose anew
local now = clock()

-- claimed compares Go's idea of the claim with the store's.
local function claimed()
  if q.claim == '' then return end
  local c = redis.call('HMGET', KEYS[5], 'id', 'fp', 'at')
  local id = c[1] and now - int(c[3]) < int(q.memory) and c[1] or ''
  if id ~= q.first then return { 'claim', id, '0' } end
  if id == '' then return end
  local first = redis.call('HMGET', KEYS[6], 'p', 'probing', 'd', 'void')
  local gone = not first[1] or first[1] == 'released' or first[4] or first[2] and int(first[3]) <= now
  if not gone and c[2] ~= q.fingerprint then return { 'denied', 'idempotency_conflict', '' } end
  if not gone and first[2] then return { 'denied', 'idempotency_in_flight', '' } end
  if q.attach == (gone and true or false) then return { 'claim', id, gone and '1' or '0' } end
end

if redis.call('EXISTS', KEYS[1]) == 1 then return dump({ 'replay' }, KEYS[1]) end
local no = admit(now) or claimed() or q.doomed and { 'doomed' } or moved() or charge(now)
if no then return no end

local list, sees = landed({}), saw()
local open = q.phase == 'in_flight'
if open or #list > 0 then
  redis.call('HSET', KEYS[1], 'v', '1', 'p', q.phase, 'n', q.nonce, 'k', q.key, 'd', str(now + int(q.deadline)),
    'o', q.object, 'f', q.fixed, 'l', q.layout, 'm', q.memo, 'c', q.claim, 'of', q.attach and q.first or '', 'e', pack(list), 'saw', sees)
end
if q.probing then redis.call('HSET', KEYS[1], 'probing', '1') end
if open then
  redis.call('ZADD', KEYS[4], str(now + int(q.deadline)), q.id)
else
  redis.call('PEXPIRE', KEYS[1], q.keep)
end
if q.attach then
  redis.call('HSET', KEYS[6], 'attached', '1', 'ru', str(now + int(q.deadline)))
elseif open and q.claim ~= '' then
  redis.call('HSET', KEYS[5], 'id', q.id, 'fp', q.fingerprint, 'at', str(now))
  redis.call('PEXPIRE', KEYS[5], q.claimkeep)
end
put(list)
local reply = report({ 'ok', str(now) }, list)
return q.attach and dump(reply, KEYS[6]) or reply
