-- tell stores an alert at the end of those that wait: its id in the zset index, whose scores go up, and its text in the
-- hash texts. Of more than ten thousand the oldest goes. Put before the verbs that store alerts by Go.
local mostalerts = 10000

local function tell(index, texts, id, text)
  local top = redis.call('ZRANGE', index, '-1', '-1', 'WITHSCORES')
  redis.call('ZADD', index, str(tonumber(top[2] or '0') + 1), id)
  redis.call('HSET', texts, id, cjson.encode(text))
  if redis.call('ZCARD', index) > mostalerts then
    local oldest = redis.call('ZRANGE', index, '0', '0')[1]
    redis.call('ZREM', index, oldest)
    redis.call('HDEL', texts, oldest)
  end
end

-- ready ends the script when an alert could not be stored, before the first write.
local function ready(index, texts) redis.call('ZCARD', index) redis.call('HEXISTS', texts, '') end
