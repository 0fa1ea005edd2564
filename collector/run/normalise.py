"""Events and readings of one run become the rows of the store (pure)."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass

import numpy as np

from collector.protocol.events import (
    ChunkStop,
    EpochStart,
    EpochStop,
    EvalStart,
    EvalStop,
    Event,
    RunStart,
    of_kind,
)
from collector.telemetry import Reading
from store.records import EpochRow, MeasurementRow, PhaseRow, ReadingRow, RunRow

NS = 1e9
MIN_CPU_PHASE_S = 0.3  # a phase shorter than three readings has no CPU figure, unless the kernel counts exactly
MAX_GAP_S = 0.5  # a straight line between readings further apart says nothing about a moment between them
# docs/explanation/clocks.md: a runner's clock may differ from the collector's by this much before its run is invalid.
MAX_CLOCK_SLOPE = 1e-3
MIN_SLOPE_SPAN_S = 10.0
MIN_SLOPE_DIFFERENCE_S = 0.02  # four polls of the file: a smaller difference may be lateness
MAX_INTERVAL_DIFFERENCE_S = 0.25
MAX_INTERVAL_DIFFERENCE_RATIO = 0.01
MIN_EVENTS_BESIDE = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeline:
    """A run's events on one axis: seconds after the collector spawned the process."""

    events: tuple[Event, ...]
    startup_s: float
    ended_s: float  # when the process was gone

    def at_s(self, event: Event) -> float:
        """Return when `event` happened, in seconds after the spawn."""
        return self.startup_s + (event.at_ns - self.events[0].at_ns) / NS

    @property
    def first_step_s(self) -> float | None:
        """Seconds from spawn to the end of the first training step; None where there was none."""
        return next((self.at_s(event) for event in self.events if event.kind == "first_step_stop"), None)


def timeline_of(events: Sequence[Event], *, spawned_unix_ns: int, spawned_ns: int, ended_ns: int) -> Timeline:
    """Place `events` on the collector's axis by the wall clock that run_start carries."""
    start = events[0]
    assert isinstance(start, RunStart)  # check_order has seen to it
    startup_s = max(0.0, (start.unix_ns - spawned_unix_ns) / NS)
    return Timeline(events=tuple(events), startup_s=startup_s, ended_s=(ended_ns - spawned_ns) / NS)


def clock_fault(events: Sequence[Event], arrivals_ns: Sequence[int], spawned_unix_ns: int, spawned_ns: int) -> str:
    """Return why the runner's clock cannot be trusted, or an empty string.

    An event is seen when or after it happens, never before, and under load some are seen late. So the smallest
    lateness among the events before a place and among those after it are both close to the same offset of the two
    clocks, and what the runner's clock left out or invented at that place is the difference between them.
    """
    count = min(len(events), len(arrivals_ns))
    if count < 2 * MIN_EVENTS_BESIDE:
        return ""
    told = np.array([event.at_ns - events[0].at_ns for event in events[:count]]) / NS
    seen = (np.array(arrivals_ns[:count]) - arrivals_ns[0]) / NS
    before = np.minimum.accumulate(seen - told)[:-1]
    after = np.minimum.accumulate((seen - told)[::-1])[::-1][1:]
    beside = slice(MIN_EVENTS_BESIDE - 1, count - MIN_EVENTS_BESIDE)
    missing_s = (after - before)[beside]
    worst = int(np.abs(missing_s).argmax()) + MIN_EVENTS_BESIDE
    gap_s, span_s = float(missing_s[worst - MIN_EVENTS_BESIDE]), float(seen[-1])
    if abs(gap_s) > max(MAX_INTERVAL_DIFFERENCE_S, MAX_INTERVAL_DIFFERENCE_RATIO * span_s):
        return (
            f"events.jsonl line {worst + 1}: around {events[worst].kind} the runner's clock "
            f"{'left out' if gap_s > 0 else 'invented'} {abs(gap_s):.3f} s by the collector's; expected at most "
            f"{MAX_INTERVAL_DIFFERENCE_S} s or 1 %. Flush every line and use one monotonic clock."
        )
    promptest_s = float((seen - told).min()) + (arrivals_ns[0] - spawned_ns) / NS
    return _startup_fault(events[0], promptest_s, spawned_unix_ns) or _slope_fault(told, seen)


def _startup_fault(start: Event, seen_s: float, spawned_unix_ns: int) -> str:
    """Return whether run_start's wall clock, on which the e2e clock rests, disagrees with the collector's own."""
    assert isinstance(start, RunStart)  # check_order has seen to it
    told_s = (start.unix_ns - spawned_unix_ns) / NS
    if abs(told_s - seen_s) <= MAX_INTERVAL_DIFFERENCE_S:
        return ""
    return (
        f"events.jsonl line 1: run_start.unix_ns is {told_s:.3f} s after the process was spawned, by the collector's "
        f"clock {seen_s:.3f} s; expected at most {MAX_INTERVAL_DIFFERENCE_S} s apart. Write the wall clock in "
        "nanoseconds at the program's first statement; a clock that was set meanwhile spoils the run too."
    )


def _slope_fault(told: np.ndarray, seen: np.ndarray) -> str:
    """Return whether the runner's clock runs at another rate: the offset in the last third against the first."""
    late, span_s = seen - told, float(seen[-1])
    if span_s < MIN_SLOPE_SPAN_S:
        return ""
    first, last = late[seen <= span_s / 3], late[seen >= span_s * 2 / 3]
    if min(len(first), len(last)) < MIN_EVENTS_BESIDE:
        return ""  # a busy machine may have seen one or two events late
    apart_s = float(last.min() - first.min())
    slope = 1 - apart_s / (span_s * 2 / 3)
    if abs(apart_s) < MIN_SLOPE_DIFFERENCE_S or abs(slope - 1) <= MAX_CLOCK_SLOPE:
        return ""
    return (
        f"events.jsonl: the runner's clock runs {slope:.5f} times as fast as the collector's; "
        f"expected 1 ± {MAX_CLOCK_SLOPE:g}. Use the runtime's monotonic clock in nanoseconds."
    )


def work_fault(
    events: Sequence[Event],
    *,
    examples: int,
    epochs: Sequence[float],
    evaluations: int,
    parameters: int,
    test_examples: int,
    latencies: int = 0,
) -> str:
    """Return how the work reported differs from the work planned, or an empty string.

    `examples` is what all epoch pairs together must have trained on (or predicted), `epochs` where each of them must
    have ended, `evaluations` how many evaluations of `test_examples` examples there must be, `latencies` the chunks
    of one forward pass each in the first pair of mode infer.
    """
    stops = list(of_kind(events, EpochStop))
    losses = sum(stop.train_loss is not None for stop in stops)
    evaluated = list(of_kind(events, EvalStop))
    positions = [event.epoch for event in events if isinstance(event, (EpochStart, EpochStop))]
    built = next((event.parameters for event in events if event.kind == "build_stop"), parameters)
    for what, found, planned in (
        ("trainable parameters", built, parameters),
        ("epoch pairs", len(stops), len(epochs)),
        ("positions of the epoch pairs", positions, [epoch for epoch in epochs for _ in ("start", "stop")]),
        ("training examples", sum(stop.examples for stop in stops), examples),
        ("training losses", losses, 0 if latencies else len(epochs)),
        ("synchronised forward passes", len(infer_latencies_s(events)) if latencies else 0, latencies),
        ("evaluations", len(evaluated), evaluations),
        *(("examples of an evaluation", stop.examples, test_examples) for stop in evaluated),
        *(
            ("correct predictions", stop.correct, f"at most {stop.examples}")
            for stop in evaluated
            if stop.correct > stop.examples
        ),
    ):
        if found != planned:
            return (
                f"events.jsonl: {what}: got {found}; expected {planned}. The runner does other work than planned; "
                "compare it with collector/protocol/README.md."
            )
    return ""


def phase_rows(
    run_id: str, timeline: Timeline, readings: Sequence[Reading], spawned_ns: int, cpu_s: float | None = None
) -> list[PhaseRow]:
    """Return the phases of a run, from spawn to the end of the process; they leave no gap that was not training.

    Their CPU seconds add up to `cpu_s`, the kernel's account of the whole run, where that is known and all phases
    are covered by exact readings.
    """
    cpu = _CpuCurve(readings, spawned_ns, timeline.ended_s, cpu_s)
    counts: dict[str, int] = {}
    rows = []
    for phase, start_s, stop_s in _phases(timeline):
        index = counts[phase] = counts.get(phase, -1) + 1
        rows.append(
            PhaseRow(
                run_id=run_id,
                phase=phase,
                index=index,
                start_s=start_s,
                duration_s=stop_s - start_s,
                cpu_s=cpu.between(start_s, stop_s),
                memory_peak_bytes=_memory_peak_bytes(readings, spawned_ns + start_s * NS, spawned_ns + stop_s * NS),
            )
        )
    return rows


def epoch_rows(run_id: str, timeline: Timeline) -> list[EpochRow]:
    """Return one row per epoch pair that was finished, with both clocks at its end."""
    rows: list[EpochRow] = []
    train_clock_s = 0.0
    for start, stop, evaluation in _epoch_pairs(timeline.events):
        train_s = (stop.at_ns - start.at_ns) / NS
        train_clock_s += train_s
        eval_start, eval_stop = evaluation or (None, None)
        rows.append(
            EpochRow(
                run_id=run_id,
                epoch=stop.epoch,
                train_s=train_s,
                data_wait_s=stop.data_wait_s,
                eval_s=(eval_stop.at_ns - eval_start.at_ns) / NS if eval_start and eval_stop else None,
                train_loss=stop.train_loss,
                test_loss=eval_stop.loss if eval_stop else None,
                test_accuracy=eval_stop.correct / eval_stop.examples if eval_stop else None,
                train_clock_s=train_clock_s,
                e2e_clock_s=timeline.at_s(eval_stop or stop),
                examples=stop.examples,
            )
        )
    return rows


def reading_rows(run_id: str, readings: Sequence[Reading], spawned_ns: int) -> list[ReadingRow]:
    """Return the telemetry of a run on the axis of its spawn."""
    rows = []
    for reading in readings:
        fields = asdict(reading)
        at_s = (fields.pop("at_ns") - spawned_ns) / NS
        rows.append(ReadingRow(run_id=run_id, at_s=at_s, **fields))
    return rows


def infer_latencies_s(events: Sequence[Event]) -> list[float]:
    """Return how long each chunk of the first epoch pair lasted: in mode infer, each synchronised forward pass."""
    starts = [place for place, event in enumerate(events) if isinstance(event, EpochStart)][:1]
    stops = [place for place, event in enumerate(events) if isinstance(event, EpochStop)][:1]
    if not (starts and stops):
        return []
    first_pair = events[starts[0] : stops[0]]
    at_ns = [event.at_ns for event in first_pair if isinstance(event, (EpochStart, ChunkStop))]
    return [(after - before) / NS for before, after in itertools.pairwise(at_ns)]


def measurement_rows(
    run: RunRow,
    phases: Sequence[PhaseRow],
    epochs: Sequence[EpochRow],
    *,
    latencies_s: Sequence[float] = (),
    published_phases: Sequence[str] = (),
) -> list[MeasurementRow]:
    """Return the numbers of a run that people ask for most, each named in `store.metrics.METRICS`.

    `latencies_s` are those of mode infer, `published_phases` the phases that a study's published seconds cover.
    """
    values: dict[str, float | None] = {
        "train_clock_s": run.train_clock_s,
        "e2e_clock_s": run.e2e_clock_s,
        "time_to_first_step_s": run.time_to_first_step_s,
        "cpu_s": run.cpu_s,
        "memory_peak_bytes": run.memory_peak_bytes,
    }
    if run.cpu_s is not None and phases:
        values["cpu_cores_busy"] = run.cpu_s / sum(row.duration_s for row in phases)
    for row in phases:
        values[f"{row.phase}_phase_s"] = (values.get(f"{row.phase}_phase_s") or 0.0) + row.duration_s
    if published_phases and run.status == "completed":
        values["published_window_s"] = sum(values[f"{phase}_phase_s"] or 0.0 for phase in published_phases)
    if run.mode == "infer":
        values |= _inference_values(epochs, latencies_s)
    else:
        values |= _training_values(epochs, run.target_accuracy)
        values |= _limit_values(run, epochs)
    return [
        MeasurementRow(run_id=run.run_id, metric=metric, value=value)
        for metric, value in values.items()
        if value is not None
    ]


def _training_values(epochs: Sequence[EpochRow], target_accuracy: float | None) -> dict[str, float | None]:
    if not epochs or not epochs[-1].train_clock_s:
        return {}
    last = epochs[-1]
    values: dict[str, float | None] = {
        "examples_per_s": sum(row.examples for row in epochs) / last.train_clock_s,
        "final_test_accuracy": last.test_accuracy,
    }
    if last.test_accuracy is not None:
        values["train_s_per_epoch"] = last.train_clock_s / last.epoch
    if target_accuracy is not None and (row := target_row(epochs, target_accuracy)) is not None:
        values["epochs_to_target"] = row.epoch
        values["time_to_target_train_s"] = row.train_clock_s
        values["time_to_target_e2e_s"] = row.e2e_clock_s
    return values


def _limit_values(run: RunRow, epochs: Sequence[EpochRow]) -> dict[str, float | None]:
    values: dict[str, float | None] = {}
    if run.loader == "stream" and epochs:
        values["data_wait_s"] = sum(row.data_wait_s for row in epochs)
    if run.train_flops and run.train_clock_s and run.machine_flops_per_s:
        values["limit_ratio"] = run.train_flops / run.train_clock_s / run.machine_flops_per_s
    return values


def _inference_values(epochs: Sequence[EpochRow], latencies_s: Sequence[float]) -> dict[str, float | None]:
    values: dict[str, float | None] = {}
    if latencies_s:
        values["infer_latency_p50_s"], values["infer_latency_p95_s"] = map(float, np.quantile(latencies_s, [0.5, 0.95]))
    if len(epochs) == 2 and epochs[1].train_s:
        values["infer_examples_per_s"] = epochs[1].examples / epochs[1].train_s
    return values


def target_row(epochs: Sequence[EpochRow], target_accuracy: float) -> EpochRow | None:
    """Return the first of two consecutive evaluations at or above the target (docs/explanation/clocks.md), or None."""
    reached = [row.test_accuracy is not None and row.test_accuracy >= target_accuracy for row in epochs]
    return next((row for row, now, then in zip(epochs, reached, reached[1:], strict=False) if now and then), None)


class _CpuCurve:
    """CPU seconds of the run over time: straight lines between readings, from the spawn to the end of the process."""

    def __init__(self, readings: Sequence[Reading], spawned_ns: int, ended_s: float, cpu_s: float | None) -> None:
        known = [reading for reading in readings if reading.scope == "run" and reading.cpu_s is not None]
        self._is_exact = bool(known) and all(reading.quality == "exact" for reading in known)
        points = [((reading.at_ns - spawned_ns) / NS, reading.cpu_s) for reading in known]
        if known and cpu_s is not None:
            inside = [(at_s, min(used_s, cpu_s)) for at_s, used_s in points if used_s is not None and at_s < ended_s]
            points = [(0.0, 0.0), *inside, (ended_s, cpu_s)]
        self._at_s = np.array([at_s for at_s, _ in points])
        self._cpu_s = np.array([used_s for _, used_s in points])

    def between(self, start_s: float, stop_s: float) -> float | None:
        """Return the CPU seconds used from `start_s` to `stop_s`; None where the readings cannot tell."""
        too_short = stop_s - start_s < MIN_CPU_PHASE_S and not self._is_exact
        if too_short or not (self._is_covered(start_s) and self._is_covered(stop_s)):
            return None
        low, high = np.interp([start_s, stop_s], self._at_s, self._cpu_s)
        return float(high - low)

    def _is_covered(self, at_s: float) -> bool:
        """Whether there are readings close enough on both sides."""
        after = int(np.searchsorted(self._at_s, at_s))
        if after == len(self._at_s):
            return False
        exactly = bool(self._at_s[after] == at_s)
        return exactly or (after > 0 and float(self._at_s[after] - self._at_s[after - 1]) <= MAX_GAP_S)


def _memory_peak_bytes(readings: Sequence[Reading], start_ns: float, stop_ns: float) -> int | None:
    """Return the largest memory of the run that was read in this window; None where it was not read."""
    inside = (reading for reading in readings if start_ns <= reading.at_ns <= stop_ns and reading.scope == "run")
    return max((reading.memory_bytes for reading in inside if reading.memory_bytes is not None), default=None)


def _phases(timeline: Timeline) -> Iterator[tuple[str, float, float]]:
    """Yield (phase, start, stop); a run that ended early has the phases it finished."""
    previous_s = 0.0
    for event in timeline.events:
        at_s = timeline.at_s(event)
        phase = PHASE_ENDING_WITH.get(event.kind)
        if phase is not None:
            yield phase, previous_s, at_s
        if event.kind not in _WITHIN_A_PHASE:
            previous_s = at_s
    yield "shutdown", previous_s, max(previous_s, timeline.ended_s)


PHASE_ENDING_WITH = {
    "run_start": "startup",
    "import_stop": "import",
    "load_stop": "load",
    "preprocess_stop": "preprocess",
    "build_stop": "build",
    "compile_stop": "compile",
    "epoch_stop": "train",
    "eval_stop": "eval",
}
_WITHIN_A_PHASE = ("first_step_stop", "chunk_stop", "run_stop")  # what run_stop tells is found out during shutdown

Evaluation = tuple[EvalStart, EvalStop]


def _epoch_pairs(events: Sequence[Event]) -> Iterator[tuple[EpochStart, EpochStop, Evaluation | None]]:
    """Yield start and stop of each finished epoch pair with the evaluation that follows it, if any."""
    relevant = [event for event in events if not isinstance(event, ChunkStop) and event.kind != "first_step_stop"]
    for place, event in enumerate(relevant):
        if isinstance(event, EpochStop):
            start = relevant[place - 1]
            assert isinstance(start, EpochStart)  # check_order has seen to it
            after = relevant[place + 1 : place + 3]
            evaluation = None
            if len(after) == 2 and isinstance(after[0], EvalStart) and isinstance(after[1], EvalStop):
                evaluation = (after[0], after[1])
            yield start, event, evaluation
