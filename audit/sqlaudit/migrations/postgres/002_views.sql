-- Views for people and their tools: times that can be read, money in units of its currency. Questions with ready answers are in
-- queries/; none of them needs a view.

-- A tenant's days: without it, days of all tenants are read, or all days of the tenant. The sums stay out of
-- it: PostgreSQL updates a row in place only where no index has what changes.
CREATE INDEX keybrake_spend_by_day ON keybrake_spend (tenant, day);
CREATE INDEX keybrake_denials_by_day ON keybrake_denials (tenant, day);

-- What each run has cost.
CREATE VIEW keybrake_cost_by_run AS
SELECT tenant, run, meter, currency, MIN(day) AS first_day, MAX(day) AS last_day,
	CASE currency WHEN '' THEN SUM(actual) ELSE trim_scale(SUM(actual) / 1000000.0) END AS cost, CASE currency WHEN '' THEN SUM(held) ELSE trim_scale(SUM(held) / 1000000.0) END AS held
FROM keybrake_spend
GROUP BY tenant, run, meter, currency;

-- What each run did: a row for each call and each amount of it.
CREATE VIEW keybrake_story AS
SELECT c.tenant, c.run, to_timestamp(c.began / 1000000.0) AS began, c.call, c.reservation, c.agent, c.tool, c.step, c.vendor, c.operation,
	c.verdict, c.state, c.reason, c.detail, c.refusals, c.status, c.vendor_request, a.meter, a.currency,
	CASE a.currency WHEN '' THEN a.reserved ELSE trim_scale(a.reserved / 1000000.0) END AS reserved, CASE a.currency WHEN '' THEN a.actual ELSE trim_scale(a.actual / 1000000.0) END AS cost, CASE a.currency WHEN '' THEN a.held ELSE trim_scale(a.held / 1000000.0) END AS held
FROM keybrake_calls c
LEFT JOIN keybrake_amounts a ON a.tenant = c.tenant AND a.call = c.call AND (a.reserved <> 0 OR a.actual <> 0 OR a.held <> 0);

-- The calls in doubt, and what they hold.
CREATE VIEW keybrake_doubts AS
SELECT c.tenant, c.run, to_timestamp(c.began / 1000000.0) AS began, to_timestamp(c.doubt_since / 1000000.0) AS doubt_since, c.call, c.agent, c.vendor, c.operation, c.reason, c.detail,
	a.meter, a.currency, CASE a.currency WHEN '' THEN a.held ELSE trim_scale(a.held / 1000000.0) END AS held
FROM keybrake_calls c
LEFT JOIN keybrake_amounts a ON a.tenant = c.tenant AND a.call = c.call AND a.held > 0
WHERE c.state IN ('open', 'in_doubt', 'pending') AND c.state = 'in_doubt';
