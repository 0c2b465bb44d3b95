-- What the verbs on a reservation need to read and write its record. Put after cells.lua by Go (scripts.go).

-- parts reads a record's field e: for each budget start and end of the window, held, booked, base, and back.
local function parts(e)
  local list = {}
  for start, stop, held, booked, base, back in string.gmatch(e or '', '(%d+) (%d+) (%d+) (%d+) (%d+) (%d+);') do
    list[#list + 1] = { start = start, stop = stop, held = int(held), booked = int(booked), base = int(base), back = back }
  end
  return list
end

local function pack(list)
  local e = {}
  for i, p in ipairs(list) do
    e[i] = table.concat({ p.start, p.stop, str(p.held), str(p.booked), str(p.base), p.back }, ' ') .. ';'
  end
  return table.concat(e)
end

-- report adds to a reply how many parts there are and, of each, its window and what stands in the budget now: six words.
local function report(reply, list)
  reply[#reply + 1] = tostring(#list)
  for i, p in ipairs(list) do
    local spent, held, from, first = stand(KEYS[q.parts[i].row], q.parts[i].name, p)
    for _, v in ipairs({ p.start, p.stop, spent, held, from, first }) do reply[#reply + 1] = v end
  end
  return reply
end

-- note writes a field of the verb's record, KEYS[1], or drops it where there is nothing to say.
local function note(field, text)
  if text ~= '' then redis.call('HSET', KEYS[1], field, text) else redis.call('HDEL', KEYS[1], field) end
end

-- dump adds a whole record to a reply.
local function dump(reply, record)
  for _, v in ipairs(redis.call('HGETALL', record)) do reply[#reply + 1] = v end
  return reply
end

-- lapse ends a pending reservation whose hold has passed to another: q.left are its parts then.
local function lapse(record, pending, id)
  redis.call('HSET', record, 'p', 'settled', 'e', q.left)
  redis.call('HINCRBY', record, 'v', 1)
  redis.call('PEXPIRE', record, q.leftkeep)
  redis.call('ZREM', pending, id)
end
