-- Alerts of what the verbs themselves see. Put before those that can raise what a budget has used by Go.
--
-- marks is field al of a record: for each part 'PERCENT AMOUNT,' for each threshold, lowest first, then ';'.
-- Field a:NAME of a row is 'PERCENT START': the highest threshold that was crossed, and the newest window then.

-- crossing are the thresholds that the budget of part p has crossed and that are not told yet in its window.
local function crossing(row, name, p, marks)
  local spent, held, from, first = stand(row, name, p)
  local newest = tonumber(p.back ~= '0' and from or redis.call('HGET', row, 'w:' .. name) or '0')
  local since = newest - tonumber(p.back)
  if tonumber(p.start) < since then return {} end -- of a window that is over
  local told, at = string.match(redis.call('HGET', row, 'a:' .. name) or '', '^(%d+) (%d+)$')
  if not told or tonumber(at) < since then told = '0' end
  local list = { start = str(newest), window = { p.start, p.stop, spent, held, from, first } }
  for percent, amount in string.gmatch(marks, '(%d+) (%d+),') do
    if tonumber(percent) > tonumber(told) and tonumber(spent) + tonumber(held) >= tonumber(amount) then
      list[#list + 1], told = percent, percent
    end
  end
  return list
end

-- alert stores what was crossed by the parts of a reservation, each threshold once in a window. fixed is field f of the
-- record.
local function alert(now, list, marks, fixed, index, texts)
  local i = 0
  for mark in string.gmatch(marks, '([^;]*);') do
    i = i + 1
    local m = q.parts[i]
    local found = mark == '' and {} or crossing(KEYS[m.row], m.name, list[i], mark)
    for _, percent in ipairs(found) do
      local row = KEYS[m.row]
      tell(index, texts, redis.sha1hex(tostring(#row) .. ' ' .. row .. m.name .. ' ' .. found.start .. ' ' .. percent), {
        kind = 'threshold', key = m.row == 2 and q.key or '', budget = cjson.decode(fixed).b[i], window = found.window,
        percent = percent, at = str(now) })
      redis.call('HSET', row, 'a:' .. m.name, percent .. ' ' .. found.start)
    end
  end
end

-- overrun is by how much part i takes more than stands there, or nil.
local function overrun(i, old, new)
  local by = new.sum + new.rest - old.booked - old.held
  return by > 0 and { part = i, by = by } or nil
end

-- overran marks a call that has cost more than was held, freezes its key, if that has a row, and tells of both.
local function overran(now, list, marks, fixed, key, by)
  if redis.call('HSET', KEYS[1], 'ov', '1') == 1 then
    local p = list[by.part]
    local spent, held, from, first = stand(KEYS[q.parts[by.part].row], q.parts[by.part].name, p)
    tell(KEYS[5], KEYS[6], 'overrun ' .. q.id, { kind = 'overrun', key = q.key, hold = q.id, budget = cjson.decode(fixed).b[by.part],
      window = { p.start, p.stop, spent, held, from, first }, excess = str(by.by), at = str(now) })
  end
  if key and redis.call('HSET', KEYS[2], 'frozen', '1') == 1 then
    tell(KEYS[5], KEYS[6], 'frozen ' .. q.id .. ' ' .. str(now), { kind = 'frozen', key = q.key, hold = q.id, at = str(now) })
  end
  alert(now, list, marks, fixed, KEYS[5], KEYS[6])
  return '1'
end
