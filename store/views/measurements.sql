-- The named numbers of each run.
SELECT * EXCLUDE (file)
FROM delivered_measurements SEMI JOIN kept_runs USING (run_id, file)
