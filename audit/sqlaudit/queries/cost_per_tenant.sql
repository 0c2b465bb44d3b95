-- What has each tenant cost?
-- $1 from_day: the first day, YYYY-MM-DD of UTC
-- $2 until_day: the day after the last
SELECT tenant, meter, currency, CAST(SUM(cost) AS bigint) AS cost, CAST(SUM(held) AS bigint) AS held
FROM (
	SELECT day, tenant, meter, currency, SUM(actual) AS cost, SUM(held) AS held
	FROM keybrake_spend
	WHERE day >= $1 AND day < $2
	GROUP BY day, tenant, meter, currency
) days
GROUP BY tenant, meter, currency
HAVING SUM(cost) <> 0 OR SUM(held) <> 0
ORDER BY tenant, meter, currency
