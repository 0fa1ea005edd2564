-- The phases of each run. A memory of 0 was read before the kernel had counted any: not known.
SELECT * EXCLUDE (file) REPLACE (nullif(memory_peak_bytes, 0) AS memory_peak_bytes)
FROM delivered_phases SEMI JOIN kept_runs USING (run_id, file)
