-- The epoch pairs of each run.
SELECT * EXCLUDE (file)
FROM delivered_epochs SEMI JOIN kept_runs USING (run_id, file)
