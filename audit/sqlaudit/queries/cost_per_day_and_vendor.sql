-- What has each day cost at each vendor?
-- $1 tenant
-- $2 from_day: the first day, YYYY-MM-DD of UTC
-- $3 until_day: the day after the last
SELECT day, vendor, meter, currency, CAST(SUM(actual) AS bigint) AS cost, CAST(SUM(held) AS bigint) AS held
FROM keybrake_spend
WHERE tenant = $1 AND day >= $2 AND day < $3
GROUP BY day, vendor, meter, currency
HAVING SUM(actual) <> 0 OR SUM(held) <> 0
ORDER BY day, vendor, meter, currency
