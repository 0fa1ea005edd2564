-- One row per environment, as it was first captured.
SELECT DISTINCT ON (environment_id) * EXCLUDE (file)
FROM delivered_environments
ORDER BY environment_id, captured_at, file
