-- What settle, release and adjust share. Put before them by Go. KEYS[1] is the record, [2] its key's row, [3] the open
-- reservations, [4] the pending ones, [5] and [6] the alerts, their order and texts.

-- doubt marks a reservation in flight as in doubt. It is listed from now on, whatever the clock does.
local function doubt()
  redis.call('HSET', KEYS[1], 'p', 'in_doubt')
  redis.call('HINCRBY', KEYS[1], 'v', 1)
  redis.call('ZADD', KEYS[3], '0', q.id)
end

-- known are the parts of a record, which must be as many as Go has seen. What is written later must be of its
-- type, because an error half-way is not undone. A shared budget's row never goes by right: where it is missing alone,
-- what is booked would be lost, so nothing is and the reservation stays open.
local function known(e)
  redis.call('ZCARD', KEYS[3])
  redis.call('ZCARD', KEYS[4])
  local list = parts(e)
  if #list ~= #q.parts then error('keybrake: damaged record') end
  for _, p in ipairs(q.parts) do
    if p.row ~= 2 and redis.call('HEXISTS', KEYS[p.row], 'rev') == 0 and redis.call('HEXISTS', KEYS[#KEYS], 'r:' .. KEYS[p.row]) == 1 then
      error('keybrake: the row of a shared budget is missing')
    end
  end
  return list
end

-- rebook moves each part to sum and rest, and the reservation to a phase and an object.
local function rebook(list, phase, object, deadline)
  for i, p in ipairs(q.parts) do
    local old = list[i]
    shift(KEYS[p.row], p.name, old, p.sum - old.booked, p.rest - old.held)
    old.booked, old.held = p.sum, p.rest
  end
  redis.call('HSET', KEYS[1], 'p', phase, 'e', pack(list))
  note('o', object)
  redis.call('HINCRBY', KEYS[1], 'v', 1)
  redis.call('ZREM', KEYS[3], q.id)
  if phase == 'pending' then redis.call('ZADD', KEYS[4], deadline or '0', q.id) else redis.call('ZREM', KEYS[4], q.id) end
end

-- ended gives the record its last days: with a claim it has more of them, and where it booked money it stays for
-- adjustments. An open record has no expiry.
local function ended(yes, claim, list)
  if not yes then return redis.call('PERSIST', KEYS[1]) end
  local keep = tonumber(claim ~= '' and q.claimkeep or q.keep)
  for i, p in ipairs(q.parts) do
    if p.money and list[i] and list[i].booked > 0 then keep = math.max(keep, tonumber(q.remember)) end
  end
  redis.call('PEXPIRE', KEYS[1], str(keep))
end

-- forgetall drops what no later verb reads. It comes after the report, which does.
local function forgetall(list)
  for i, p in ipairs(q.parts) do forget(KEYS[p.row], p.name, list[i]) end
end
