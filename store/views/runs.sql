-- One row per run, whatever became of it.
SELECT * EXCLUDE (file)
FROM delivered_runs
QUALIFY row_number() OVER (PARTITION BY run_id ORDER BY file) = 1
