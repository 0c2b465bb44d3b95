-- Alerts at thresholds of a budget. Put before the verbs that can raise what it has used by Go.
--
-- marks is field al of a record: for each part 'PERCENT AMOUNT,' for each threshold, lowest first, then ';'.
-- Field a:NAME of a row is 'PERCENT START': the highest threshold that was crossed, and the newest window then.
local mostalerts = 10000

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

-- alert stores what was crossed by the parts of a reservation, each threshold once in a window: in the zset index, whose
-- scores go up, and in the hash texts. fixed is field f of the record.
local function alert(now, list, marks, fixed, index, texts)
  local i = 0
  for mark in string.gmatch(marks, '([^;]*);') do
    i = i + 1
    local m = q.parts[i]
    local found = mark == '' and {} or crossing(KEYS[m.row], m.name, list[i], mark)
    for _, percent in ipairs(found) do
      local row = KEYS[m.row]
      local id = redis.sha1hex(tostring(#row) .. ' ' .. row .. m.name .. ' ' .. found.start .. ' ' .. percent)
      local top = redis.call('ZRANGE', index, '-1', '-1', 'WITHSCORES')
      redis.call('ZADD', index, str(tonumber(top[2] or '0') + 1), id)
      redis.call('HSET', texts, id, cjson.encode({ key = m.row == 2 and q.key or '', budget = cjson.decode(fixed).b[i],
        window = found.window, percent = percent, at = str(now) }))
      redis.call('HSET', row, 'a:' .. m.name, percent .. ' ' .. found.start)
      if redis.call('ZCARD', index) > mostalerts then
        local oldest = redis.call('ZRANGE', index, '0', '0')[1]
        redis.call('ZREM', index, oldest)
        redis.call('HDEL', texts, oldest)
      end
    end
  end
end

-- ready ends the script when an alert could not be stored, before the first write.
local function ready(marks, index, texts)
  if marks ~= '' then redis.call('ZCARD', index) redis.call('HEXISTS', texts, '') end
end

-- overran marks a call that has cost more than was held, and freezes its key, if that has a row.
local function overran(now, list, marks, fixed, key)
  redis.call('HSET', KEYS[1], 'ov', '1')
  alert(now, list, marks, fixed, KEYS[5], KEYS[6])
  if key then redis.call('HSET', KEYS[2], 'frozen', '1') end
  return '1'
end
