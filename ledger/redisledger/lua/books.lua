-- What every verb needs to read and write the books. Put before each verb by Go (scripts.go).
--
-- q is the request, ARGV[1] as JSON; numbers in it and in the store are strings of decimal digits.
-- A row is a hash that counts budgets; NAME is the budget's name in a key's row and '' in a shared budget's own:
--   w:NAME e:NAME  start and end of the newest window, Unix microseconds; the end of a lifetime is 0
--   s:NAME h:NAME  spent and held in it
--   p:NAME         start of the window before
--   S:START:NAME H:START:NAME  spent and held in an older window: the one before, and any in which something is held
local q = cjson.decode(ARGV[1])

-- int reads digits as Go writes them. Anything else ends the script; it is called before the first write only,
-- so a damaged row is a denial and changes nothing.
local function int(s)
  if type(s) ~= 'string' or #s > 19 or not string.find(s, '^%d+$') then error('keybrake: not a number') end
  return tonumber(s)
end

local function str(n) return string.format('%.0f', n) end

-- clock is the server's time in microseconds, or what a test says it is.
local function clock()
  if q.now ~= '' then return int(q.now) end
  local t = redis.call('TIME')
  return int(t[1]) * 1000000 + int(t[2])
end

-- cell returns spent and held in the window of start, and the fields they stand in: none once it is forgotten.
local function cell(row, name, start)
  local old = start .. ':' .. name
  local v = redis.call('HMGET', row, 'w:' .. name, 's:' .. name, 'h:' .. name, 'S:' .. old, 'H:' .. old)
  if v[1] == start then return v[2], v[3], 's:' .. name, 'h:' .. name end
  if v[5] then return v[4], v[5], 'S:' .. old, 'H:' .. old end
  return '0', '0'
end

-- sound ends the script when a cell could not take the change: HINCRBY must not fail half-way through the writes.
local function sound(row, name, start, booked, held)
  local spent, there = cell(row, name, start)
  if not (int(spent) + booked < 9e18 and int(there) + held < 9e18) then error('keybrake: counter out of range') end
end

-- shift changes a cell. A forgotten window is not made again: nothing reads it any more.
local function shift(row, name, start, booked, held)
  local _, _, s, h = cell(row, name, start)
  if not s then return end
  if booked ~= 0 then redis.call('HINCRBY', row, s, str(booked)) end
  if held ~= 0 then redis.call('HINCRBY', row, h, str(held)) end
end

-- forget drops the cell of a window older than the last but one, once nothing is held in it.
local function forget(row, name, start)
  local old = start .. ':' .. name
  local v = redis.call('HMGET', row, 'w:' .. name, 'p:' .. name, 'H:' .. old)
  if v[1] ~= start and v[2] ~= start and v[3] == '0' then redis.call('HDEL', row, 'S:' .. old, 'H:' .. old) end
end
