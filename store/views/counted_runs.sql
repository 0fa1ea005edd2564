-- The runs that comparisons may use: those of each heat's last complete attempt, failed runs included.
-- An attempt is complete when all its runs are there and none was interrupted.
SELECT * EXCLUDE (is_complete)
FROM (
    SELECT *, count(*) OVER attempts = heat_size AND NOT bool_or(status = 'interrupted') OVER attempts AS is_complete
    FROM runs
    WHERE heat_id <> ''
    WINDOW attempts AS (PARTITION BY campaign_id, heat_id, heat_attempt)
)
WHERE is_complete AND status <> 'unavailable'
QUALIFY heat_attempt = max(heat_attempt) OVER (PARTITION BY campaign_id, heat_id)
