#!lua flags=no-writes
-- Kept reads a text.
--
-- KEYS[1] → the text, as keep.lua writes it
-- ARGV[1] → JSON, type keepTextArgs in lease.go
--
-- Returns ok | ok TEXT   nothing (any more) | the text
local text = redis.call('GET', KEYS[1])
if not text then return { 'ok' } end
local ends, from = string.match(text, '^(%d+) ()')
if not (int(ends) > clock()) then return { 'ok' } end
return { 'ok', string.sub(text, from) }
