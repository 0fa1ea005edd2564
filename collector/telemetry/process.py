"""CPU seconds and resident memory of a process and all its descendants, read from outside."""

from __future__ import annotations

import time
from collections.abc import Sequence

import psutil

from collector.telemetry import Reading


class ProcessTreeSource:
    """Reads a process tree through psutil; handles are kept between readings, so that CPU time adds up.

    CPU seconds are those of the processes alive plus those of children that their parents have waited for.
    The memory is a sum of resident sets: pages shared between processes count once per process.
    """

    def __init__(self, pid: int) -> None:
        self._root = psutil.Process(pid)
        self._known: dict[int, psutil.Process] = {}

    def read(self, edge: str = "") -> Sequence[Reading]:
        """Return one reading of the tree, none when its root has ended."""
        at_ns = time.monotonic_ns()
        root = _read_process(self._root)
        if root is None:
            return ()
        others = [values for values in map(_read_process, self._descendants()) if values is not None]
        reading = Reading(
            at_ns=at_ns,
            source="process_tree",
            scope="run",
            quality="sampled",
            edge=edge,
            cpu_s=sum(cpu_s for cpu_s, _ in [root, *others]),
            memory_bytes=sum(memory for _, memory in [root, *others]),
            processes=1 + len(others),
        )
        return (reading,)

    def close(self) -> None:
        """Nothing is held open."""

    def _descendants(self) -> list[psutil.Process]:
        try:
            found = self._root.children(recursive=True)
        except psutil.Error:
            return []
        self._known = {p.pid: self._known.get(p.pid, p) for p in found}
        return list(self._known.values())


def _read_process(process: psutil.Process) -> tuple[float, int] | None:
    """Return CPU seconds (waited-for children included) and resident bytes; None for a process that is gone."""
    try:
        with process.oneshot():
            times = process.cpu_times()
            memory = process.memory_info().rss
            if process.status() == psutil.STATUS_ZOMBIE:
                return None
    except psutil.Error:
        return None
    return times.user + times.system + times.children_user + times.children_system, memory
