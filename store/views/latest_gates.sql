-- The last result of each part of the gate: from the last gating of each entry, workload, optimizer, loader, device
-- and dtype. A gating whose runner did not finish has the part 'run' alone; it replaces older parts, and newer parts
-- replace it. Optimizer and loader are null in results from before they were noted.
WITH last_gating AS (
    SELECT runner, variant, workload, optimizer, loader, device, dtype,
        arg_max(gate_id, gated_at) AS gate_id,
        max(gated_at) FILTER (part = 'run') AS unfinished_at,
        max(gated_at) FILTER (part <> 'run') AS finished_at
    FROM gates
    GROUP BY ALL
)
SELECT DISTINCT ON (runner, variant, workload, gates.optimizer, gates.loader, device, dtype, part) gates.*
FROM gates JOIN last_gating USING (runner, variant, workload, device, dtype, gate_id)
WHERE gates.optimizer IS NOT DISTINCT FROM last_gating.optimizer
    AND gates.loader IS NOT DISTINCT FROM last_gating.loader
    AND (part = 'run') = coalesce(unfinished_at > finished_at, unfinished_at IS NOT NULL)
ORDER BY runner, variant, workload, gates.optimizer, gates.loader, device, dtype, part, gated_at DESC
