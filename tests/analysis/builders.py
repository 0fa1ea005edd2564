"""Small builders of the store's rows, for tests: every column has a plausible value, the test names what matters."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd

from analysis.frames.views import with_entry
from store.records import TABLES, EnvironmentRow, EpochRow, GateRow, MeasurementRow, PhaseRow, ReadingRow, Row, RunRow
from store.roster import Contender

START = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
EVALUATIONS_PER_EPOCH = 4
EXAMPLES_PER_EPOCH = 60_000


def run_row(**changes: Any) -> RunRow:
    """Return a completed run of the baseline, with `changes`."""
    values: dict[str, Any] = {
        "run_id": "run1",
        "trial_id": "trial1",
        "heat_id": "heat1",
        "heat_attempt": 1,
        "heat_size": 2,
        "position": 1,
        "control": False,
        "attempt": 1,
        "campaign_id": "demo-1",
        "suite": "demo",
        "mode": "train",
        "track": "closed",
        "workload": "mnist_mlp",
        "workload_version": 1,
        "runner": "python_pytorch",
        "variant": "eager",
        "runner_class": "framework",
        "headline": True,
        "language": "Python",
        "framework": "PyTorch",
        "family": "libtorch",
        "baseline": "python_pytorch:eager",
        "device": "cpu",
        "dtype": "fp32",
        "batch_size": 128,
        "threads": 1,
        "loader": "resident",
        "loader_workers": 0,
        "optimizer": "adam",
        "learning_rate": 0.001,
        "weight_decay": 0.0,
        "world_size": 1,
        "epochs": 3,
        "steps": 0,
        "repetition": 1,
        "seed": 1,
        "target_accuracy": 0.96,
        "equivalence_margin_ratio": 0.03,
        "status": "completed",
        "message": "",
        "exit_code": 0,
        "started_at": START,
        "environment_id": "environment1",
        "framework_version": "2.0",
        "language_version": "3.11",
        "gate_passed": True,
        "machine_flops_per_s": 1e11,
        "contaminated": None,
        "flushes_subnormals": True,
        "parameters": 101_770,
        "train_flops": 6e10,
        "train_clock_s": 3.0,
        "e2e_clock_s": 5.0,
        "time_to_first_step_s": 1.5,
        "cpu_s": 5.0,
        "memory_peak_bytes": 300_000_000,
        "gc_s": None,
        "compile_s": None,
        "device_bytes_used": None,
        "device_bytes_reserved": None,
    }
    return RunRow(**(values | changes))


def epoch_row(**changes: Any) -> EpochRow:
    """Return the first evaluation interval of a run, a quarter of an epoch, with `changes`."""
    values: dict[str, Any] = {
        "run_id": "run1",
        "epoch": 0.25,
        "train_s": 0.25,
        "data_wait_s": 0.0,
        "eval_s": 0.05,
        "train_loss": 0.5,
        "test_loss": 0.4,
        "test_accuracy": 0.9,
        "train_clock_s": 0.25,
        "e2e_clock_s": 1.8,
        "examples": 15_000,
    }
    return EpochRow(**(values | changes))


def phase_row(**changes: Any) -> PhaseRow:
    """Return the startup of a run, with `changes`."""
    values: dict[str, Any] = {
        "run_id": "run1",
        "phase": "startup",
        "index": 0,
        "start_s": 0.0,
        "duration_s": 0.1,
        "cpu_s": None,
    }
    return PhaseRow(**(values | changes))


def reading_row(**changes: Any) -> ReadingRow:
    """Return one reading of a run's process tree, with `changes`."""
    values: dict[str, Any] = {
        "run_id": "run1",
        "at_s": 0.1,
        "source": "process_tree",
        "scope": "run",
        "quality": "sampled",
        "cpu_s": 0.1,
        "memory_bytes": 100_000_000,
    }
    return ReadingRow(**(values | changes))


def contender(**changes: Any) -> Contender:
    """Return the baseline as the roster has it, with `changes`."""
    values: dict[str, Any] = {
        "runner": "python_pytorch",
        "variant": "eager",
        "is_headline": True,
        "language": "Python",
        "framework": "PyTorch",
        "runner_class": "framework",
        "family": "libtorch",
        "devices": ["cpu"],
        "unverified": {},
    }
    return Contender(**values | changes)


def gate_row(**changes: Any) -> GateRow:
    """Return a part of the gate that the baseline passed, with `changes`."""
    values: dict[str, Any] = {
        "gate_id": "gate1",
        "campaign_id": "demo-1",
        "runner": "python_pytorch",
        "variant": "eager",
        "workload": "mnist_mlp",
        "optimizer": "adam",
        "device": "cpu",
        "dtype": "fp32",
        "loader": "resident",
        "part": "A",
        "passed": True,
        "quantity": "a.losses",
        "expected": "2.3",
        "found": "2.3",
        "error": 1e-7,
        "tolerance": 1e-5,
        "cause": "",
        "exceptions": "",
        "versions": '{"language": "Python", "framework": "PyTorch"}',
        "gated_at": START,
    }
    return GateRow(**(values | changes))


def environment_row(**changes: Any) -> EnvironmentRow:
    """Return a machine without a GPU, with `changes`."""
    values: dict[str, Any] = {
        "environment_id": "environment1",
        "captured_at": START,
        "hostname": "bench",
        "os": "Debian 12",
        "kernel": "6.1",
        "cpu_model": "Test CPU",
        "cpu_cores": 2,
        "cpu_governor": "performance",
        "memory_bytes": 8 * 2**30,
        "gpu_model": "",
        "gpu_count": 0,
        "gpu_memory_bytes": 0,
        "driver_version": "",
        "git_commit": "0" * 40,
        "git_dirty": False,
        "versions": "{}",
        "settings": "{}",
    }
    return EnvironmentRow(**(values | changes))


@dataclass(frozen=True, slots=True, kw_only=True)
class Racer:
    """An entry with its true costs, before noise."""

    runner: str
    variant: str = "eager"
    runner_class: str = "framework"
    headline: bool = True
    language: str = "Python"
    framework: str = "PyTorch"
    family: str = "libtorch"
    fixed_s: float = 2.0  # until the first epoch
    train_s_per_epoch: float = 1.0
    eval_s: float = 0.05  # of each evaluation
    status: str = "completed"
    message: str = ""
    gate_passed: bool | None = True

    @property
    def entry(self) -> str:
        """Return "runner:variant"."""
        return f"{self.runner}:{self.variant}"


PYTORCH = Racer(runner="python_pytorch")
JAX = Racer(
    runner="python_jax", variant="jit", framework="JAX", family="xla", train_s_per_epoch=1.342, eval_s=0.05 * 1.342
)
NUMPY = Racer(
    runner="python_numpy", variant="default", runner_class="baseline", framework="NumPy", train_s_per_epoch=5.0
)
JULIA = Racer(
    runner="julia_stdlib",
    variant="default",
    runner_class="baseline",
    language="Julia",
    framework="Julia standard library",
    train_s_per_epoch=2.0,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Campaign:
    """Heats of racers, the first of which is the baseline and runs twice.

    A heat's factor is shared by its runs (drift of the machine), a run's factor is its own; both are log-normal.
    The accuracy after each quarter of an epoch is `accuracies`, shifted by whole quarters per heat.
    """

    racers: Sequence[Racer] = (PYTORCH, JAX)
    heats: int = 10
    heat_deviation: float = 0.05
    run_deviation: float = 0.005
    quarters_deviation: float = 1.0
    seed: int = 1
    accuracies: Sequence[float] = (0.90, 0.93, 0.945, 0.955, 0.961, 0.965, 0.968, 0.97, 0.971, 0.972, 0.973, 0.974)
    changes: dict[str, Any] = dataclasses.field(default_factory=dict)  # of columns of every run

    def rows(self) -> list[Row]:
        """Return the campaign's environment, gates, and the runs with their epochs and phases."""
        generator = np.random.default_rng(self.seed)
        rows: list[Row] = [environment_row()]
        rows.extend(gate_row(runner=r.runner, variant=r.variant, passed=r.gate_passed is True) for r in self.racers)
        for heat in range(1, self.heats + 1):
            factor = float(np.exp(generator.normal(0, self.heat_deviation)))
            late = round(generator.normal(0, self.quarters_deviation))
            entrants = [(self.racers[0], True), *((racer, False) for racer in self.racers)]
            for position, index in enumerate(generator.permutation(len(entrants)), start=1):
                racer, control = entrants[index]
                slow = factor * float(np.exp(generator.normal(0, self.run_deviation)))
                rows.extend(self._run(racer, control=control, heat=heat, position=position, slow=slow, late=late))
        return rows

    def _run(
        self, racer: Racer, *, control: bool, heat: int, position: int, slow: float, late: int
    ) -> Iterator[EpochRow | MeasurementRow | PhaseRow | RunRow]:
        facts = dataclasses.asdict(racer)
        costs = {name: facts.pop(name) * slow for name in ("fixed_s", "train_s_per_epoch", "eval_s")}
        base = run_row(
            **facts,
            run_id=f"{racer.runner}-{racer.variant}-{'control-' if control else ''}{heat}",
            trial_id=f"trial-{racer.entry}-{heat}-{control}",
            heat_id=f"heat-{heat}",
            heat_size=len(self.racers) + 1,
            position=position,
            control=control,
            repetition=heat,
            seed=heat,
            baseline=self.racers[0].entry,
            started_at=START + timedelta(minutes=heat, seconds=position),
        )
        run = dataclasses.replace(base, **self.changes)
        epochs = list(self._epochs(run, costs, late)) if run.status == "completed" and run.mode == "train" else []
        yield from epochs
        yield from _phases(run.run_id, costs["fixed_s"], epochs)
        finished = _finished(run, costs, epochs)
        yield from _measurements(finished)
        yield finished

    def _epochs(self, run: RunRow, costs: dict[str, float], late: int) -> Iterator[EpochRow]:
        train_s = costs["train_s_per_epoch"] / EVALUATIONS_PER_EPOCH
        for number in range(1, run.epochs * EVALUATIONS_PER_EPOCH + 1):
            accuracy = self.accuracies[min(max(number - 1 - late, 0), len(self.accuracies) - 1)]
            yield epoch_row(
                run_id=run.run_id,
                epoch=number / EVALUATIONS_PER_EPOCH,
                train_s=train_s,
                eval_s=costs["eval_s"],
                train_loss=2.0 / (1 + number),
                test_loss=1.5 / (1 + number),
                test_accuracy=accuracy,
                train_clock_s=number * train_s,
                e2e_clock_s=costs["fixed_s"] + number * (train_s + costs["eval_s"]),
                examples=EXAMPLES_PER_EPOCH // EVALUATIONS_PER_EPOCH,
            )


def _finished(run: RunRow, costs: dict[str, float], epochs: Sequence[EpochRow]) -> RunRow:
    """Return the run with its clocks; one that did not complete has none."""
    if run.status != "completed":
        return dataclasses.replace(run, train_clock_s=None, e2e_clock_s=None, exit_code=1)
    train_s = epochs[-1].train_clock_s if epochs else costs["train_s_per_epoch"]
    end_s = epochs[-1].e2e_clock_s if epochs else costs["fixed_s"] + train_s
    return dataclasses.replace(run, train_clock_s=train_s, e2e_clock_s=end_s + 0.01)


def _measurements(run: RunRow) -> Iterator[MeasurementRow]:
    """Yield the numbers of a completed run that pages show."""
    if run.train_clock_s is None or run.mode == "infer":
        return
    work = EXAMPLES_PER_EPOCH * run.epochs if run.mode == "train" else run.batch_size * run.steps
    values = {"examples_per_s": work / run.train_clock_s, "memory_peak_bytes": float(run.memory_peak_bytes or 0)}
    values["train_clock_s"] = run.train_clock_s
    if run.mode == "train":
        values["train_s_per_epoch"] = run.train_clock_s / run.epochs
    if run.train_flops and run.machine_flops_per_s:
        values["limit_ratio"] = run.train_flops / run.train_clock_s / run.machine_flops_per_s
    if run.loader == "stream":
        values["data_wait_s"] = 0.5 * run.train_clock_s / (1 + run.loader_workers)
    for metric, value in values.items():
        yield MeasurementRow(run_id=run.run_id, metric=metric, value=value)


def _phases(run_id: str, fixed_s: float, epochs: Sequence[EpochRow]) -> Iterator[PhaseRow]:
    """Yield the phases before the first epoch in equal parts, then training and evaluation in turn."""
    before = ("startup", "import", "load", "preprocess", "build", "compile")
    part_s = fixed_s / len(before)
    for number, phase in enumerate(before):
        yield phase_row(run_id=run_id, phase=phase, start_s=number * part_s, duration_s=part_s)
    for index, epoch in enumerate(epochs):
        eval_s = epoch.eval_s or 0.0
        start_s = epoch.e2e_clock_s - eval_s - epoch.train_s
        yield phase_row(run_id=run_id, phase="train", index=index, start_s=start_s, duration_s=epoch.train_s)
        yield phase_row(run_id=run_id, phase="eval", index=index, start_s=start_s + epoch.train_s, duration_s=eval_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class Frames:
    """Rows as the frames that the analysis reads: all runs given count."""

    runs: pd.DataFrame
    epochs: pd.DataFrame
    unavailable: pd.DataFrame
    gates: pd.DataFrame
    phases: pd.DataFrame
    measurements: pd.DataFrame


def frames_of(rows: Sequence[Row]) -> Frames:
    """Return `rows` as frames."""
    runs = frame(rows, "runs")
    return Frames(
        runs=runs[runs["heat_id"] != ""],
        unavailable=runs[runs["heat_id"] == ""],
        epochs=frame(rows, "epochs"),
        gates=frame(rows, "gates"),
        phases=frame(rows, "phases"),
        measurements=frame(rows, "measurements"),
    )


def frame(rows: Sequence[Row], table: str) -> pd.DataFrame:
    """Return the rows of one table as a frame, with all its columns even if there is no row."""
    kind = TABLES[table]
    names = [field.name for field in dataclasses.fields(kind)]
    found = pd.DataFrame([dataclasses.asdict(row) for row in rows if isinstance(row, kind)], columns=names)
    return with_entry(found) if table == "runs" else found
