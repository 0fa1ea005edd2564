"""Heats on this machine: the runner on its own cores, the collector on the others where there are any."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence

from collector.launch import Ending, Launch, launch_run


class LocalExecutor:
    """Runs each launch as a child process of the collector."""

    def __init__(self) -> None:
        self._cores = sorted(os.sched_getaffinity(0))

    def execute(self, launches: Sequence[Launch]) -> Iterator[Ending]:
        """Run the launches one after another, the collector out of their way."""
        for launch in launches:
            os.sched_setaffinity(0, set(self._cores) - set(launch.cores) or self._cores)
            try:
                yield launch_run(launch)
            finally:
                os.sched_setaffinity(0, self._cores)


def runner_cores(threads: int, available: Sequence[int]) -> tuple[int, ...]:
    """Return the cores of a runner with `threads` threads: the last ones, so that core 0 is left to the system."""
    return tuple(sorted(available)[-threads:])
