-- The meta row: what shows that the store has lost what it had acknowledged. Put before watch.lua by Go (scripts.go).
--
-- KEYS[#KEYS] → the meta row: epoch, a random word · seq, raised by every write · frozen, why · met, the epochs of those
--               that found it out · past, the epochs that re-arms have ended · p:NAME, how many writes are of that
--               process and the seq of its newest · floor, the newest seq of a p: that was dropped · r:KEY, there has
--               been a row of that name that is never gone by right: revokes and pauses, a shared budget, the registry
local meta = redis.call('HMGET', KEYS[#KEYS], 'epoch', 'seq', 'frozen', 'floor', 'p:' .. ARGV[2], 'met')

-- lossy says that the store has ever lost something here.
local function lossy() return meta[3] or redis.call('HEXISTS', KEYS[#KEYS], 'past') == 1 end

-- room drops the older half of the processes when there are hundreds.
local function room()
  if redis.call('HLEN', KEYS[#KEYS]) < 512 then return end
  local fields, list = redis.call('HGETALL', KEYS[#KEYS]), {}
  for i = 1, #fields, 2 do
    if string.sub(fields[i], 1, 2) == 'p:' then list[#list + 1] = { fields[i], int(string.match(fields[i + 1], ' (%d+)$')) } end
  end
  if #list < 256 then return end
  table.sort(list, function(a, b) return a[2] < b[2] end)
  for i = 1, math.floor(#list / 2) do redis.call('HDEL', KEYS[#KEYS], list[i][1]) end
  redis.call('HSET', KEYS[#KEYS], 'floor', str(list[math.floor(#list / 2)][2]))
end

-- gone says that a row which there has been is missing.
local function gone(lasting)
  for _, i in ipairs(lasting) do
    if redis.call('HEXISTS', KEYS[#KEYS], 'r:' .. KEYS[i]) == 1 and redis.call('EXISTS', KEYS[i]) == 0 then return true end
  end
end
