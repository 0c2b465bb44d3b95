-- What reserve and raise share: may this key call. Put before both by Go. Each check returns the reply that ends
-- the verb, or nothing; none writes.

-- would are the refusals of what is only observed, as short of charge.lua has them: eight words each. told adds them
-- to a reply.
local would = {}

local function told(reply)
  reply[#reply + 1] = tostring(#would / 8)
  for _, s in ipairs(would) do reply[#reply + 1] = s end
  return reply
end

-- admit refuses a key without a row, expired, revoked, paused or frozen. Revokes are looked for first.
local function admit(now)
  local key = redis.call('HMGET', KEYS[2], 'open', 'frozen')
  if not key[1] then return { 'denied', 'key_unknown', q.key } end
  if not (int(q.expires) > now) then return { 'denied', 'key_expired', q.key } end
  local verbs = #q.controls > 0 and redis.call('HMGET', KEYS[3], unpack(q.controls)) or {}
  for i, name in ipairs(q.controls) do
    if verbs[i] == 'revoke' then return { 'denied', 'key_revoked', string.sub(name, 3) } end
  end
  for i, name in ipairs(q.controls) do
    if verbs[i] == 'pause' then return { 'denied', 'key_paused', string.sub(name, 3) } end
    if verbs[i] then error('keybrake: unknown control') end
  end
  if key[2] then return { 'denied', 'key_frozen', q.key } end
end

-- saw is the pending reservation that carries the object now: the only one that this call's reply may end.
local function saw()
  return q.object ~= '' and q.carrier ~= '' and redis.call('HGET', KEYS[8], 'p') == 'pending' and q.carrier or ''
end

-- moved asks Go to look again when the object is carried by another reservation than Go has seen, or that one
-- has changed since.
local function moved()
  if q.object == '' then return end
  local id = redis.call('GET', KEYS[7]) or ''
  if id ~= q.carrier or id ~= '' and (redis.call('HGET', KEYS[8], 'v') or '') ~= q.version then
    return { 'carrier', id }
  end
end
