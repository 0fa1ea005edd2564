"""What the processes of a run take together when each shared page is divided among those that map it."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

from collector.telemetry import Reading
from collector.telemetry.machine import PROCFS

# The kernel walks every page for it: tens of milliseconds per gigabyte. So never on the train clock, nor right before
# it (compile_stop): where the build ends, at the first evaluation, and at the end. Once each.
PSS_EDGES = ("build_stop", "eval_start", "run_stop")
PSS = re.compile(r"^Pss:\s+(\d+) kB", re.MULTILINE)


class PssSource:
    """Reads smaps_rollup of every process of a run, at the edges in PSS_EDGES and never on the schedule.

    Parameters
    ----------
    pids
        Gives the processes of the run as they are now.
    procfs
        Where procfs is mounted.
    """

    def __init__(self, pids: Callable[[], Collection[int]], procfs: Path = PROCFS) -> None:
        self._pids, self._procfs = pids, procfs
        self._due = set(PSS_EDGES)

    def read(self, edge: str = "") -> Sequence[Reading]:
        """Return the sum over all processes; where one cannot be read there is none, and the reason."""
        if edge not in self._due:
            return ()
        self._due.remove(edge)
        at_ns = time.monotonic_ns()
        sizes = [self._read_pss(pid) for pid in self._pids()]
        known = [size for size in sizes if size is not None]
        missing = len(sizes) - len(known)
        if not sizes:
            reason = "the processes had ended"
        else:
            reason = f"{missing} of {len(sizes)} processes had ended or are not ours to read" if missing else ""
        return (
            Reading(
                at_ns=at_ns,
                source="smaps_rollup",
                scope="run",
                quality="unavailable" if reason else "exact",
                edge=edge,
                pss_bytes=None if reason else sum(known),
                processes=len(known),
                reason=reason,
            ),
        )

    def close(self) -> None:
        """Nothing is held open."""

    def _read_pss(self, pid: int) -> int | None:
        try:
            found = PSS.search((self._procfs / str(pid) / "smaps_rollup").read_text(encoding="ascii"))
        except OSError:
            return None
        return int(found[1]) * 1024 if found else None
