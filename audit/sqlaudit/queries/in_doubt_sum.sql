-- How many calls of each tenant are in doubt, and how much money do they hold together?
-- $1 open_since: calls without an outcome count if they began before, microseconds
SELECT c.tenant, a.meter, a.currency, COUNT(*) AS calls, CAST(SUM(a.held) AS bigint) AS held, MIN(c.began) AS oldest
FROM keybrake_calls c
JOIN keybrake_amounts a ON a.tenant = c.tenant AND a.call = c.call AND a.held > 0
WHERE c.state IN ('open', 'in_doubt', 'pending') AND (c.state = 'in_doubt' OR c.state = 'open' AND c.began < $1)
GROUP BY c.tenant, a.meter, a.currency
ORDER BY c.tenant, a.meter, a.currency
