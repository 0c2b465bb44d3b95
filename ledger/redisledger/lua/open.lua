#!lua
-- Open makes the row of a key and copies the global controls into the tenant's.
--
-- KEYS[1] → the key's row   KEYS[2] → the tenant's controls
-- ARGV[1] → JSON, type openArgs in control.go
--
-- Returns ok
local now = clock()
local there = redis.call('HGET', KEYS[1], 'open')
local ttl = redis.call('PTTL', KEYS[1])
local seen = {}
for i, g in ipairs(q.globals) do
  seen[i] = int(redis.call('HGET', KEYS[2], 'g:' .. g.name) or '0')
  g.now = redis.call('HGET', KEYS[2], 'c:' .. g.name)
end

-- A version that the tenant has seen before was told it by control, and may have been undone there since. A
-- resume undoes nothing here: what it undid never reached this tenant.
for i, g in ipairs(q.globals) do
  if int(g.version) > seen[i] then
    if g.verb ~= 'resume' and g.now ~= 'revoke' then redis.call('HSET', KEYS[2], 'c:' .. g.name, g.verb) end
    redis.call('HSET', KEYS[2], 'g:' .. g.name, g.version)
  end
end
if q.frozen and (not there or meta[3]) then redis.call('HSET', KEYS[1], 'frozen', '1') end
if not there then redis.call('HSET', KEYS[1], 'open', str(now)) end
local keep = int(q.expires) + int(q.retention) - now
if q.expires == '0' then
  redis.call('PERSIST', KEYS[1])
elseif not there or ttl >= 0 and keep / 1000 > ttl then
  redis.call('PEXPIRE', KEYS[1], str(math.max(1000, math.floor(keep / 1000))))
end
return { 'ok' }
