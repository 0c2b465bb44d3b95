-- Which calls of a tenant were refused, by which rule? A rule of -1 is none: no rule names the operation, or the reason is no rule's.
-- $1 tenant
-- $2 from_day: the first day, YYYY-MM-DD of UTC
-- $3 until_day: the day after the last
SELECT reason, policy, owner, rule, param, budget, operation, CAST(SUM(refusals) AS bigint) AS refusals, COUNT(DISTINCT run) AS runs
FROM keybrake_denials
WHERE tenant = $1 AND day >= $2 AND day < $3
GROUP BY reason, policy, owner, rule, param, budget, operation
ORDER BY refusals DESC, reason, policy, owner, rule, param, budget, operation
