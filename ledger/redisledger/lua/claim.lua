-- The idempotency claim. Put before reserve by Go. KEYS[5] is the claim, KEYS[6] the record that claimed first.

-- claimed compares Go's idea of the claim with the store's.
local function claimed(now)
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
