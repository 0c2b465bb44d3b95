-- What has this run cost, by operation?
-- $1 tenant
-- $2 run
SELECT operation, meter, currency, CAST(SUM(actual) AS bigint) AS cost, CAST(SUM(held) AS bigint) AS held
FROM keybrake_spend
WHERE tenant = $1 AND run = $2
GROUP BY operation, meter, currency
HAVING SUM(actual) <> 0 OR SUM(held) <> 0
ORDER BY operation, meter, currency
