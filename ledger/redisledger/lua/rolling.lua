-- The counters of rolling windows. Put after books.lua by Go (scripts.go).
--
-- Field x:NAME of a row is 'START SPENT HELD;' for each slot, oldest first. The last is the newest that was seen, also
-- where nothing stands in it; those further back than a window counts go when it moves on, so there are 61 at most.
-- at says which slot, here and in cells.lua: its start and stop, and back, how far before its start others count. In a
-- window that does not roll back is '0'.
local seen = {} -- what slots has read, by row and name

-- slots reads a counter, once a script. One that cannot be read ends it: this is called before the first write.
local function slots(row, name)
  seen[row] = seen[row] or {}
  if seen[row][name] then return seen[row][name] end
  local text, list, size = redis.call('HGET', row, 'x:' .. name) or '', {}, 0
  for start, spent, held in string.gmatch(text, '(%d+) (%d+) (%d+);') do
    list[#list + 1] = { start = int(start), spent = int(spent), held = int(held) }
    size = size + #start + #spent + #held + 3
  end
  if size ~= #text then error('keybrake: damaged row') end
  seen[row][name] = list
  return list
end

local function save(row, name, list)
  local text = {}
  for i, s in ipairs(list) do text[i] = table.concat({ str(s.start), str(s.spent), str(s.held) }, ' ') .. ';' end
  redis.call('HSET', row, 'x:' .. name, table.concat(text))
  seen[row][name] = list
end

-- slot is the one that at names, or nil once it was forgotten.
local function slot(row, name, at)
  for _, s in ipairs(slots(row, name)) do
    if s.start == tonumber(at.start) then return s end
  end
end

-- rolled adds up what counts in the slot of at, or in a newer one that was seen: spent, held, the start of that slot,
-- and the end of the oldest one in which something stands.
local function rolled(row, name, at)
  local list, start = slots(row, name), int(at.start)
  local from = math.max(start, #list > 0 and list[#list].start or start)
  local spent, held, first = 0, 0, from
  for _, s in ipairs(list) do
    if s.start >= from - int(at.back) and s.spent + s.held > 0 then
      spent, held, first = spent + s.spent, held + s.held, math.min(first, s.start)
    end
  end
  return str(spent), str(held), str(from), str(first + int(at.stop) - start)
end

-- advance makes the slot of at the newest, and forgets those that count no more.
local function advance(row, name, at)
  local list, kept, start = slots(row, name), {}, tonumber(at.start)
  if #list > 0 and list[#list].start >= start then return end
  for _, s in ipairs(list) do kept[#kept + 1] = s.start >= start - tonumber(at.back) and s or nil end
  kept[#kept + 1] = { start = start, spent = 0, held = 0 }
  save(row, name, kept)
end
