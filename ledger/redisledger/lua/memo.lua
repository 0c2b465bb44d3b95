-- What a settlement says is needed to look at the call again. Put before settle by Go. KEYS[1] is the record.

-- learn keeps the memo of a settlement that is carried out. It is no part of what makes two settlements the same.
local function learn()
  if q.memo ~= '' and q.memo ~= redis.call('HGET', KEYS[1], 'm') then
    redis.call('HSET', KEYS[1], 'm', q.memo)
    redis.call('HINCRBY', KEYS[1], 'v', 1)
  end
end
