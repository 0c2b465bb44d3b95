-- What settle and release share. Put before both by Go; record, key's row and open reservations are KEYS[1] to [3].

-- doubt marks a reservation in flight as in doubt. It is listed from now on, whatever the clock does.
local function doubt()
  redis.call('HSET', KEYS[1], 'p', 'in_doubt')
  redis.call('HINCRBY', KEYS[1], 'v', 1)
  redis.call('ZADD', KEYS[3], '0', q.id)
end

-- known are the parts of a record, which must be as many as Go has seen. What is written later must be of its
-- type, because an error half-way is not undone.
local function known(e)
  redis.call('ZCARD', KEYS[3])
  local list = parts(e)
  if #list ~= #q.parts then error('keybrake: damaged record') end
  return list
end

-- rebook moves each part to sum and rest, and the reservation to a phase.
local function rebook(list, phase, object)
  for i, p in ipairs(q.parts) do
    local old = list[i]
    shift(KEYS[p.row], p.name, old.start, p.sum - old.booked, p.rest - old.held)
    old.booked, old.held = p.sum, p.rest
  end
  redis.call('HSET', KEYS[1], 'p', phase, 'e', pack(list), 'o', object)
  redis.call('HINCRBY', KEYS[1], 'v', 1)
  redis.call('ZREM', KEYS[3], q.id)
end

-- ended gives the record its last days; one with a claim has more of them. An open record has no expiry.
local function ended(yes, claim)
  if yes then redis.call('PEXPIRE', KEYS[1], claim ~= '' and q.claimkeep or q.keep) else redis.call('PERSIST', KEYS[1]) end
end

-- forgetall drops what no later verb reads. It comes after the report, which does.
local function forgetall(list)
  for i, p in ipairs(q.parts) do forget(KEYS[p.row], p.name, list[i].start) end
end
