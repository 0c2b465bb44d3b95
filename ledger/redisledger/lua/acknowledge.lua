#!lua flags=allow-oom
-- Acknowledge forgets alerts.
--
-- KEYS[1] → the order of the alerts   KEYS[2] → their texts
-- ARGV[1] → JSON, type acknowledgeArgs in alert.go
--
-- Returns ok
redis.call('HEXISTS', KEYS[2], '') -- what is written later must be of its type
for _, id in ipairs(q.ids) do
  redis.call('ZREM', KEYS[1], id)
  redis.call('HDEL', KEYS[2], id)
end
return { 'ok' }
