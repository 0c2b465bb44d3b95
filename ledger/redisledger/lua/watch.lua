-- What surrounds each verb that writes: has the store lost what it had acknowledged? Put before the verb by Go
-- (scripts.go), which makes the verb's text a function and ends the script with its call through watched.
--
-- ARGV[2…7]   → what the process knew when it sent this: its name, the epoch (empty: none), the highest seq and count of
--               its own writes that it was told, the seq of its newest write, whether it has proof of a loss
-- ARGV[8]     → a random word, in case that there is no epoch yet
--
-- Each reply gets five words more: EPOCH SEQ COUNT LAST FLAGS, where w in FLAGS says that this was write number COUNT of
-- the process, f that the tenant is frozen, e that a re-arm has ended its epoch, and d that its p: was dropped: then
-- the process takes a new name.
-- A reply ok counts as a write. No other may have written.

-- watched carries out a verb. lasting are those of KEYS that are never gone by right, and makes says that the verb makes
-- them.
local function watched(gated, verb, lasting, makes)
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
  local missing = gone(lasting)
  if missing and not meta[3] then
    meta[3] = 'a row is missing'
    redis.call('HSET', KEYS[#KEYS], 'frozen', meta[3])
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
    for _, i in ipairs(makes and lasting or {}) do
      if redis.call('EXISTS', KEYS[i]) == 1 then redis.call('HSET', KEYS[#KEYS], 'r:' .. KEYS[i], '1') end
    end
  end
  if meta[3] then flags = flags .. 'f' end
  for _, v in ipairs({ epoch, str(seq), str(count), str(last), flags }) do reply[#reply + 1] = v end
  return reply
end
