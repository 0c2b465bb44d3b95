-- A record that is older than what was acknowledged. Put before ensure by Go.

-- names are those of the parts in a layout.
local function names(text)
  local found, at = {}, 1
  while at <= #text do
    local size, from = string.match(text, '^(%d+):()', at)
    found[#found + 1], at = string.sub(text, from, from + size - 1), from + size
  end
  return found
end

-- older finds for each part of a record that is there its part in what was acknowledged later. A release is not made up
-- for: a retry may have attached. Nothing where the record is as new.
local function older(there)
  if there[1] ~= 'in_flight' or there[2] ~= q.nonce or q.phase == 'released' then return end
  local old, stored, at, more = {}, parts(there[3]), {}, 0
  for i, name in ipairs(names(q.layout)) do at[name] = i end
  for i, name in ipairs(names(there[4])) do
    if not at[name] then return end
    old[at[name]] = stored[i]
    more = more - stored[i].held - stored[i].booked
  end
  for _, m in ipairs(q.parts) do more = more + int(m.held) + int(m.booked) end
  if q.phase ~= 'in_flight' or more > 0 then return old end
end
