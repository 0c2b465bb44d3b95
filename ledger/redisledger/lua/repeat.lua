-- The repeat rule. Put before reserve by Go. KEYS[10] is a list of the times at which the call was admitted, oldest
-- first: the newest thousand, for as long as the rule's window.

-- repeated refuses a call that was admitted as often as its rule allows, or notes that it would have. It is exact: the
-- call that many back decides, so that the list is read only to say how many there were.
local function repeated(now)
  if not q.rule then return end
  local span, nth = int(q.rule.window), redis.call('LINDEX', KEYS[10], '-' .. q.rule.most)
  q.rule.ttl = redis.call('PTTL', KEYS[10])
  q.rule.last = math.max(now, int(redis.call('LINDEX', KEYS[10], '-1') or '0')) -- times never go back
  if not nth or now - int(nth) >= span then return end
  local count = 0
  for _, at in ipairs(redis.call('LRANGE', KEYS[10], '0', '-1')) do
    if now - int(at) < span then count = count + 1 end
  end
  if not q.rule.observed then return { 'repeat', tostring(count), nth } end
  for _, s in ipairs({ '0', nth, '0', tostring(count), '0', '0', '0', '1' }) do would[#would + 1] = s end
end

-- remember adds the call. A minute more than the window costs nothing, and spares thought about whose clock is right. A
-- rule of a shorter window does not end what a longer one counts.
local function remember(now)
  if not q.rule then return end
  redis.call('RPUSH', KEYS[10], str(q.rule.last))
  redis.call('LTRIM', KEYS[10], '-' .. q.rule.keep, '-1')
  local ttl = math.ceil((q.rule.last - now + tonumber(q.rule.window)) / 1000) + 60000
  redis.call('PEXPIRE', KEYS[10], str(math.max(ttl, q.rule.ttl)))
end
