-- The phases of each run.
SELECT * EXCLUDE (file)
FROM delivered_phases SEMI JOIN kept_runs USING (run_id, file)
