-- CPU and memory of each run on a grid: the cores busy in each step of `width_s` seconds, and the largest memory.
-- `since_training_s` counts from the first training step, so that repetitions can be averaged; `at_s` from the spawn.
-- One entry's repetitions share their grid: tenths of a second, at most 300 steps. Of several sources a control group
-- comes before the process tree. Nothing is read out of a gap of more than half a second: NULL.
WITH grids AS (
    SELECT run_id, began_s, coalesce(began_s, 0) AS zero_s,
        greatest(0.1, ceil(max(ended_s) OVER repetitions / 30) / 10) AS width_s
    FROM runs
    JOIN (SELECT run_id, max(at_s) AS ended_s FROM readings WHERE scope = 'run' GROUP BY run_id) USING (run_id)
    LEFT JOIN (SELECT run_id, min(start_s) AS began_s FROM phases WHERE phase = 'train' GROUP BY run_id) USING (run_id)
    WINDOW repetitions AS (
        PARTITION BY campaign_id, workload, mode, track, runner, variant, device, dtype, batch_size, threads, loader,
            loader_workers, optimizer, learning_rate, weight_decay, epochs, steps
    )
), known AS (
    SELECT run_id, if(scope = 'run', 'cpu', 'machine') AS quantity, source, at_s, cpu_s AS value
    FROM readings
    WHERE scope IN ('run', 'machine') AND cpu_s IS NOT NULL
    UNION ALL
    SELECT run_id, 'memory', source, at_s, memory_bytes
    FROM readings
    WHERE scope = 'run' AND memory_bytes IS NOT NULL
), curves AS (
    SELECT * EXCLUDE (source),
        CAST(floor((at_s - zero_s) / width_s) AS BIGINT) AS step,
        lag(step) OVER earlier AS earlier_step, lag(at_s) OVER earlier AS earlier_s, lag(value) OVER earlier AS earlier
    FROM known JOIN grids USING (run_id)
    SEMI JOIN (SELECT run_id, quantity, min(source) AS source FROM known GROUP BY run_id, quantity) AS best
        USING (run_id, quantity, source)
    WINDOW earlier AS (PARTITION BY run_id, quantity ORDER BY at_s)
), edges AS (
    SELECT *, unnest(range(earlier_step + 1, step + 1)) AS edge FROM curves WHERE step > earlier_step
), values_there AS (
    SELECT run_id, quantity, edge, CASE
            WHEN at_s - earlier_s <= 0.5
            THEN earlier + (value - earlier) * (zero_s + edge * width_s - earlier_s) / (at_s - earlier_s)
        END AS value
    FROM edges
), steps AS (
    SELECT run_id, edge AS step,
        max(value) FILTER (quantity = 'cpu') AS cpu_s,
        max(value) FILTER (quantity = 'machine') AS machine_cpu_s,
        max(value) FILTER (quantity = 'memory') AS memory_bytes
    FROM values_there
    GROUP BY run_id, step
), peaks AS (
    SELECT run_id, step, max(value) AS peak_bytes FROM curves WHERE quantity = 'memory' GROUP BY run_id, step
)
SELECT run_id, round(zero_s + step * width_s - began_s, 6) AS since_training_s, zero_s + step * width_s AS at_s, width_s,
    round((lead(cpu_s) OVER later - cpu_s) / width_s, 6) AS cores,
    round((lead(machine_cpu_s) OVER later - machine_cpu_s) / width_s, 6) AS machine_cores,
    CAST(greatest(memory_bytes, peak_bytes) AS BIGINT) AS memory_bytes
FROM steps JOIN grids USING (run_id) LEFT JOIN peaks USING (run_id, step)
WINDOW later AS (PARTITION BY run_id ORDER BY step)
