#!lua flags=no-writes
-- Permit names what the user may not do. It touches no key, so that every node of a cluster can be asked.
--
-- ARGV[1] → JSON, type permitArgs in check.go
--
-- Returns ok COMMAND…
local answer = { 'ok' }
for _, words in ipairs(q.commands) do
  if not redis.acl_check_cmd(unpack(words)) then table.insert(answer, table.concat(words, ' ')) end
end
return answer
