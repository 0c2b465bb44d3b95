-- What reserve and raise share: does every budget cover the call. Put before both by Go.

-- place writes into a move the window that it will land in, and returns what stands there as stand of cells.lua does. A
-- proposed window must hold now; one older than the row's newest gives way to that, so windows never go back.
local function place(row, m)
  if m.back ~= '0' then
    local spent, held, from, first = rolled(row, m.name, m)
    m.start, m.stop = from, str(int(from) + int(m.stop) - int(m.start))
    return spent, held, from, first
  end
  local v = redis.call('HMGET', row, 'w:' .. m.name, 'e:' .. m.name, 's:' .. m.name, 'h:' .. m.name)
  local spent, held = '0', '0'
  if v[1] then int(v[2]) int(v[3]) int(v[4]) end
  if v[1] and int(v[1]) >= int(m.start) then m.start, m.stop, spent, held = v[1], v[2], v[3], v[4] end
  return spent, held, m.start, m.stop
end

-- charge checks every budget, all of them. Those that are only observed refuse nothing.
local function charge(now)
  for _, s in ipairs(q.revs) do
    if redis.call('HGET', KEYS[s.row], 'rev') ~= s.rev then return { 'spec' } end
  end
  local short = { 'short', str(now) }
  for i, m in ipairs(q.parts) do
    if not m.kept then
      if m.stop ~= '0' and not (int(m.start) <= now and now < int(m.stop)) then return { 'window', str(now) } end
      local spent, held, from, first = place(KEYS[m.row], m)
      local need = int(m.held) + int(m.booked)
      for _, o in ipairs(m.old) do -- what goes is no need, where it counts
        local since = int(o.start) - int(m.start)
        if since <= 0 and since >= -int(m.back) then need = need - int(o.held) - int(o.booked) end
      end
      if not (need <= 0 or int(spent) + int(held) <= int(m.limit) - need) then
        local list = m.observed and would or short
        for _, s in ipairs({ tostring(i), m.start, m.stop, spent, held, from, first, str(need) }) do list[#list + 1] = s end
      end
    end
  end
  redis.call('ZCARD', KEYS[4]) -- what is written later must be of its type: an error half-way is not undone
  redis.call('ZCARD', KEYS[9])
  if q.marks ~= '' then ready(KEYS[11], KEYS[12]) end
  for _, m in ipairs(q.parts) do
    for _, o in ipairs(m.old) do sound(KEYS[m.row], m.name, o, int(o.booked), int(o.held)) end
  end
  if #short > 2 then return short end
end

-- landed makes the moves the parts of the record; own are those that it had.
local function landed(own)
  local list = {}
  for i, m in ipairs(q.parts) do
    local base = int(m.base) + (m.own > 0 and own[m.own].base or 0)
    list[i] = { start = m.start, stop = m.stop, held = int(m.held), booked = int(m.booked), base = base, back = m.back }
  end
  return list
end
