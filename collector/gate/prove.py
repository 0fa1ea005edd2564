"""Gate the entries of cells: give each the gate's work, judge it, and keep the rows; what is known is not run again."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from collector.datasets.files import DataFiles
from collector.gate.inputs import gate_trial, read_evidence, write_gate_inputs
from collector.gate.judge import Check, judge
from collector.gate.proofs import GateKey, Proof, gate_key
from collector.plan.matrix import Cell
from collector.plan.runner import (
    RUNNERS,
    Description,
    Runner,
    read_fingerprint,
    read_runner,
    resolve_command,
    runner_environment,
)
from collector.plan.workload import Workload
from collector.protocol.events import EventError, read_events
from collector.protocol.trial import write_trial
from collector.run.executor import Executor
from collector.run.launch import Ending, InterruptedCollectionError, Launch
from store.database import Store
from store.definition import code_hash, content_hash
from store.records import GateRow

UNSUPPORTED = "unsupported: "
TIMEOUT_S = 600.0  # of one entry on one workload
KNOWN = "select * from gates where list_contains(?, gate_id) and part <> 'H' order by gated_at"  # H is a campaign's
COLLECTOR = Path(__file__).parent.parent
# All that makes a proof: what is given and how it is standardised, the reference, the evidence and how it is judged.
GATE_CODE = (
    "gate",
    "reference",
    "protocol",
    "datasets",
    "run/inputs.py",
    "plan/listed_forms.py",
    "plan/exceptions.toml",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class GateResult:
    """The rows of one gated entry, one per part."""

    key: GateKey
    rows: tuple[GateRow, ...]
    is_known: bool = False  # taken from the store: nothing has changed since

    @property
    def passed(self) -> bool:
        """Whether every part passed."""
        return all(row.passed for row in self.rows)

    @property
    def unsupported(self) -> str:
        """Why the runner says that it cannot do this here; empty when it can."""
        return next((row.found.removeprefix(UNSUPPORTED) for row in self.rows if row.found.startswith(UNSUPPORTED)), "")

    @property
    def failure(self) -> str:
        """The first part that failed in words; empty when all passed, or the runner cannot do it here."""
        row = next((row for row in self.rows if not row.passed), None)
        if row is None or self.unsupported:
            return ""
        if row.part == "run":
            return f"the gate's run did not end well: {row.found}"
        error = "not comparable" if row.error is None else f"error {row.error:.3g}"
        cause = f" Likely cause: {row.cause}." if row.cause else ""
        return (
            f"gate part {row.part}: {row.quantity} differs: found {row.found}, expected {row.expected} "
            f"({error}, tolerance {row.tolerance:.3g}).{cause}"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class GateSetting:
    """What the gate works with."""

    store: Store
    executor: Executor
    data: Callable[[str], DataFiles]  # data set name -> its verified files
    descriptions: Mapping[str, Description]  # of the runners that are available
    runners: Path = RUNNERS

    @property
    def folder(self) -> Path:
        """Where inputs and the output of failures lie."""
        return self.store.path / "gates"


def gate_entries(
    proofs: Mapping[GateKey, Proof], setting: GateSetting, tell: Callable[[str], None]
) -> dict[GateKey, GateResult]:
    """Do every proof whose runner is available: from the store where nothing has changed, else by running it.

    Raises
    ------
    InterruptedCollectionError
        If the user pressed Ctrl-C; what was gated by then is stored.
    """
    wanted = {key: proof for key, proof in proofs.items() if key.entry.runner in setting.descriptions}
    results = read_known(wanted, setting)
    due = {key: proof for key, proof in wanted.items() if key not in results}
    try:
        for result in _gated(due, setting, tell):
            results[result.key] = result
            outcome = result.failure or (f"{UNSUPPORTED}{result.unsupported}" if result.unsupported else "passed")
            tell(f"gate {len(results)} of {len(wanted)}: {result.key}: {outcome}")
    finally:
        append_gates(setting.store, [result for result in results.values() if not result.is_known], campaign_id="")
    _remove_inputs(due, results, setting)
    return {key: _with_base(results[key], wanted, results) for key in wanted}


def run_discarded(
    proofs: Mapping[GateKey, Proof],
    gates: Mapping[GateKey, GateResult],
    setting: GateSetting,
    tell: Callable[[str], None],
) -> None:
    """Run one proof of each entry whose proofs were all known, for the page cache alone: its result is discarded."""
    fresh = {result.key.entry for result in gates.values() if not result.is_known}
    known = {key.entry: key for key in proofs if key in gates and key.entry not in fresh}
    due = {key: proofs[key] for key in known.values()}
    discarded = {}
    for result in _gated(due, setting, tell) if due else ():
        discarded[result.key] = result
        tell(f"discarded run {len(discarded)} of {len(due)}: {result.key}")
    _remove_inputs(due, discarded, setting)


def append_gates(store: Store, results: Sequence[GateResult], campaign_id: str) -> None:
    """Append the rows of results, for a campaign or, when empty, as what is known of the entries."""
    rows = [replace(row, campaign_id=campaign_id) for result in results for row in result.rows]
    if rows:
        batch = content_hash(campaign_id, datetime.now(UTC).isoformat(), *(row.gate_id for row in rows))
        store.append(f"gates-{batch}", rows, day=datetime.now(UTC).date())


def read_known(proofs: Mapping[GateKey, Proof], setting: GateSetting) -> dict[GateKey, GateResult]:
    """Return the results that the store has for exactly this: same runner, versions, workload and gate; passed only."""
    ids = {gate_id(key, proof, setting): key for key, proof in proofs.items()}
    rows: dict[GateKey, dict[str, GateRow]] = defaultdict(dict)
    found = setting.store.rows(KNOWN, [list(ids)])
    for row in (GateRow(**dict(zip(found.columns, values, strict=True))) for values in found.values):
        rows[ids[row.gate_id]][row.part] = row
    known = {key: GateResult(key=key, rows=tuple(parts.values()), is_known=True) for key, parts in rows.items()}
    return {key: result for key, result in known.items() if result.passed}


def gate_id(key: GateKey, proof: Proof, setting: GateSetting) -> str:
    """Return a hash of everything that the result of gating `key` depends on."""
    runner = read_runner(key.entry.runner, setting.runners)
    versions = json.dumps(dict(setting.descriptions[key.entry.runner].versions), sort_keys=True)
    return content_hash(
        read_fingerprint(runner, setting.runners),
        versions,
        str(key),
        proof.parts,
        str(proof.cell.threads),
        gate_content(proof.cell.workload),
    )


def gate_content(workload: Workload) -> str:
    """Return a hash of the work that the gate gives for `workload`, and of the code that lays it out and judges it."""
    asked = workload.model_dump(
        mode="json", include={"dataset", "model", "parameters", "loss", "optimizer"}, exclude_none=True
    )
    return content_hash(json.dumps(asked, sort_keys=True), read_gate_code())


@cache
def read_gate_code(collector: Path = COLLECTOR) -> str:
    """Return a hash of the code and the listed forms that a proof is made with."""
    return code_hash(collector, GATE_CODE)


def inputs_folder(workload: Workload, setting: GateSetting) -> Path:
    """Return where the gate's work for `workload` lies."""
    return setting.folder / f"inputs-{gate_content(workload)}"


def _gated(due: Mapping[GateKey, Proof], setting: GateSetting, tell: Callable[[str], None]) -> Iterator[GateResult]:
    """Run what is due, several trials in one process where the runner can, and yield each result as it is judged."""
    workloads = {gate_content(proof.cell.workload): proof.cell.workload for proof in due.values()}
    _write_inputs(list(workloads.values()), setting, tell)
    again: dict[GateKey, Proof] = {}
    for batch, ending in _run_batches(_batches(due, setting), setting):
        if ending.status == "interrupted":
            raise InterruptedCollectionError
        for key in batch:
            if len(batch) > 1 and not _is_finished(_output(key, setting)):
                again[key] = due[key]  # an earlier trial may have taken the process with it
            else:
                yield _judged(key, due[key], ending, setting)
    for (key,), ending in _run_batches([{key: proof} for key, proof in again.items()], setting):
        if ending.status == "interrupted":
            raise InterruptedCollectionError
        yield _judged(key, again[key], ending, setting)


def _write_inputs(workloads: Sequence[Workload], setting: GateSetting, tell: Callable[[str], None]) -> None:
    """Compute what the reference makes of each workload, one process for each core."""
    tell(f"computing the float64 reference of {len(workloads)} workloads")
    work = [(w, setting.data(w.dataset), inputs_folder(w, setting)) for w in workloads]
    if len(work) <= 1:
        for arguments in work:
            _write_one(*arguments)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(len(os.sched_getaffinity(0)), mp_context=context) as pool:
        futures = {pool.submit(_write_one, *arguments): arguments[0] for arguments in work}
        for number, future in enumerate(as_completed(futures), start=1):
            future.result()
            workload = futures[future]
            tell(f"reference {number} of {len(work)}: {workload.name} ({workload.optimizer.label})")


def _write_one(workload: Workload, data: DataFiles, inputs: Path) -> None:
    with threadpool_limits(1):  # two BLAS threads beside a busy core wait for each other
        write_gate_inputs(workload, data, inputs)


def _batches(due: Mapping[GateKey, Proof], setting: GateSetting) -> list[dict[GateKey, Proof]]:
    """Return what one process each works on: the same entry, device, dtype and threads, where its runner can."""
    batches: dict[tuple[object, ...], dict[GateKey, Proof]] = defaultdict(dict)
    for key, proof in due.items():
        together = read_runner(key.entry.runner, setting.runners).gates_in_one_process
        shared = (key.entry, key.device, key.dtype, proof.cell.threads)
        batches[shared if together else (key, proof.cell.threads)][key] = proof
    return sorted(batches.values(), key=len, reverse=True)


def _run_batches(
    batches: Sequence[dict[GateKey, Proof]], setting: GateSetting
) -> Iterator[tuple[dict[GateKey, Proof], Ending]]:
    by_threads: dict[int, list[dict[GateKey, Proof]]] = defaultdict(list)
    for batch in batches:
        by_threads[next(iter(batch.values())).cell.threads].append(batch)
    for threads, alike in by_threads.items():
        launches = [_prepare(batch, threads, setting) for batch in alike]
        for number, ending in setting.executor.execute_together(launches, threads):
            yield alike[number], ending


def _prepare(batch: Mapping[GateKey, Proof], threads: int, setting: GateSetting) -> Launch:
    """Write the trial files of a batch and return what is started."""
    folders = []
    for key, proof in batch.items():
        output, cell = _output(key, setting), proof.cell
        data, inputs = setting.data(cell.workload.dataset), inputs_folder(cell.workload, setting)
        shutil.rmtree(output, ignore_errors=True)
        output.mkdir(parents=True)
        trial = gate_trial(key.entry, cell, data, inputs, output, parts=proof.parts)
        write_trial(trial, output / "trial.json")
        folders.append(output)
    entry = next(iter(batch)).entry
    runner = read_runner(entry.runner, setting.runners)
    return Launch(
        command=resolve_command(runner, threads=threads, variant=entry.variant, folder=setting.runners),
        environment=runner_environment(runner, threads=threads),
        folder=folders[0],
        cores=(),  # given by the executor
        timeout_s=TIMEOUT_S * len(batch),
        trial_folders=folders,
    )


def _output(key: GateKey, setting: GateSetting) -> Path:
    parts = (key.entry.runner, key.entry.variant, key.workload, key.optimizer, key.device, key.dtype, key.loader)
    return setting.folder / "-".join(parts)


def _is_finished(output: Path) -> bool:
    try:
        return read_events(output / "events.jsonl")[-1].kind in ("run_stop", "unsupported")
    except EventError:
        return False


def _judged(key: GateKey, proof: Proof, ending: Ending, setting: GateSetting) -> GateResult:
    """Return the result of one trial; its files are kept where it failed."""
    output, runner = _output(key, setting), read_runner(key.entry.runner, setting.runners)
    checks = _checks(key, proof, ending, runner, setting)
    description, identity = setting.descriptions[runner.name], gate_id(key, proof, setting)
    rows = tuple(_row(key, check, identity, description) for check in worst_of_parts(checks))
    result = GateResult(key=key, rows=rows)
    if result.passed:
        shutil.rmtree(output)
    return result


def _checks(key: GateKey, proof: Proof, ending: Ending, runner: Runner, setting: GateSetting) -> list[Check]:
    output, workload = _output(key, setting), proof.cell.workload
    if not _is_finished(output):
        return [_failed_run(f"{ending.status}: {ending.message}")]
    events = read_events(output / "events.jsonl")
    if events[-1].kind == "unsupported":
        return [_failed_run(f"{UNSUPPORTED}{events[-1].message}")]
    parameters = next((event.parameters for event in events if event.kind == "build_stop"), None)
    evidence = read_evidence(workload, setting.data(workload.dataset), inputs_folder(workload, setting), output)
    exceptions = runner.exceptions_of(key.entry.variant)
    return judge(evidence, parts=proof.parts, parameters=parameters, dtype=key.dtype, exceptions=exceptions)


def _failed_run(found: str) -> Check:
    return Check(part="run", quantity="ending", expected="completed", found=found, error=np.inf, tolerance=0.0)


def worst_of_parts(checks: Sequence[Check]) -> list[Check]:
    """Return the check of each part that came closest to its tolerance or passed it furthest."""
    parts = dict.fromkeys(check.part for check in checks)
    return [max((c for c in checks if c.part == part), key=lambda check: check.strain) for part in parts]


def _row(key: GateKey, check: Check, identity: str, description: Description) -> GateRow:
    return GateRow(
        gate_id=identity,
        campaign_id="",
        runner=key.entry.runner,
        variant=key.entry.variant,
        workload=key.workload,
        optimizer=key.optimizer,
        device=key.device,
        dtype=key.dtype,
        loader=key.loader,
        versions=json.dumps(dict(description.versions), sort_keys=True),
        **check_columns(check),
    )


def check_columns(check: Check) -> dict[str, Any]:
    """Return the columns of a gate's row that a check fills, as of now."""
    return {
        "part": check.part,
        "passed": check.passed,
        "quantity": check.quantity,
        "expected": check.expected,
        "found": check.found,
        "error": check.error if np.isfinite(check.error) else None,
        "tolerance": check.tolerance,
        "cause": check.cause,
        "exceptions": check.exception,
        "gated_at": datetime.now(UTC),
    }


def _with_base(
    result: GateResult, proofs: Mapping[GateKey, Proof], results: Mapping[GateKey, GateResult]
) -> GateResult:
    """Return the result; it has failed too where a proof that it builds on has."""
    key = proofs[result.key].builds_on
    if key is None:
        return result
    base = _with_base(results[key], proofs, results)
    optimizer, dtype = result.key.optimizer, result.key.dtype
    failed = tuple(replace(row, optimizer=optimizer, dtype=dtype) for row in base.rows if not row.passed)
    return replace(result, rows=(*failed, *result.rows))  # the base first: what fails there fails here because of it


def _remove_inputs(due: Mapping[GateKey, Proof], results: Mapping[GateKey, GateResult], setting: GateSetting) -> None:
    """Remove the gate's work where nobody failed on it: it is large, and can be computed again."""
    failed = {inputs_folder(due[key].cell.workload, setting) for key in due if not results[key].passed}
    for folder in {inputs_folder(proof.cell.workload, setting) for proof in due.values()} - failed:
        shutil.rmtree(folder, ignore_errors=True)


def competing_cells(cells: Sequence[Cell], left_out: Mapping[GateKey, str]) -> list[Cell]:
    """Return the cells with the entries that may compete; a cell without its baseline or a rival is dropped."""
    kept = []
    for cell in cells:
        rivals = tuple(entry for entry in cell.candidates if gate_key(entry, cell) not in left_out)
        if gate_key(cell.baseline, cell) not in left_out and (rivals or not cell.candidates):
            kept.append(replace(cell, candidates=rivals))
    return kept
