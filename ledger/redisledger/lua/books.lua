-- What every verb needs to read and write the books. Put before each verb by Go (scripts.go).
--
-- q is the request, ARGV[1] as JSON; numbers in it and in the store are strings of decimal digits.
-- A row is a hash that counts budgets. NAME is, in a key's row, the budget's name and whose own it is, marked where it
-- is only observed; in a shared budget's own row it is that mark alone, '' or '?' (counter in keys.go):
--   w:NAME e:NAME  start and end of the newest window, Unix microseconds; the end of a lifetime is 0
--   s:NAME h:NAME  spent and held in it
--   p:NAME         start of the window before
--   S:START:NAME H:START:NAME  spent and held in an older window: the one before, and any in which something is held
--   x:NAME         of a rolling window, in place of all these: its slots, see rolling.lua
--   a:NAME         the highest alert threshold that was crossed, and in which window: see alert.lua
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
