"""The SQL behind each figure of the site (pure text): it runs on the store and on the published Parquet alike."""

from __future__ import annotations

from collections.abc import Sequence

from analysis.findings.finding import Cell
from analysis.frames.views import literal

CELL_KEYS = (
    "campaign_id", "workload", "mode", "device", "dtype", "batch_size", "threads", "loader_workers", "epochs", "steps",
)  # fmt: skip
LATER_KEYS = ("loader", "optimizer", "learning_rate", "weight_decay")  # absent from older records


def differences(cell: Cell, baseline: str, clock: str, epochs_to_target: float | None) -> str:
    """Return the paired comparison of each candidate with the baseline.

    The 95 % interval of a ratio is exp(ln(ratio) ± t × log_sd / √heats), t with heats - 1 degrees of freedom; on the
    e2e clock to a target the uncertainty of the pooled epochs is added (docs/explanation/statistics.md).
    """
    return f"""\
WITH costs AS (
    {_costs(clock, epochs_to_target)}
), mine AS (
    SELECT runner || ':' || variant AS entry, heat_id, value_s
    FROM counted_runs JOIN costs USING (run_id)
    WHERE {_cell(cell)}
      AND status = 'completed' AND contaminated IS NOT TRUE AND NOT control
)
SELECT candidate.entry, count(*) AS heats,
    exp(avg(ln(reference.value_s))) AS baseline_s,
    exp(avg(ln(candidate.value_s))) AS candidate_s,
    exp(avg(ln(candidate.value_s / reference.value_s))) AS ratio,
    stddev_samp(ln(candidate.value_s / reference.value_s)) AS log_sd
FROM mine AS candidate JOIN mine AS reference USING (heat_id)
WHERE reference.entry = {literal(baseline)} AND candidate.entry <> reference.entry
GROUP BY candidate.entry
ORDER BY candidate.entry"""


def differences_on_both_clocks(cell: Cell, baseline: str, epochs_to_target: float | None) -> str:
    """Return `differences` on the train and on the e2e clock, one after the other."""
    parts = (
        f"SELECT '{clock}' AS clock, * FROM (\n{differences(cell, baseline, clock, epochs_to_target)}\n)"
        for clock in ("train", "e2e")
    )
    return "\nUNION ALL\n".join(parts)


def phase_medians(cell: Cell) -> str:
    """Return the median seconds that each entry spent in each phase."""
    return f"""\
WITH per_run AS (
    SELECT runner || ':' || variant AS entry, run_id, phase, sum(duration_s) AS duration_s
    FROM counted_runs JOIN phases USING (run_id)
    WHERE {_cell(cell)}
      AND status = 'completed' AND NOT control
    GROUP BY ALL
)
SELECT entry, phase, median(duration_s) AS median_s, count(*) AS runs
FROM per_run
GROUP BY entry, phase
ORDER BY entry, phase"""


def accuracy(cell: Cell) -> str:
    """Return every evaluation of every run, with both clocks."""
    return f"""\
SELECT runner || ':' || variant AS entry, run_id, epoch, epochs.train_clock_s, epochs.e2e_clock_s, test_accuracy
FROM counted_runs JOIN epochs USING (run_id)
WHERE {_cell(cell, "counted_runs")}
  AND status IN ('completed', 'diverged') AND NOT control AND test_accuracy IS NOT NULL
ORDER BY entry, run_id, epoch"""


def crossings(cell: Cell, target_accuracy: float) -> str:
    """Return where each run met the target: at the first of two consecutive evaluations at or above it."""
    met = f"test_accuracy >= {literal(target_accuracy)} AND confirmed_by >= {literal(target_accuracy)}"
    return f"""\
WITH evaluated AS (
    SELECT *, lead(test_accuracy) OVER (PARTITION BY run_id ORDER BY epoch) AS confirmed_by
    FROM epochs
    WHERE test_accuracy IS NOT NULL
)
SELECT runner || ':' || variant AS entry, run_id,
    min(epoch) FILTER ({met}) AS epochs_to_target,
    min(evaluated.train_clock_s) FILTER ({met}) AS train_s,
    min(evaluated.e2e_clock_s) FILTER ({met}) AS e2e_s
FROM counted_runs LEFT JOIN evaluated USING (run_id)
WHERE {_cell(cell, "counted_runs")}
  AND status IN ('completed', 'diverged') AND NOT control
GROUP BY ALL
ORDER BY entry, run_id"""


def spreads(cell: Cell) -> str:
    """Return how far the runs of each entry lie apart between heats."""
    return f"""\
SELECT runner || ':' || variant AS entry, count(*) AS runs,
    avg(train_clock_s) AS train_mean_s, stddev_samp(train_clock_s) AS train_sd_s,
    avg(e2e_clock_s) AS e2e_mean_s, stddev_samp(e2e_clock_s) AS e2e_sd_s
FROM counted_runs
WHERE {_cell(cell)}
  AND status = 'completed' AND NOT control
GROUP BY entry
ORDER BY entry"""


def runs_of(cell: Cell) -> str:
    """Return every run of a cell, repeated heats and failures too."""
    return f"""\
SELECT run_id, repetition, heat_attempt, position, runner || ':' || variant AS entry, control, status,
    train_clock_s, e2e_clock_s, memory_peak_bytes, contamination, message
FROM runs
WHERE {_cell(cell)}
ORDER BY repetition, heat_attempt, position, run_id"""


def failures_of(cell: Cell) -> str:
    """Return every run of a cell that did not complete, and the runners that could not start."""
    return f"""\
SELECT run_id, runner || ':' || variant AS entry, status, repetition, message
FROM runs
WHERE {_cell(cell)}
      AND status <> 'completed'
ORDER BY ALL"""


def families(cell: Cell) -> str:
    """Return the medians of each entry's speed, share of the machine's limit and memory, by family."""
    return f"""\
SELECT family, runner || ':' || variant AS entry, language, count(DISTINCT run_id) AS runs,
    {_median("train_s_per_epoch")} AS s_per_epoch,
    median(value / nullif(steps, 0)) FILTER (metric = 'train_clock_s') AS s_per_step,
    {_median("examples_per_s")} AS examples_per_s,
    {_median("limit_ratio")} AS limit_ratio,
    {_median("memory_peak_bytes")} AS memory_peak_bytes
FROM counted_runs JOIN measurements USING (run_id)
WHERE {_cell(cell)}
      AND status = 'completed' AND NOT control
GROUP BY ALL
ORDER BY family, entry"""


def medians(cell: Cell, metrics: Sequence[str]) -> str:
    """Return the medians of named numbers of each entry; of a number that is 0 or 1 its mean, the share of runs."""
    columns = ",\n    ".join(
        f"{'avg' if name.startswith('is_') else 'median'}(value) FILTER (metric = {literal(name)}) AS {name}"
        for name in metrics
    )
    return f"""\
SELECT runner || ':' || variant AS entry, count(DISTINCT run_id) AS runs,
    {columns}
FROM counted_runs JOIN measurements USING (run_id)
WHERE {_cell(cell)}
      AND status = 'completed' AND NOT control
GROUP BY entry
ORDER BY entry"""


def sweep(cells: Sequence[Cell], axis: str, value: str, metric: str) -> str:
    """Return the medians of `value`, an expression of a metric's `value`, in cells that differ in `axis` alone."""
    values = ", ".join(literal(getattr(cell, axis)) for cell in cells)
    return f"""\
SELECT runner || ':' || variant AS entry, {axis}, count(*) AS runs, median({value}) AS median
FROM counted_runs JOIN measurements USING (run_id)
WHERE {_cell(cells[0], without=axis)}
      AND {axis} IN ({values})
      AND status = 'completed' AND NOT control AND metric = {literal(metric)}
GROUP BY ALL
ORDER BY entry, {axis}"""


def inference(campaign_id: str, workload: str) -> str:
    """Return the medians of each entry's latencies and throughput in mode infer."""
    return f"""\
SELECT batch_size, threads, device, dtype, runner || ':' || variant AS entry, count(DISTINCT run_id) AS runs,
    {_median("infer_latency_p50_s")} AS latency_p50_s,
    {_median("infer_latency_p95_s")} AS latency_p95_s,
    {_median("infer_examples_per_s")} AS examples_per_s
FROM counted_runs JOIN measurements USING (run_id)
WHERE campaign_id = {literal(campaign_id)} AND workload = {literal(workload)} AND mode = 'infer'
      AND status = 'completed' AND NOT control
GROUP BY ALL
ORDER BY ALL"""


def studies(workloads: Sequence[str]) -> str:
    """Return the medians of the seconds of each entry, and what it trained, on recipes and on equal work."""
    listed = ", ".join(literal(workload) for workload in workloads)
    return f"""\
SELECT workload, track, campaign_id, runner || ':' || variant AS entry, parameters, optimizer, learning_rate,
    weight_decay, loader, loader_workers, batch_size, epochs, count(DISTINCT run_id) AS runs,
    {_median("published_window_s")} AS published_window_s,
    {_median("train_s_per_epoch")} AS s_per_epoch,
    {_median("final_test_accuracy")} AS test_accuracy
FROM counted_runs JOIN measurements USING (run_id)
WHERE workload IN ({listed}) AND mode = 'train' AND status = 'completed' AND NOT control
GROUP BY ALL
ORDER BY ALL"""


def published(study: str = "") -> str:
    """Return every number that studies published, of one or of all, with what is suspicious about it."""
    mine = f"\nWHERE study = {literal(study)}" if study else ""
    return f"""\
SELECT study, place, system, workload, metric, value, unit, conditions, suspicion
FROM published{mine}
ORDER BY ALL"""


def declined(campaign_id: str, workload: str) -> str:
    """Return who was unavailable or unable in which cells of a campaign, and why."""
    return f"""\
SELECT runner || ':' || variant AS entry, status, mode, batch_size, device, dtype, threads, loader, loader_workers,
    optimizer, message
FROM runs
WHERE campaign_id = {literal(campaign_id)} AND workload = {literal(workload)} AND heat_id = ''
ORDER BY ALL"""


def environments() -> str:
    """Return every machine that was measured on."""
    return "SELECT * FROM environments ORDER BY captured_at"


def endings() -> str:
    """Return how many runs ended how."""
    return """\
SELECT campaign_id, workload, runner || ':' || variant AS entry, status, count(*) AS runs
FROM runs
GROUP BY ALL
ORDER BY ALL"""


def newest_runs() -> str:
    """Return all runs, the newest first."""
    return """\
SELECT run_id, started_at, workload, runner || ':' || variant AS entry, control, status, train_clock_s, e2e_clock_s,
    contamination
FROM runs
ORDER BY started_at DESC, run_id"""


def differences_in(cells: Sequence[tuple[Cell, str, float | None]]) -> str:
    """Return `differences_on_both_clocks` of several cells, each given with its baseline and pooled epochs."""
    parts = (
        f"SELECT {literal(cell.workload)} AS workload, * "
        f"FROM (\n{differences_on_both_clocks(cell, baseline, epochs)}\n)"
        for cell, baseline, epochs in cells
    )
    return "\nUNION ALL\n".join(parts)


def aligned_means(cell: Cell) -> str:
    """Return the means of cores busy and memory over the repetitions of each entry, with their standard deviations.

    A moment that fewer than half of an entry's runs reached is left out.
    """
    return f"""\
WITH mine AS (
    SELECT runner || ':' || variant AS entry, run_id
    FROM counted_runs
    WHERE {_cell(cell)}
      AND status = 'completed' AND contaminated IS NOT TRUE AND NOT control
), repetitions AS (
    SELECT entry, count(DISTINCT run_id) AS all_runs
    FROM mine JOIN aligned_readings USING (run_id)
    GROUP BY entry
)
SELECT entry, since_training_s, count(*) AS runs,
    avg(cores) AS cores, stddev_samp(cores) AS cores_sd,
    avg(memory_bytes) AS memory_bytes, stddev_samp(memory_bytes) AS memory_sd_bytes
FROM mine JOIN repetitions USING (entry) JOIN aligned_readings USING (run_id)
WHERE cores IS NOT NULL AND memory_bytes IS NOT NULL AND since_training_s IS NOT NULL
GROUP BY entry, since_training_s, all_runs
HAVING 2 * count(*) >= all_runs
ORDER BY entry, since_training_s"""


def repeated(cell: Cell) -> str:
    """Return the runs of a cell that something else disturbed."""
    return f"""\
SELECT repetition, heat_attempt, run_id, runner || ':' || variant AS entry, contamination
FROM runs
WHERE {_cell(cell)}
      AND contaminated
ORDER BY ALL"""


def run_parts(run_id: str) -> dict[str, str]:
    """Return the queries behind the page of one run, by what they give."""
    mine = f"WHERE run_id = {literal(run_id)}"
    return {
        "facts": f"SELECT * FROM runs {mine}",
        "phases": f"SELECT * EXCLUDE (run_id) FROM phases {mine} ORDER BY start_s",
        "epochs": f"SELECT * EXCLUDE (run_id) FROM epochs {mine} ORDER BY epoch",
        "curves": f"SELECT * EXCLUDE (run_id) FROM aligned_readings {mine} ORDER BY at_s",
        "devices": devices_of([run_id]),
        "sources": sources_of([run_id]),
    }


def devices_of(run_ids: Sequence[str]) -> str:
    """Return what was read of the devices of several runs: at most 300 points of each."""
    return f"""\
WITH read AS (
    SELECT *, greatest(0.1, ceil(max(at_s) OVER (PARTITION BY run_id) / 30) / 10) AS width_s
    FROM readings
    WHERE {_of(run_ids)} AND scope = 'device' AND quality <> 'unavailable'
)
SELECT run_id, device_index, min(at_s) AS at_s,
    avg(utilization_ratio) AS utilization_ratio, max(memory_bytes) AS memory_bytes,
    max(run_memory_bytes) AS run_memory_bytes, avg(power_w) AS power_w, max(temperature_c) AS temperature_c
FROM read
GROUP BY run_id, device_index, floor(at_s / width_s)
ORDER BY run_id, device_index, at_s"""


def sources_of(run_ids: Sequence[str]) -> str:
    """Return what each source gave of several runs, or why it gave nothing; counters as what they grew by."""
    read = "FILTER (quality <> 'unavailable')"
    return f"""\
SELECT run_id, scope, source, device_index,
    count(*) {read} AS readings, min(quality) {read} AS quality, max(reason) {read} AS partly,
    arg_max(reason, at_s) FILTER (quality = 'unavailable') AS reason,
    min(at_s) FILTER (quality = 'unavailable') AS lost_s,
    count(cpu_s) AS cpu_readings, count(memory_bytes) AS memory_readings,
    max(cpu_s) - min(cpu_s) AS cpu_s, max(cpu_pressure_s) - min(cpu_pressure_s) AS cpu_pressure_s,
    max(steal_s) - min(steal_s) AS steal_s, max(throttled_s) - min(throttled_s) AS throttled_s,
    max(swapped_bytes) - min(swapped_bytes) AS swapped_bytes,
    min(available_memory_bytes) AS available_memory_bytes, max(load_1min) AS load_1min, avg(clock_hz) AS clock_hz,
    quantile_cont(late_s, 0.99) AS late_s
FROM readings
WHERE {_of(run_ids)}
GROUP BY run_id, scope, source, device_index
ORDER BY ALL"""


def _of(run_ids: Sequence[str]) -> str:
    return f"run_id IN ({', '.join(literal(run_id) for run_id in run_ids)})"


def _cell(cell: Cell, table: str = "", without: str = "") -> str:
    prefix = f"{table}." if table else ""
    keys = [key for key in (*CELL_KEYS, *(LATER_KEYS if cell.optimizer else ())) if key != without]
    return "\n      AND ".join(f"{prefix}{key} = {literal(getattr(cell, key))}" for key in keys)


def _median(metric: str) -> str:
    return f"median(value) FILTER (metric = {literal(metric)})"


def _costs(clock: str, epochs_to_target: float | None) -> str:
    """Return what a run cost: its whole clock, or what it takes for the epochs that all gated entries need."""
    if epochs_to_target is None:
        return f"SELECT run_id, {clock}_clock_s AS value_s FROM runs"
    if clock == "train":
        per_epoch = "arg_max(train_clock_s, epoch) / max(epoch)"
        return f"SELECT run_id, {per_epoch} * {epochs_to_target!r} AS value_s FROM epochs GROUP BY run_id"
    return f"""SELECT run_id, arg_min(e2e_clock_s - train_s - coalesce(eval_s, 0), epoch) AS fixed_s,
        fixed_s + (arg_max(e2e_clock_s, epoch) - fixed_s) / max(epoch) * {epochs_to_target!r} AS value_s
    FROM epochs GROUP BY run_id"""
