-- What surrounds each verb that writes: has the store lost what it had acknowledged? Put before the verb by Go
-- (scripts.go), which makes the verb's text a function and ends the script with its call through watched.
--
-- KEYS[#KEYS] → the meta row: epoch, a random word · seq, raised by every write · frozen, why · met, the epochs of those
--               that found it out · past, the epochs that re-arms have ended · p:NAME, how many writes are of that
--               process and the seq of its newest · floor, the newest seq of a p: that was dropped
-- ARGV[2…7]   → what the process knew when it sent this: its name, the epoch (empty: none), the highest seq and count of
--               its own writes that it was told, the seq of its newest write, whether it has proof of a loss
-- ARGV[8]     → a random word, in case that there is no epoch yet
--
-- Each reply gets five words more: EPOCH SEQ COUNT LAST FLAGS, where w in FLAGS says that this was write number COUNT of
-- the process, f that the tenant is frozen, e that a re-arm has ended its epoch, and d that its p: was dropped: then
-- the process takes a new name.
-- A reply ok counts as a write. No other may have written.
local meta = redis.call('HMGET', KEYS[#KEYS], 'epoch', 'seq', 'frozen', 'floor', 'p:' .. ARGV[2], 'met')

-- lossy says that the store has ever lost something here.
local function lossy() return meta[3] or redis.call('HEXISTS', KEYS[#KEYS], 'past') == 1 end

-- room drops the older half of 512 processes.
local function room()
  if redis.call('HLEN', KEYS[#KEYS]) < 512 then return end
  local fields, list = redis.call('HGETALL', KEYS[#KEYS]), {}
  for i = 1, #fields, 2 do
    if string.sub(fields[i], 1, 2) == 'p:' then list[#list + 1] = { fields[i], int(string.match(fields[i + 1], ' (%d+)$')) } end
  end
  table.sort(list, function(a, b) return a[2] < b[2] end)
  for i = 1, math.floor(#list / 2) do redis.call('HDEL', KEYS[#KEYS], list[i][1]) end
  redis.call('HSET', KEYS[#KEYS], 'floor', str(list[math.floor(#list / 2)][2]))
end

local function watched(gated, verb)
  local epoch, seq, count, last = meta[1] or '', int(meta[2] or '0'), string.match(meta[5] or '0 0', '^(%d+) (%d+)$')
  count, last = int(count), int(last)
  local dropped = not meta[5] and ARGV[5] ~= '0' and int(ARGV[6]) <= int(meta[4] or '0')
  local flags, lost = dropped and 'd' or '', nil
  if ARGV[3] ~= '' and ARGV[3] ~= epoch then
    local past = string.find(redis.call('HGET', KEYS[#KEYS], 'past') or '', ARGV[3], 1, true)
    if past then flags = flags .. 'e' else lost = 'the epoch is another' end
  elseif ARGV[3] ~= '' then
    lost = ARGV[7] == '1' and 'a number was given twice' or seq < int(ARGV[4]) and 'the sequence went back'
      or not dropped and count < int(ARGV[5]) and 'writes of one process are missing'
  end
  if lost and not (meta[3] and string.find(meta[6] or '', ARGV[3], 1, true)) then
    meta[3] = meta[3] or lost
    redis.call('HSET', KEYS[#KEYS], 'frozen', meta[3], 'met', string.sub(ARGV[3] .. ' ' .. (meta[6] or ''), 1, 1024))
  end
  local reply = gated and meta[3] and { 'denied', 'ledger_frozen', meta[3] } or verb()
  if reply[1] == 'ok' then
    if not meta[5] and not dropped then room() end
    seq, flags = seq + 1, flags .. 'w'
    if not dropped then count, last = count + 1, seq end
    if epoch == '' and not meta[3] then epoch = ARGV[8] end
    redis.call('HSET', KEYS[#KEYS], 'seq', str(seq), 'epoch', epoch)
    if not dropped then redis.call('HSET', KEYS[#KEYS], 'p:' .. ARGV[2], str(count) .. ' ' .. str(last)) end
  end
  if meta[3] then flags = flags .. 'f' end
  for _, v in ipairs({ epoch, str(seq), str(count), str(last), flags }) do reply[#reply + 1] = v end
  return reply
end
