-- Which calls are in doubt, and how much money does each hold? The oldest first. A call that began long ago and has no outcome
-- is in doubt as well: its process has ended.
-- $1 open_since: calls without an outcome count if they began before, microseconds
SELECT c.tenant, c.run, c.agent, c.call, c.vendor, c.operation, c.state, c.began, c.reason, c.detail,
	COALESCE(a.meter, '') AS meter, COALESCE(a.currency, '') AS currency, COALESCE(a.held, 0) AS held
FROM keybrake_calls c
LEFT JOIN keybrake_amounts a ON a.tenant = c.tenant AND a.call = c.call AND a.held > 0
WHERE c.state IN ('open', 'in_doubt', 'pending') AND (c.state = 'in_doubt' OR c.state = 'open' AND c.began < $1)
ORDER BY c.began, c.call, a.meter, a.currency
