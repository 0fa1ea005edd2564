"""What must be proved before cells may be ranked, which parts of the gate each proof has, and what it builds on.

A proof in another form than the workload's own, such as another optimizer, asks only for the parts that this form can
change. It counts together with the proof of the own form, on which it builds.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from collector.gate.evidence import EVERY_PART
from collector.plan.matrix import Cell, reason_unsupported
from collector.plan.runner import RUNNERS, Entry, read_runner
from collector.plan.workload import WORKLOADS, read_workload

OF_PRECISION, OF_OPTIMIZER, OF_LOADER = "B", "CD", "L"


@dataclass(frozen=True, slots=True, order=True)
class GateKey:
    """What is gated: an entry on a workload, with one kind of optimizer, loader, device and dtype."""

    entry: Entry
    workload: str
    optimizer: str
    device: str
    dtype: str
    loader: str

    def __str__(self) -> str:
        loader = "" if self.loader == "resident" else f", {self.loader}"
        return f"{self.entry} on {self.workload} ({self.optimizer}, {self.device}, {self.dtype}{loader})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """One proof: in a cell that needs it, with the parts it asks for, and the proof it builds on."""

    cell: Cell
    parts: str
    builds_on: GateKey | None = None


def gate_key(entry: Entry, cell: Cell) -> GateKey:
    """Return what must be gated before `entry` may be ranked in `cell`."""
    return GateKey(entry, cell.workload.name, cell.workload.optimizer.label, cell.device, cell.dtype, cell.loader)


def proofs_of(
    cells: Iterable[Cell], *, workloads: Path = WORKLOADS, runners: Path = RUNNERS
) -> Mapping[GateKey, Proof]:
    """Return what must be proved before `cells` may be ranked; recipes as published are not gated."""
    proofs: dict[GateKey, Proof] = {}
    for cell in cells:
        for entry in (cell.baseline, *cell.candidates) if cell.workload.published is None else ():
            for key, proof in _chain(entry, cell, workloads, runners):
                proofs.setdefault(key, proof)
    return proofs


def _chain(entry: Entry, cell: Cell, workloads: Path, runners: Path) -> Iterator[tuple[GateKey, Proof]]:
    """Yield the proof of an entry in a cell, and those that it builds on."""
    foundation = _foundation(entry, cell, workloads, runners)
    if foundation is None:
        loader = OF_LOADER if cell.loader == "stream" else ""
        yield gate_key(entry, cell), Proof(cell=cell, parts=EVERY_PART + loader)
        return
    base, parts = foundation
    yield gate_key(entry, cell), Proof(cell=cell, parts=parts, builds_on=gate_key(entry, base))
    yield from _chain(entry, base, workloads, runners)


def _foundation(entry: Entry, cell: Cell, workloads: Path, runners: Path) -> tuple[Cell, str] | None:
    """Return the cell on whose proof that of `cell` builds, and the parts left to it; None where it stands alone."""
    if cell.dtype != "fp32":
        return replace(cell, dtype="fp32"), OF_PRECISION
    own = read_workload(cell.workload.name, workloads).optimizer
    if cell.workload.optimizer.label == own.label:
        return None
    base = replace(cell, workload=cell.workload.model_copy(update={"optimizer": own}))
    supported = not reason_unsupported(base, entry, read_runner(entry.runner, runners))
    return (base, OF_OPTIMIZER) if supported else None
