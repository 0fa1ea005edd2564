"""What `deadheat gate` proves: every chosen entry on every workload it supports, in every form that it offers."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

from rich.table import Column, Table

from collector.gate.prove import GateResult
from collector.plan.axes import Change, effective_workload
from collector.plan.matrix import Cell, MatrixError, reason_unsupported
from collector.plan.runner import Entry, known_runners, read_entry, read_runner
from collector.plan.workload import OPTIMIZERS, Workload, known_workloads, read_workload

# Optimizers, loaders and precision know nothing of the model: one network without batch norm and one with it are
# enough here; what a suite asks beyond that is proved before it is run.
EVERY_FORM = ("mnist_lenet", "cifar10_cnn")


def gate_matrix(runners: str, workloads: str, *, device: str = "cpu") -> list[Cell]:
    """Return a cell for each thing to prove; runners and workloads are names separated by commas, empty: all.

    Raises
    ------
    MatrixError
        If none of the chosen runners supports any of the chosen workloads.
    """
    entries = [read_entry(name) for name in runners.split(",")] if runners else list(_known_entries())
    named = [read_workload(name) for name in (workloads.split(",") if workloads else known_workloads())]
    chosen = [workload for workload in named if workload.track == "closed"]  # a study's own recipe is never gated
    cells = [cell for entry in entries for workload in chosen for cell in _cells(entry, workload, device)]
    if not cells:
        raise MatrixError(
            f"gate: none of {', '.join(map(str, entries))} supports any of {', '.join(w.name for w in named)} on "
            f"{device}; expected at least one that can be proved. Name others; deadheat runners lists them."
        )
    return cells


def _known_entries() -> Iterator[Entry]:
    for name in known_runners():
        for variant in read_runner(name).variants:
            yield Entry(name, variant)


def _cells(entry: Entry, workload: Workload, device: str) -> Iterator[Cell]:
    runner = read_runner(entry.runner)
    offered = runner.offers(entry.variant)
    own = (workload.optimizer.label, offered["dtype"][0], offered["loader"][0])
    every = itertools.product([own[0], *OPTIMIZERS], offered["dtype"], offered["loader"])
    for optimizer, dtype, loader in dict.fromkeys(every) if workload.name in EVERY_FORM else [own]:
        if sum(form != usual for form, usual in zip((optimizer, dtype, loader), own, strict=True)) > 1:
            continue  # one thing different at a time
        changed = effective_workload(workload, Change(mode="steps", steps=1, optimizer=optimizer))
        cell = alone(entry, changed, device=device, dtype=dtype, loader=loader)
        if not reason_unsupported(cell, entry, runner) and (dtype != "tf32" or device == "cuda"):
            yield cell


def alone(
    entry: Entry, workload: Workload, *, device: str = "cpu", dtype: str = "fp32", loader: str = "resident"
) -> Cell:
    """Return a cell in which one entry is alone, on one thread and at the workload's own batch size."""
    return Cell(
        workload=workload,
        device=device,
        dtype=dtype,
        batch_size=workload.batch_size,
        threads=1,
        loader=loader,
        loader_workers=0,
        epochs=1,
        baseline=entry,
        candidates=(),
        heats=1,
    )


def gate_table(results: Sequence[GateResult]) -> Table:
    """Return the gate's matrix: entries down, workloads across, and how many proofs each entry was asked for."""
    workloads = sorted({result.key.workload for result in results})
    folded = (Column(name, overflow="fold") for name in workloads)
    table = Table(Column("entry", no_wrap=True), *folded, Column("proofs", justify="right", no_wrap=True))
    for entry in sorted({result.key.entry for result in results}):
        mine = [result for result in results if result.key.entry == entry]
        verdicts = (_verdict([r for r in mine if r.key.workload == name]) for name in workloads)
        table.add_row(str(entry), *verdicts, str(len(mine)))
    return table


def gate_notes(results: Sequence[GateResult]) -> list[str]:
    """Return what the matrix leaves out: failures, what cannot be done here, and forms that are listed exceptions."""
    failures = [f"FAIL {result.key}: {result.failure}" for result in results if result.failure]
    reasons = [f"unsupported: {result.key}: {result.unsupported}" for result in results if result.unsupported]
    forms = {(str(result.key.entry), row.exceptions) for result in results for row in result.rows if row.exceptions}
    known = sum(result.is_known for result in results)
    summary = f"{len(results)} proofs, {known} of them known from before; * in a form listed in exceptions.toml"
    return [*failures, *reasons, *(f"* {entry}: {form}" for entry, form in sorted(forms)), summary]


def _verdict(results: Sequence[GateResult]) -> str:
    """Return what became of the proofs of an entry on a workload, in as few letters as a narrow terminal has."""
    tried = [result for result in results if not result.unsupported]
    if not tried:
        return "-"
    failed = [result for result in tried if not result.passed]
    if failed:
        parts = sorted({row.part for result in failed for row in result.rows if not row.passed})
        return f"FAIL {','.join(parts)}"
    return "ok*" if any(row.exceptions for result in tried for row in result.rows) else "ok"
