"""CPU seconds and resident memory of a process and everything that descends from it, read from outside.

procfs is read directly, not through psutil: one small file per process tells parent, session, CPU seconds, memory and
start, where psutil reads three and every process of the machine each time.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from collector.telemetry import Reading
from collector.telemetry.machine import PAGE_BYTES, PROCFS, TICK_S

RESCAN_S = 1.0  # how long a process that is not the run's is taken to be none of it: process ids come back


@dataclass(frozen=True, slots=True)
class ProcessStat:
    """What /proc/PID/stat says of one process."""

    pid: int
    state: str
    parent: int
    session: int
    own_cpu_s: float
    children_cpu_s: float  # of the children it has waited for, and of those that these had waited for
    started: int  # ticks since boot: with the process id, the identity of a process
    resident_bytes: int


def read_stat(procfs: Path, pid: int) -> ProcessStat | None:
    """Return what the kernel says of process `pid`; None for one that is gone or not ours to read."""
    try:
        text = (procfs / str(pid) / "stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()
    if len(fields) < 22:
        return None
    own, children = int(fields[11]) + int(fields[12]), int(fields[13]) + int(fields[14])
    resident_bytes = int(fields[21]) * PAGE_BYTES
    return ProcessStat(
        pid, fields[0], int(fields[1]), int(fields[3]), own * TICK_S, children * TICK_S, int(fields[19]), resident_bytes
    )


@dataclass(slots=True)
class _Known:
    """One process of the run.

    A child that dies goes over into what its parent has waited for, at once, later or (where nobody waits) never.
    So a parent counts for whichever is larger: what it has waited for since it was first seen, or what its children
    had used when they were last seen alive.
    """

    stat: ProcessStat
    inherited_cpu_s: float = field(init=False)  # of children that were gone when the process was first seen
    dead_children_cpu_s: float = 0.0

    def __post_init__(self) -> None:
        self.inherited_cpu_s = self.stat.children_cpu_s

    @property
    def cpu_s(self) -> float:
        waited_s = self.stat.children_cpu_s - self.inherited_cpu_s
        return self.stat.own_cpu_s + self.inherited_cpu_s + max(waited_s, self.dead_children_cpu_s)


class ProcessTreeSource:
    """Reads a process, its descendants and all processes of its session; one that has left them is followed further.

    The CPU seconds never fall. What they cannot hold are processes born and gone between two readings for which
    no process of the run waited. The memory is a sum of resident sets: shared pages count once per process.

    Parameters
    ----------
    pid
        The root of the tree.
    procfs
        Where procfs is mounted.
    with_cpu
        Whether CPU seconds are read too; where a group accounts for them they are not.
    """

    def __init__(self, pid: int, procfs: Path = PROCFS, *, with_cpu: bool = True) -> None:
        self._procfs, self._root, self._with_cpu = procfs, pid, with_cpu
        self._known: dict[int, _Known] = {}
        self._foreign: set[int] = set()
        self._forget_at_s = 0.0
        self._gone_cpu_s = self._cpu_s = 0.0
        root = read_stat(procfs, pid)
        self._was_there = root is not None
        self._leads_session = root is not None and root.session == pid
        if root is not None:
            self._known[pid] = _Known(root)

    def read(self, edge: str = "") -> Sequence[Reading]:
        """Return one reading of the run's processes; none when the last has ended."""
        at_ns = time.monotonic_ns()
        if not self._was_there:
            self._was_there = True  # said once
            reason = f"{self._procfs / str(self._root)}: no such process, or not ours to read"
            return (
                Reading(
                    at_ns=at_ns, source="process_tree", scope="run", quality="unavailable", edge=edge, reason=reason
                ),
            )
        self._update()
        alive = [known.stat for known in self._known.values() if known.stat.state != "Z"]
        if not alive:
            return ()
        self._cpu_s = max(self._cpu_s, self._gone_cpu_s + sum(known.cpu_s for known in self._known.values()))
        reading = Reading(
            at_ns=at_ns,
            source="process_tree",
            scope="run",
            quality="sampled",
            edge=edge,
            cpu_s=self._cpu_s if self._with_cpu else None,
            memory_bytes=sum(stat.resident_bytes for stat in alive) or None,  # one that is just ending holds nothing
            processes=len(alive),
        )
        return (reading,)

    def read_pids(self) -> list[int]:
        """Return the processes of the run that are alive now."""
        self._update()
        return [pid for pid, known in self._known.items() if known.stat.state != "Z"]

    def close(self) -> None:
        """Nothing is held open."""

    def _update(self) -> None:
        """Read known processes, parents before children: a child then never counts in both, should it just die."""
        gone = [pid for pid, known in list(self._known.items()) if not self._refresh(pid, known)]
        for pid in reversed(gone):
            known = self._known.pop(pid)
            parent = self._known.get(known.stat.parent)
            if parent is None:
                self._gone_cpu_s += known.cpu_s
            else:
                parent.dead_children_cpu_s += known.cpu_s
        # A process id is free again only when nobody is left in the session that it names.
        self._leads_session &= any(known.stat.session == self._root for known in self._known.values())
        found = {stat.pid: stat for stat in self._unknown()}
        while joined := [stat for stat in found.values() if self._belongs(stat)]:
            for stat in joined:
                self._known[stat.pid] = _Known(found.pop(stat.pid))
        self._foreign.update(found)

    def _refresh(self, pid: int, known: _Known) -> bool:
        stat = read_stat(self._procfs, pid)
        if stat is None or stat.started != known.stat.started:
            return False
        known.stat = stat
        return True

    def _belongs(self, stat: ProcessStat) -> bool:
        return stat.parent in self._known or (self._leads_session and stat.session == self._root)

    def _unknown(self) -> Iterator[ProcessStat]:
        if time.monotonic() >= self._forget_at_s:
            self._foreign.clear()
            self._forget_at_s = time.monotonic() + RESCAN_S
        pids = {int(path.name) for path in self._procfs.iterdir() if path.name.isdigit()}
        self._foreign &= pids
        for pid in sorted(pids - self._foreign - self._known.keys()):  # parents first, as above
            stat = read_stat(self._procfs, pid)
            if stat is not None:
                yield stat
