"""Gate the entries of cells: give each the gate's work, judge it, and keep the rows."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from collector.definition import content_hash
from collector.events import read_events
from collector.executors import Executor
from collector.gate import VERSION, Check, judge
from collector.gate_inputs import gate_trial, write_gate_inputs
from collector.inputs import DataFiles
from collector.launch import Ending, InterruptedCollectionError, Launch
from collector.matrix import Cell
from collector.runner import (
    RUNNERS,
    Description,
    Entry,
    read_fingerprint,
    read_runner,
    resolve_command,
    runner_environment,
)
from collector.trial import write_trial
from collector.workload import Workload
from store.records import GateRow

GATE_TIMEOUT_S = 600.0


@dataclass(frozen=True, slots=True, order=True)
class GateKey:
    """What is gated: an entry on a workload, device and dtype."""

    entry: Entry
    workload: str
    device: str
    dtype: str

    def __str__(self) -> str:
        return f"{self.entry} on {self.workload} ({self.device}, {self.dtype})"


@dataclass(frozen=True, slots=True, kw_only=True)
class GateResult:
    """The rows of one gated entry, one per part."""

    key: GateKey
    rows: tuple[GateRow, ...]

    @property
    def passed(self) -> bool:
        """Whether every part passed."""
        return all(row.passed for row in self.rows)

    @property
    def failure(self) -> str:
        """The first part that failed in words; empty when all passed."""
        row = next((row for row in self.rows if not row.passed), None)
        if row is None:
            return ""
        if row.part == "run":
            return f"the gate's run did not end well: {row.found}"
        error = "not comparable" if row.error is None else f"error {row.error:.3g}"
        cause = f" Likely cause: {row.cause}." if row.cause else ""
        return (
            f"gate part {row.part}: {row.quantity} differs: found {row.found}, expected {row.expected} "
            f"({error}, tolerance {row.tolerance:.3g}).{cause}"
        )


def gate_keys(cells: Iterable[Cell]) -> dict[GateKey, Cell]:
    """Return what must be gated before `cells` may be ranked, each with one cell that needs it."""
    return {
        GateKey(entry, cell.workload.name, cell.device, cell.dtype): cell
        for cell in cells
        for entry in (cell.baseline, *cell.candidates)
    }


def launch_gate(
    key: GateKey,
    cell: Cell,
    data: DataFiles,
    folder: Path,
    *,
    description: Description,
    executor: Executor,
    cores: Sequence[int],
    runners: Path = RUNNERS,
) -> GateResult:
    """Run one entry in mode gate under `folder` and judge what it wrote; its files are kept when it fails."""
    inputs = folder / f"inputs-{gate_content(cell.workload)}"
    write_gate_inputs(cell.workload, data, inputs)
    output = folder / f"{key.entry.runner}-{key.entry.variant}-{key.workload}-{key.device}-{key.dtype}"
    shutil.rmtree(output, ignore_errors=True)
    output.mkdir(parents=True)
    write_trial(gate_trial(key.entry, cell, data, inputs, output), output / "trial.json")
    runner = read_runner(key.entry.runner, runners)
    launch = Launch(
        command=resolve_command(runner, threads=cell.threads, folder=runners),
        environment=runner_environment(runner, threads=cell.threads),
        folder=output,
        cores=cores,
        timeout_s=GATE_TIMEOUT_S,
    )
    (ending,) = executor.execute([launch])
    if ending.status == "interrupted":
        raise InterruptedCollectionError
    checks = _judged(ending, cell.workload, inputs, output)
    gate_id = content_hash(read_fingerprint(runner, runners), json.dumps(dict(description.versions)), inputs.name)
    rows = tuple(_row(key, check, gate_id, description) for check in worst_of_parts(checks))
    result = GateResult(key=key, rows=rows)
    if result.passed:
        shutil.rmtree(output)
    return result


def gate_content(workload: Workload) -> str:
    """Return a hash of the work that the gate gives for `workload`."""
    return content_hash(workload.model_dump_json(), str(VERSION))


def worst_of_parts(checks: Sequence[Check]) -> list[Check]:
    """Return the check of each part that came closest to its tolerance or passed it furthest."""
    parts = dict.fromkeys(check.part for check in checks)
    return [max((c for c in checks if c.part == part), key=lambda check: check.strain) for part in parts]


def _judged(ending: Ending, workload: Workload, inputs: Path, output: Path) -> list[Check]:
    if ending.status != "completed":
        return [
            Check(
                part="run",
                quantity="ending",
                expected="completed",
                found=f"{ending.status}: {ending.message}",
                error=np.inf,
                tolerance=0.0,
                cause="",
            )
        ]
    events = read_events(output / "events.jsonl")
    parameters = next((event.parameters for event in events if event.kind == "build_stop"), None)
    return judge(workload, inputs, output, parameters)


def _row(key: GateKey, check: Check, gate_id: str, description: Description) -> GateRow:
    return GateRow(
        gate_id=gate_id,
        campaign_id="",
        runner=key.entry.runner,
        variant=key.entry.variant,
        workload=key.workload,
        device=key.device,
        dtype=key.dtype,
        part=check.part,
        passed=check.passed,
        quantity=check.quantity,
        expected=check.expected,
        found=check.found,
        error=check.error if np.isfinite(check.error) else None,
        tolerance=check.tolerance,
        cause=check.cause,
        versions=json.dumps(dict(description.versions), sort_keys=True),
        gated_at=datetime.now(UTC),
    )


def competing_cells(cells: Sequence[Cell], left_out: Mapping[GateKey, str]) -> list[Cell]:
    """Return the cells with the entries that may compete; a cell without its baseline or a rival is dropped."""

    def competes(cell: Cell, entry: Entry) -> bool:
        return GateKey(entry, cell.workload.name, cell.device, cell.dtype) not in left_out

    kept = []
    for cell in cells:
        rivals = tuple(entry for entry in cell.candidates if competes(cell, entry))
        if competes(cell, cell.baseline) and (rivals or not cell.candidates):
            kept.append(replace(cell, candidates=rivals))
    return kept
