-- What will this month cost? What the month has cost before today, and as much a day as in the last seven days for the days that are left.
-- $1 tenant
-- $2 month_day: the first day of the month, YYYY-MM-DD of UTC
-- $3 week_day: seven days before today
-- $4 today_day: today, which is not over and counts as one of the days that are left
-- $5 left: how many days are left, today among them
SELECT meter, currency, CAST(SUM(month) AS bigint) AS so_far, CAST(SUM(week) AS bigint) AS last_week,
	CAST(SUM(month) AS bigint) + CAST(SUM(week) AS bigint) * $5 / 7 AS projected
FROM (
	SELECT meter, currency,
		CASE WHEN day >= $2 THEN actual + held ELSE 0 END AS month,
		CASE WHEN day >= $3 THEN actual + held ELSE 0 END AS week
	FROM keybrake_spend
	WHERE tenant = $1 AND day >= CASE WHEN $2 < $3 THEN $2 ELSE $3 END AND day < $4 AND currency <> ''
) days
GROUP BY meter, currency
HAVING SUM(month) <> 0 OR SUM(week) <> 0
ORDER BY meter, currency
