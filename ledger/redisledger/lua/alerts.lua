#!lua flags=no-writes
-- Alerts lists those that were not acknowledged, oldest first, from a place in their order on.
--
-- KEYS[1] → the order of the alerts, a zset whose scores go up   KEYS[2] → their texts
-- ARGV[1] → JSON, type alertsArgs in alert.go
--
-- Returns ok (PLACE ID TEXT)…   text as alert.lua writes it
local reply, list = { 'ok' }, redis.call('ZRANGEBYSCORE', KEYS[1], '(' .. q.after, '+inf', 'WITHSCORES', 'LIMIT', '0', q.limit)
for i = 1, #list, 2 do
  for _, s in ipairs({ list[i + 1], list[i], redis.call('HGET', KEYS[2], list[i]) or '' }) do reply[#reply + 1] = s end
end
return reply
