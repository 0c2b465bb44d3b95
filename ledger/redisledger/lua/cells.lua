-- What stands in a window of a budget, and how it changes. Put after rolling.lua by Go (scripts.go).

-- cell returns spent and held in the window or slot of at, and the fields they stand in: none once it is forgotten.
local function cell(row, name, at)
  if at.back ~= '0' then
    local s = slot(row, name, at)
    return s and str(s.spent) or '0', s and str(s.held) or '0'
  end
  local old = at.start .. ':' .. name
  local v = redis.call('HMGET', row, 'w:' .. name, 's:' .. name, 'h:' .. name, 'S:' .. old, 'H:' .. old)
  if v[1] == at.start then return v[2], v[3], 's:' .. name, 'h:' .. name end
  if v[5] then return v[4], v[5], 'S:' .. old, 'H:' .. old end
  return '0', '0'
end

-- stand returns spent and held of a budget in the window of at, that window's start, and when it ends: of a rolling
-- one as rolled does.
local function stand(row, name, at)
  if at.back ~= '0' then return rolled(row, name, at) end
  local spent, held = cell(row, name, at)
  return spent, held, at.start, at.stop
end

-- sound ends the script when a cell could not take the change: HINCRBY must not fail half-way through the writes. A
-- slot that stands above 2^53, which no reserve is admitted against, is kept to a few micro-units.
local function sound(row, name, at, booked, held)
  local spent, there = cell(row, name, at)
  if not (int(spent) + booked < 9e18 and int(there) + held < 9e18) then error('keybrake: counter out of range') end
end

-- shift changes a cell. A forgotten one is not made again: nothing reads it any more.
local function shift(row, name, at, booked, held)
  if at.back ~= '0' then
    local s = slot(row, name, at)
    if not s or booked == 0 and held == 0 then return end
    s.spent, s.held = s.spent + booked, s.held + held
    return save(row, name, slots(row, name))
  end
  local _, _, s, h = cell(row, name, at)
  if not s then return end
  if booked ~= 0 then redis.call('HINCRBY', row, s, str(booked)) end
  if held ~= 0 then redis.call('HINCRBY', row, h, str(held)) end
end

-- forget drops the cell of a window older than the last but one, once nothing is held in it.
local function forget(row, name, at)
  if at.back ~= '0' then return end
  local old = at.start .. ':' .. name
  local v = redis.call('HMGET', row, 'w:' .. name, 'p:' .. name, 'H:' .. old)
  if v[1] ~= at.start and v[2] ~= at.start and v[3] == '0' then redis.call('HDEL', row, 'S:' .. old, 'H:' .. old) end
end
