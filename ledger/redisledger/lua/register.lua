#!lua
-- Register adds a tenant to the registry and reads the global controls.
--
-- KEYS[1] → the registry   KEYS[2] → the global controls
-- ARGV[1] → JSON, type registerArgs in control.go
--
-- Returns ok (FIELD VALUE)…
redis.call('HGET', KEYS[2], 'v')
redis.call('SADD', KEYS[1], q.tenant)
return dump({ 'ok' }, KEYS[2])
