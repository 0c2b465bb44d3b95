#!lua flags=allow-oom
-- Ensure puts a reservation back that the store has lost, with its amounts, whatever the limits say. What is there stays,
-- unless it is in flight as it was before a raise or an outcome that was lost.
--
-- KEYS[1] → the reservation's record   KEYS[2] → its key's row   KEYS[3] → open reservations by deadline
-- KEYS[4] → the pending ones   KEYS[5] → who carries its object   KEYS[6…] → rows of the shared budgets
-- ARGV[1] → JSON, type ensureArgs in rearm.go
--
-- Returns ok | there
local there = redis.call('HMGET', KEYS[1], 'p', 'n', 'e', 'l', 'v')
local list, old = {}, {}
if there[1] then old = older(there) end
if not old then return { 'there' } end
redis.call('ZCARD', KEYS[3])
redis.call('ZCARD', KEYS[4])
local carrier = redis.call('GET', KEYS[5])
for i, p in ipairs(q.parts) do
  list[i] = { start = p.start, stop = p.stop, held = int(p.held), booked = int(p.booked), base = int(p.base), back = p.back }
  int(p.stop)
  if old[i] then sound(KEYS[p.row], p.name, old[i], 0, 0) end
  sound(KEYS[p.row], p.name, p, int(p.booked), int(p.held))
  int(redis.call('HGET', KEYS[p.row], 'u:' .. p.start .. ':' .. p.name) or '0')
end

-- reopen makes the slot of p in a rolling window, unless it counts no more.
local function reopen(row, p)
  local all, start = slots(row, p.name), tonumber(p.start)
  if slot(row, p.name, p) or start < all[#all].start - tonumber(p.back) then return end
  all[#all + 1] = { start = start, spent = 0, held = 0 }
  table.sort(all, function(a, b) return a.start < b.start end)
  save(row, p.name, all)
end

for i, p in ipairs(q.parts) do
  if old[i] then
    shift(KEYS[p.row], p.name, old[i], -old[i].booked, -old[i].held)
    forget(KEYS[p.row], p.name, old[i])
  end
end
if there[1] then
  redis.call('ZREM', KEYS[3], q.id)
  if q.phase == 'in_flight' then redis.call('HSET', KEYS[1], 'raised', '1') end
end
redis.call('HSET', KEYS[1], 'v', str(tonumber(there[5] or '0') + 1), 'p', q.phase, 'n', q.nonce, 'k', q.key, 'd', q.deadline, 'f', q.fixed, 'l', q.layout, 'e', pack(list))
for field, text in pairs({ o = q.object, m = q.memo, c = q.claim, al = q.marks, cs = q.controls, attached = q.claim ~= '' and '1' or '' }) do if text ~= '' then note(field, text) end end
if q.listed ~= '' then redis.call('ZADD', KEYS[3], q.listed, q.id) end
if q.phase == 'pending' then redis.call('ZADD', KEYS[4], q.deadline, q.id) end
if q.keep ~= '' then redis.call('PEXPIRE', KEYS[1], q.keep) end
if q.carries and not carrier then redis.call('SET', KEYS[5], q.id) end
for i, p in ipairs(q.parts) do
  local row, field = KEYS[p.row], 'u:' .. p.start .. ':' .. p.name
  local w = redis.call('HGET', row, 'w:' .. p.name)
  if p.back ~= '0' or not w or int(w) < int(p.start) then enter(row, p) end
  if p.back ~= '0' then reopen(row, p) end
  -- What floor.lua has put there without knowing whose it was may have been this.
  local known = math.min(tonumber(redis.call('HGET', row, field) or '0'), list[i].booked)
  if known > 0 then redis.call('HINCRBY', row, field, '-' .. str(known)) end
  shift(row, p.name, p, list[i].booked - known, list[i].held)
end
return { 'ok' }
