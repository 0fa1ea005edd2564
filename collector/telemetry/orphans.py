"""Where a run has no group of its own: processes that it leaves behind are accounted for and ended by the collector."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Self

from collector.telemetry.machine import PROCFS
from collector.telemetry.process import ProcessStat, read_stat

PR_SET_CHILD_SUBREAPER = 36
END_TIMEOUT_S = 5.0
POLL_S = 0.002


class Orphans:
    """Has this process inherit the orphans of one run; use as a context manager, with `pid` set after the spawn.

    An orphan of the runner's session is known to be its. One that has left the session too is known only while no
    other run is under way; with several side by side it stays out of every account.
    """

    _under_way: ClassVar[set[Orphans]] = set()
    _lock: ClassVar[threading.Lock] = threading.Lock()

    def __init__(self) -> None:
        self.pid = 0

    def __enter__(self) -> Self:
        with self._lock:
            self._under_way.add(self)
            _adopt(adopt=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:
            self._under_way.discard(self)
            if not self._under_way:
                _adopt(adopt=False)

    def end(self) -> float:
        """Kill what the runner has left behind, and return the CPU seconds of all its orphans."""
        cpu_s, deadline_s = 0.0, time.monotonic() + END_TIMEOUT_S
        while (orphans := self._find()) and time.monotonic() < deadline_s:  # each may leave orphans of its own
            for orphan in orphans:
                with contextlib.suppress(OSError):
                    os.kill(orphan.pid, signal.SIGKILL)
                    pid, _, usage = os.wait4(orphan.pid, os.WNOHANG)
                    cpu_s += usage.ru_utime + usage.ru_stime if pid else 0.0
            time.sleep(POLL_S)
        return cpu_s

    def _find(self, procfs: Path = PROCFS) -> list[ProcessStat]:
        """Return the orphans: children of this process in another session; what it starts itself is in its own."""
        with self._lock:
            runners = {run.pid for run in self._under_way}
        stats = [read_stat(procfs, int(path.name)) for path in procfs.iterdir() if path.name.isdigit()]
        mine, session = os.getpid(), os.getsid(0)
        strays = [stat for stat in stats if stat and stat.parent == mine and stat.session != session]
        alone = runners == {self.pid}
        return [stat for stat in strays if stat.pid not in runners and (alone or stat.session == self.pid)]


def _adopt(*, adopt: bool) -> None:
    """Ask the kernel to make orphaned descendants children of this process, or no longer."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, int(adopt), 0, 0, 0)
