#!lua flags=allow-oom
-- Control revokes, pauses or resumes within one tenant, or writes a global control. Stopping works when Redis is
-- out of memory.
--
-- KEYS[1] → the controls, of the tenant or global   KEYS[2] → the key's row, where a key is selected (of a narrowed one: that of the
-- issued one)
-- KEYS[3] → the registry, for a global one: looked at by watch.lua
-- ARGV[1] → JSON, type controlArgs in control.go
--
-- Returns ok VERSION
--         nokey   but not where the store has lost writes: the row may be put back, and must find the revoke then
--
-- Fields of the controls: c:NAME verb · r:NAME reason · n:NAME the last calls' nonces · g:NAME newest global version
-- told · v counts global versions.
local v = redis.call('HMGET', KEYS[1], 'c:' .. q.name, 'n:' .. q.name, 'g:' .. q.name, 'v')
if q.key and not lossy() and redis.call('HEXISTS', KEYS[2], 'open') == 0 then return { 'nokey' } end
local version = int(v[4] or '0')
if q.version ~= '' and int(v[3] or '0') >= int(q.version) then return { 'ok', q.version } end

-- Sent again after another's resume or pause it changes nothing: a resume must not undo a later stop.
local told = string.match(v[2] or '', q.nonce .. ':(%d+)')
if told then return { 'ok', told } end
-- A new version is above the clock too: where this row is lost, the tenants still know the old ones. One that a re-arm
-- says again keeps its own.
local given = q.global and q.version == '' and str(math.max(version + 1, clock())) or q.version
redis.call('HSET', KEYS[1], 'n:' .. q.name, string.sub(q.nonce .. ':' .. (given ~= '' and given or '0') .. ' ' .. (v[2] or ''), 1, 256))
if q.global then redis.call('HSET', KEYS[1], 'v', str(math.max(version, int(given)))) end
if given ~= '' then redis.call('HSET', KEYS[1], 'g:' .. q.name, given) end
if q.key and not q.narrowed and q.verb == 'resume' then redis.call('HDEL', KEYS[2], 'frozen') end

-- Revoke is final: nothing replaces it. A global resume is kept as one, for tenants that learn of it later.
if v[1] ~= 'revoke' then
  if q.verb == 'resume' and not q.global then
    redis.call('HDEL', KEYS[1], 'c:' .. q.name, 'r:' .. q.name)
  else
    redis.call('HSET', KEYS[1], 'c:' .. q.name, q.verb, 'r:' .. q.name, q.reason)
  end
end
return { 'ok', given }
