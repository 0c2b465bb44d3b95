#!lua
-- Reserve admits a call and holds its lines in all its budgets, or changes nothing.
--
-- KEYS[1] → the reservation's record        KEYS[2] → the key's row         KEYS[3] → the tenant's controls
-- KEYS[4] → open reservations by deadline   KEYS[5] → the claim             KEYS[6] → the record that claimed first
-- KEYS[7] → which reservation carries the object   KEYS[8] → its record     KEYS[9] → pending reservations by deadline
-- KEYS[10] → the times of the repeat rule           KEYS[11], KEYS[12] → alerts, their order and texts
-- KEYS[13…] → rows of the shared budgets
-- ARGV[1] → JSON, type reserveArgs in reserve.go
--
-- Returns ok NOW N (START END SPENT HELD FROM FIRST)×N M (INDEX START END SPENT HELD FROM FIRST NEED)×M: where the N
--           parts landed and what stands there, and the M refusals of what is only observed, of which INDEX 0 is the
--           repeat rule. The first attempt's record follows where a retry attached
--         replay RECORD…            this id was reserved before, perhaps by this very call
--         denied CODE NAME          the key may not call, or the idempotency key conflicts
--         repeat COUNT FIRST        admitted COUNT times in the rule's window, the one that has to fall out at FIRST
--         short NOW (INDEX START END SPENT HELD FROM FIRST NEED)…   every budget that does not cover it
--         doomed                    the key may call, but Go has found a reason to refuse
--         claim ID GONE | carrier ID | window NOW | spec   Go has to look again and propose anew
local now = clock()
if redis.call('EXISTS', KEYS[1]) == 1 then return dump({ 'replay' }, KEYS[1]) end
local no = admit(now) or claimed(now) or repeated(now) or q.doomed and { 'doomed' } or moved() or charge(now)
if no then return no end

local list, sees = landed({}), saw()
local open = q.phase == 'in_flight'
if open or #list > 0 or q.rule then -- what counts nothing is not remembered
  local fields = { 'v', '1', 'p', q.phase, 'n', q.nonce, 'k', q.key, 'd', str(now + int(q.deadline)), 'f', q.fixed, 'l', q.layout, 'e', pack(list) }
  for field, text in pairs({ o = q.object, m = q.memo, c = q.claim, of = q.attach and q.first or '', saw = sees, al = q.marks, probing = q.probing and '1' or '',
    cs = #q.controls > 0 and cjson.encode(q.controls) or '', w = table.concat(would, ' ') }) do
    if text ~= '' then fields[#fields + 1], fields[#fields + 2] = field, text end -- a record is kept for a month
  end
  redis.call('HSET', KEYS[1], unpack(fields))
end
if open then
  redis.call('ZADD', KEYS[4], str(now + int(q.deadline)), q.id)
else
  redis.call('PEXPIRE', KEYS[1], q.keep)
end
if q.attach then
  local ends = tonumber(redis.call('HGET', KEYS[6], 'ru') or '0') -- of the retry that ends last, not of the last that came
  redis.call('HINCRBY', KEYS[6], 'attached', 1)
  redis.call('HSET', KEYS[6], 'ru', str(math.max(ends, now + int(q.deadline))))
elseif open and q.claim ~= '' then
  redis.call('HSET', KEYS[5], 'id', q.id, 'fp', q.fingerprint, 'at', str(now))
  redis.call('PEXPIRE', KEYS[5], q.claimkeep)
end
remember(now)
put(list)
alert(now, list, q.marks, q.fixed, KEYS[11], KEYS[12])
local reply = told(report({ 'ok', str(now) }, list))
return q.attach and dump(reply, KEYS[6]) or reply
