-- What did this run do, in order? A row for each call and each amount of it; refusals that were counted together are one row.
-- $1 tenant
-- $2 run
SELECT c.began, c.call, c.reservation, c.tool, c.step, c.operation, c.verdict, c.state, c.reason, c.refusals, c.status, c.vendor_request,
	COALESCE(a.meter, '') AS meter, COALESCE(a.currency, '') AS currency,
	COALESCE(a.reserved, 0) AS reserved, COALESCE(a.actual, 0) AS cost, COALESCE(a.held, 0) AS held
FROM keybrake_calls c
LEFT JOIN keybrake_amounts a ON a.tenant = c.tenant AND a.call = c.call AND (a.reserved <> 0 OR a.actual <> 0 OR a.held <> 0)
WHERE c.tenant = $1 AND c.run = $2
ORDER BY c.began, c.call, a.meter, a.currency
