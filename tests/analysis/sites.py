"""A small store with everything a site can show, and helpers to look at pages."""

from __future__ import annotations

import dataclasses
import html
import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from analysis.frames.validity import marked
from analysis.results.results import Results, measured_of
from store.database import Store
from store.records import EpochRow, GateRow, MeasurementRow, PhaseRow, ReadingRow, Row, RunRow
from store.study import published_rows, read_studies
from tests.analysis.builders import (
    JAX,
    JULIA,
    NUMPY,
    PYTORCH,
    START,
    Campaign,
    Racer,
    environment_row,
    frame,
    frames_of,
    gate_row,
    reading_row,
    run_row,
)

HOSTILE = "Traceback: *bold* [x](javascript:alert(1)) <script>alert(1)</script> | {{ 7 * 7 }}"
ELIXIR = Racer(
    runner="elixir_beam",
    variant="default",
    runner_class="baseline",
    language="Elixir",
    framework="BEAM",
    family="beam",
    train_s_per_epoch=12.0,
)
SNAPSHOTS = Path(__file__).parent.parent / "snapshots"


def small_rows() -> list[Row]:
    """Return a campaign of three workloads: verdicts, too few heats, and every way not to be ranked."""
    return [
        environment_row(versions='{"python_pytorch": {"framework": "PyTorch"}}', settings='{"affinity": [0]}'),
        *(row for row in Campaign(racers=(PYTORCH, JAX, JULIA)).rows() if not isinstance(row, type(environment_row()))),
        *of_workload("mnist_mlp_steps", Campaign(racers=(PYTORCH, ELIXIR), heats=6, changes=STEPS).rows()),
        *of_workload("mnist_lenet", Campaign(racers=(PYTORCH, JAX, CRASHING), heats=1, changes=LENET).rows()),
        gate_row(runner="julia_stdlib", variant="default", workload="mnist_mlp_steps", passed=False, **SUMMED),
        unavailable_row(),
    ]


CRASHING = dataclasses.replace(NUMPY, status="crashed", message=HOSTILE)
STEPS: dict[str, Any] = {
    "mode": "steps",
    "steps": 50,
    "epochs": 1,
    "target_accuracy": None,
    "workload": "mnist_mlp_steps",
}
LENET: dict[str, Any] = {"workload": "mnist_lenet", "epochs": 1, "target_accuracy": 0.985}
SUMMED: dict[str, Any] = {
    "gate_id": "gate2",
    "quantity": "losses",
    "expected": "2.302585",
    "found": "294.73",
    "error": 127.0,
    "cause": "the loss is summed, not averaged",
}


def unavailable_row(**changes: Any) -> RunRow:
    """Return a runner that could not be started, with `changes`."""
    values: dict[str, Any] = {
        "run_id": "axon-unavailable",
        "heat_id": "",
        "runner": "elixir_axon",
        "variant": "exla",
        "language": "Elixir",
        "framework": "Axon",
        "status": "unavailable",
        "message": "mix was not found; make setup installs it",
        "gate_passed": None,
        "exit_code": None,
        **dict.fromkeys(("train_clock_s", "e2e_clock_s", "time_to_first_step_s", "cpu_s", "memory_peak_bytes")),
    }
    return run_row(**(values | changes))


def write_store(path: Path, rows: Sequence[Row]) -> Store:
    """Return a store of `rows`, with raw files, and with readings of each run that did anything and has none yet."""
    store = Store(path)
    about = _by_run(rows)
    others = [row for row in rows if not isinstance(row, (RunRow, PhaseRow, EpochRow))]
    runs = [row for row in rows if isinstance(row, RunRow)]
    known = {row.run_id for row in rows if isinstance(row, ReadingRow)}
    readings = [reading for run in runs if run.run_id not in known for reading in _readings(about.get(run.run_id, []))]
    everything = [*others, *runs, *(row for mine in about.values() for row in mine), *readings]
    store.append("campaign", everything, day=START.date())
    for run in runs:
        write_raw_files(store, run)
    return store


def write_raw_files(store: Store, run: RunRow) -> None:
    """Write what a collector leaves behind for one run; the log of a run that did not complete is large."""
    folder = store.raw_folder(run.campaign_id, run.run_id)
    folder.mkdir(parents=True)
    (folder / "events.jsonl").write_text('{"kind": "run_start"}\n')
    (folder / "log.txt").write_text("x" * (10 if run.status == "completed" else 300_000))


ALIGNED = ["run_id", "since_training_s", "at_s", "cores", "machine_cores", "memory_bytes"]


def results_of(rows: Sequence[Row], aligned: pd.DataFrame | None = None) -> Results:
    """Return `rows` as results, as if a store had held them; without readings unless `aligned` is given."""
    frames = frames_of(rows)
    measured = measured_of(frames.runs, frames.epochs, frames.unavailable, frames.gates)
    return Results(
        measured=measured,
        findings=measured.findings(),
        runs=marked(frame(rows, "runs"), frames.epochs),
        phases=frames.phases,
        measurements=frames.measurements,
        gates=frames.gates.assign(elsewhere=""),
        environments=frame(rows, "environments"),
        aligned=aligned if aligned is not None else pd.DataFrame(columns=ALIGNED),
        published=frame(published_rows(read_studies()), "published"),
        studies=read_studies(),
        suites=("demo",),
    )


def queries_on(text: str) -> list[str]:
    """Return the SQL on a page, of Markdown or HTML."""
    return [html.unescape(found) for found in re.findall(r'<code class="language-sql">(.*?)</code>', text, re.DOTALL)]


def visible_text(markup: str) -> str:
    """Return the text of HTML without its tags, in single spaces."""
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", markup)).split())


def assert_snapshot(name: str, text: str) -> None:
    """Compare with what is kept; `DEADHEAT_SNAPSHOTS=write` keeps what there is now."""
    path = SNAPSHOTS / name
    if os.environ.get("DEADHEAT_SNAPSHOTS") == "write":
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8"), f"{name} changed: look, then DEADHEAT_SNAPSHOTS=write pytest"


def of_workload(name: str, rows: Iterable[Row], ids: str = "") -> list[Row]:
    """Return the rows of one more workload or cell of the same campaign, with ids of their own."""
    kept = (row for row in rows if isinstance(row, (RunRow, PhaseRow, EpochRow, GateRow, MeasurementRow)))
    return [dataclasses.replace(row, **_renamed(row, name, ids or name)) for row in kept]


def _renamed(
    row: RunRow | PhaseRow | EpochRow | GateRow | MeasurementRow, workload: str, prefix: str
) -> dict[str, str]:
    ids = ("run_id", "heat_id", "trial_id", "gate_id")
    found = {key: f"{prefix}-{getattr(row, key)}" for key in ids if hasattr(row, key)}
    return found | ({"workload": workload} if isinstance(row, GateRow) else {})


def _by_run(rows: Sequence[Row]) -> dict[str, list[PhaseRow | EpochRow]]:
    found: dict[str, list[PhaseRow | EpochRow]] = {}
    for row in rows:
        if isinstance(row, (PhaseRow, EpochRow)):
            found.setdefault(row.run_id, []).append(row)
    return found


def _readings(rows: Sequence[PhaseRow | EpochRow]) -> list[ReadingRow]:
    """Return ten readings a second: one busy core, memory that grows."""
    phases = [row for row in rows if isinstance(row, PhaseRow)]
    ends_s = max((row.start_s + row.duration_s for row in phases), default=0.0)
    return [
        reading_row(run_id=phases[0].run_id, at_s=n / 10, cpu_s=n / 10, memory_bytes=10**8 + n * 10**6)
        for n in range(int(ends_s * 10))
    ]
