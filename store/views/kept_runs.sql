-- The one file that counts for each run: a run delivered twice (a retried job, a merge) is taken from the first.
SELECT run_id, min(file) AS file
FROM delivered_runs
GROUP BY run_id
