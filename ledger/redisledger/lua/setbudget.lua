#!lua flags=allow-oom
-- SetBudget makes a shared budget's row or revises its limit and its alerts. What was counted stays.
--
-- KEYS[1] → the budget's row
-- ARGV[1] → JSON, type budgetArgs in budget.go
--
-- Returns ok
--         fixed SPEC   it counts something else, or is written otherwise: Go compares
local row = redis.call('HMGET', KEYS[1], 'spec', 'past', 'rev', 'limit')
if row[1] and row[1] ~= q.spec then return { 'fixed', row[1] } end
int(q.limit)
if q.again and row[1] then
  if int(row[4]) <= int(q.limit) then return { 'ok' } end
  q.alerts = redis.call('HGET', KEYS[1], 'alerts') or ''
end

-- The last revisions are remembered, so that one sent again after another's changes nothing.
local past = row[2] or ''
if string.find(past, q.rev, 1, true) then return { 'ok' } end
redis.call('HSET', KEYS[1], 'spec', q.spec, 'limit', q.limit, 'rev', q.rev, 'past', string.sub(q.rev .. ' ' .. past, 1, 256))
if q.alerts ~= '' then redis.call('HSET', KEYS[1], 'alerts', q.alerts) else redis.call('HDEL', KEYS[1], 'alerts') end
return { 'ok' }
