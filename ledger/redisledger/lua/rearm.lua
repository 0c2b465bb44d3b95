#!lua flags=allow-oom
-- Rearm starts a new epoch and lifts the freeze. Processes that know an earlier epoch take over the new one.
--
-- KEYS[1] → the meta row, see meta.lua
-- ARGV[1] → JSON, type rearmArgs in rearm.go
--
-- Returns ok
local m = redis.call('HMGET', KEYS[1], 'epoch', 'seq', 'past', 'met')
if m[1] == q.epoch or string.find(m[3] or '', q.epoch, 1, true) then return { 'ok' } end -- sent again
local seq = str(int(m[2] or '0') + 1)
local past = q.known .. ' ' .. (m[1] or '') .. ' ' .. (m[4] or '') .. ' ' .. (m[3] or '')
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[1], 'epoch', q.epoch, 'seq', seq, 'past', string.sub(past, 1, 4096))
for _, row in ipairs(q.rows) do redis.call('HSET', KEYS[1], 'r:' .. row, '1') end
return { 'ok' }
