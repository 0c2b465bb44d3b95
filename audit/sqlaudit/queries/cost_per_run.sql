-- What has each run of a tenant cost? The dearest first.
-- $1 tenant
-- $2 from_day: the first day, YYYY-MM-DD of UTC
-- $3 until_day: the day after the last
-- $4 most: how many rows at most
SELECT run, meter, currency, CAST(SUM(actual) AS bigint) AS cost, CAST(SUM(held) AS bigint) AS held
FROM keybrake_spend
WHERE tenant = $1 AND day >= $2 AND day < $3
GROUP BY run, meter, currency
HAVING SUM(actual) <> 0 OR SUM(held) <> 0
ORDER BY cost DESC, held DESC, run, meter, currency
LIMIT $4
