#!lua
-- Lease gives something to a holder for a while, unless another has it still.
--
-- KEYS[1] → the lease: when it is over, a space, who has it
-- ARGV[1] → JSON, type leaseArgs in lease.go
--
-- Returns ok 1 | ok 0   given | another has it
local now, had = clock(), redis.call('GET', KEYS[1])
local ends, holder = string.match(had or '', '^(%d+) (.+)$')
if had and holder ~= q.holder and int(ends) > now then return { 'ok', '0' } end
if q.span == '0' then
  redis.call('DEL', KEYS[1])
else
  redis.call('SET', KEYS[1], str(now + int(q.span)) .. ' ' .. q.holder, 'PX', q.keep)
end
return { 'ok', '1' }
