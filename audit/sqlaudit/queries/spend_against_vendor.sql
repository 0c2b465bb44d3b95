-- What do the vendors say, beside what the records say? A difference above zero is what the vendor counts and no record does.
-- Money that is held may become a cost yet. Only days and credentials of which the vendor has said something are compared.
-- $1 from_day: the first day, YYYY-MM-DD of UTC
-- $2 until_day: the day after the last
WITH booked AS (
	SELECT day, vendor, credential, meter, currency, SUM(actual) AS actual, SUM(held) AS held
	FROM keybrake_spend
	WHERE day >= $1 AND day < $2 AND currency <> ''
	GROUP BY day, vendor, credential, meter, currency
), sides AS (
	SELECT day, vendor, credential, meter, currency, actual AS booked, held, 0 AS vendor_says
	FROM booked b
	WHERE EXISTS (
		SELECT 1 FROM keybrake_vendor_figures f
		WHERE f.day = b.day AND f.vendor = b.vendor AND f.credential = b.credential AND f.day >= $1 AND f.day < $2
	)
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
