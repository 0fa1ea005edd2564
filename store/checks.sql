-- What `deadheat check` looks for in the records: each statement returns (place, text) per finding.

SELECT 'runs ' || run_id, 'was delivered ' || count(*) || ' times with different content; the first counts'
FROM (SELECT DISTINCT * EXCLUDE (file) FROM delivered_runs)
GROUP BY run_id
HAVING count(*) > 1;

SELECT 'runs ' || run_id, 'status is ''' || status || '''; expected one of ' || array_to_string(getvariable('known_statuses'), ', ')
FROM runs
WHERE status IS NULL OR status NOT IN (SELECT unnest(getvariable('known_statuses')));

SELECT 'phases of run ' || run_id, 'phase is ''' || phase || '''; expected one of ' || array_to_string(getvariable('known_phases'), ', ')
FROM phases
WHERE phase IS NULL OR phase NOT IN (SELECT unnest(getvariable('known_phases')));

SELECT 'measurements of run ' || run_id, 'metric ''' || metric || ''' has no entry in METRICS'
FROM measurements
WHERE metric IS NULL OR metric NOT IN (SELECT unnest(getvariable('known_metrics')));

SELECT 'runs ' || run_id, 'environment ' || environment_id || ' is not in the store'
FROM runs ANTI JOIN environments USING (environment_id);

SELECT 'heat ' || heat_id || ' attempt ' || heat_attempt, count(*) || ' runs; expected at most ' || max(heat_size)
FROM runs
WHERE heat_id <> ''
GROUP BY campaign_id, heat_id, heat_attempt
HAVING count(*) > max(heat_size);

SELECT 'runs ' || run_id, 'is completed without a train clock or without epochs'
FROM runs
WHERE status = 'completed' AND (train_clock_s IS NULL OR run_id NOT IN (SELECT run_id FROM epochs));

SELECT 'runs ' || run_id, 'is completed in a train clock of ' || train_clock_s || ' s and an e2e clock of ' || e2e_clock_s || ' s; expected more than 0'
FROM runs
WHERE status = 'completed' AND NOT (train_clock_s > 0 AND e2e_clock_s > 0);

SELECT 'runs ' || run_id, 'e2e clock ' || e2e_clock_s || ' s is shorter than train clock ' || train_clock_s || ' s'
FROM runs
WHERE e2e_clock_s < train_clock_s;

SELECT 'epochs of run ' || run_id, 'test accuracy is ' || test_accuracy || ' at epoch ' || epoch || '; expected 0 to 1'
FROM epochs
WHERE NOT test_accuracy BETWEEN 0 AND 1;

SELECT 'epochs of run ' || run_id, 'a number of epoch ' || epoch || ' is negative or not finite'
FROM epochs
WHERE NOT (isfinite(train_s) AND train_s >= 0 AND isfinite(train_loss) AND isfinite(coalesce(test_loss, 0)));

SELECT 'phases of run ' || run_id, 'phase ' || phase || ' lasts ' || duration_s || ' s'
FROM phases
WHERE NOT (isfinite(duration_s) AND duration_s >= 0);

SELECT 'measurements of run ' || run_id, 'metric ' || metric || ' is ' || value
FROM measurements
WHERE NOT isfinite(value);
