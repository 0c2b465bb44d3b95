#!lua flags=no-writes
-- Balance reads budgets as reserve would see them now.
--
-- KEYS[1] → the key's row   KEYS[2…] → rows of the shared budgets
-- ARGV[1] → JSON, type balanceArgs in budget.go
--
-- Returns ok NOW N (START END SPENT HELD FROM FIRST)×N
--         nokey | window NOW | spec
local now = clock()
if redis.call('HEXISTS', KEYS[1], 'open') == 0 then return { 'nokey' } end
for i, rev in ipairs(q.revs) do
  if redis.call('HGET', KEYS[1 + i], 'rev') ~= rev then return { 'spec' } end
end
local list = {}
for i, p in ipairs(q.parts) do
  if p.stop ~= '0' and not (int(p.start) <= now and now < int(p.stop)) then return { 'window', str(now) } end
  local v = redis.call('HMGET', KEYS[p.row], 'w:' .. p.name, 'e:' .. p.name)
  local newer = p.back == '0' and v[1] and int(v[1]) >= int(p.start)
  list[i] = { start = newer and v[1] or p.start, stop = newer and v[2] or p.stop, back = p.back }
end
return report({ 'ok', str(now) }, list)
