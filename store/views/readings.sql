-- The telemetry of each run.
SELECT * EXCLUDE (file)
FROM delivered_readings SEMI JOIN kept_runs USING (run_id, file)
