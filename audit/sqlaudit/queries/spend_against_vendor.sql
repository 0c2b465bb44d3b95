-- What do the vendors say, beside what the records say? A difference above zero is what the vendor counts and no record does.
-- Money that is held may become a cost yet.
-- $1 from_day: the first day, YYYY-MM-DD of UTC
-- $2 until_day: the day after the last
WITH asked AS (
	SELECT DISTINCT day, vendor, credential FROM keybrake_vendor_figures WHERE day >= $1 AND day < $2
), sides AS (
	SELECT s.day, s.vendor, s.credential, s.meter, s.currency, s.actual AS booked, s.held, 0 AS vendor_says
	FROM asked a
	JOIN keybrake_spend s ON s.day = a.day AND s.vendor = a.vendor AND s.credential = a.credential
	WHERE s.day >= $1 AND s.day < $2 AND s.currency <> ''
	UNION ALL
	SELECT day, vendor, credential, meter, currency, 0, 0, amount
	FROM keybrake_vendor_figures
	WHERE day >= $1 AND day < $2 AND run = '' AND currency <> ''
)
SELECT day, vendor, credential, meter, currency,
	CAST(SUM(booked) AS bigint) AS booked, CAST(SUM(held) AS bigint) AS held, CAST(SUM(vendor_says) AS bigint) AS vendor_says,
	CAST(SUM(vendor_says) - SUM(booked) AS bigint) AS difference
FROM sides
GROUP BY day, vendor, credential, meter, currency
HAVING SUM(booked) <> 0 OR SUM(held) <> 0 OR SUM(vendor_says) <> 0
ORDER BY day, vendor, credential, meter, currency
