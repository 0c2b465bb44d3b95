-- Who came within 10 % of a budget? Each budget, in each of its windows, whose spent and held money came to nine tenths of its
-- limit, with how many runs met it so. A shared budget has no run and no key; "used" is the most of the limit, in thousandths.
-- $1 since: of the last call that met it, microseconds
SELECT tenant, CASE shared WHEN 1 THEN '' ELSE run END AS run, vault_key, owner, budget, meter, currency, reset,
	MAX(cap) AS cap, MAX(peak) AS peak, MAX(used) AS used, COUNT(*) AS runs, MAX(last) AS last
FROM keybrake_budgets
WHERE used >= 900 AND last >= $1
GROUP BY tenant, CASE shared WHEN 1 THEN '' ELSE run END, vault_key, owner, budget, shared, meter, currency, reset
ORDER BY used DESC, tenant, run, vault_key, owner, budget, meter, currency, reset
