-- The writing of what charge.lua has admitted. Put before reserve and raise by Go.

-- enter makes the window of m the row's newest, and keeps what it had.
local function enter(row, m)
  if m.back ~= '0' then return advance(row, m.name, m) end
  local v = redis.call('HMGET', row, 'w:' .. m.name, 's:' .. m.name, 'h:' .. m.name, 'p:' .. m.name)
  if v[1] == m.start then return end
  redis.call('HSET', row, 'w:' .. m.name, m.start, 'e:' .. m.name, m.stop, 's:' .. m.name, '0', 'h:' .. m.name, '0')
  if not v[1] then return end
  local old = v[1] .. ':' .. m.name
  redis.call('HSET', row, 'S:' .. old, v[2], 'H:' .. old, v[3], 'p:' .. m.name, v[1])
  if v[4] then forget(row, m.name, { start = v[4], back = '0' }) end
end

-- put writes the moves.
local function put(list)
  for i, m in ipairs(q.parts) do
    local row = KEYS[m.row]
    if not m.kept then enter(row, m) end
    if not (m.kept and #m.old == 1) then
      shift(row, m.name, m, list[i].booked, list[i].held)
      for _, o in ipairs(m.old) do
        shift(row, m.name, o, -tonumber(o.booked), -tonumber(o.held))
        forget(row, m.name, o)
      end
    end
  end
  if q.absorb then
    lapse(KEYS[8], KEYS[9], q.carrier)
    redis.call('SET', KEYS[7], q.id)
  end
end
