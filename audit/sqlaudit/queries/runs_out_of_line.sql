-- Which runs are out of line with their label's history? Runs that began in a span and cost many times what the earlier runs
-- with the same label did cost on average.
-- $1 tenant
-- $2 label
-- $3 history: runs that began since then and before "from" are what is compared with, microseconds
-- $4 from: the runs that are looked at began at or after, microseconds
-- $5 until: and before, microseconds
-- $6 times: how many times the average is out of line
-- $7 least: with fewer earlier runs, nothing is out of line
WITH costs AS (
	SELECT r.run, r.first, s.meter, s.currency, CAST(SUM(s.actual) + SUM(s.held) AS bigint) AS cost
	FROM keybrake_labels l
	JOIN keybrake_runs r ON r.tenant = l.tenant AND r.run = l.run
	JOIN keybrake_spend s ON s.tenant = r.tenant AND s.run = r.run AND s.agent = r.agent
	WHERE l.tenant = $1 AND l.label = $2 AND r.first >= $3 AND r.first < $5
	GROUP BY r.run, r.first, s.meter, s.currency
), history AS (
	SELECT meter, currency, COUNT(*) AS runs, CAST(SUM(cost) AS bigint) / COUNT(*) AS average
	FROM costs
	WHERE first < $4
	GROUP BY meter, currency
)
SELECT c.run, c.meter, c.currency, c.cost, h.average, h.runs
FROM costs c
JOIN history h ON h.meter = c.meter AND h.currency = c.currency
WHERE c.first >= $4 AND h.runs >= $7 AND c.cost / $6 > h.average
ORDER BY c.cost DESC, c.run, c.meter, c.currency
