"""Heats on this machine: the runner on its own cores, the collector on the others where there are any."""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import replace

from collector.run.launch import Ending, Launch, launch_run


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

    def execute_together(self, launches: Sequence[Launch], threads: int) -> Iterator[tuple[int, Ending]]:
        """Run as many launches side by side as there are cores for `threads` each; yield them as they end."""
        width = max(1, len(self._cores) // threads)
        slots: queue.Queue[Sequence[int]] = queue.Queue()
        for number in range(width):
            slots.put(self._cores[number * threads : (number + 1) * threads])
        cancelled = threading.Event()

        def run(launch: Launch) -> Ending:
            cores = slots.get()
            try:
                return launch_run(replace(launch, cores=cores), cancelled)
            finally:
                slots.put(cores)

        with ThreadPoolExecutor(max_workers=width) as pool:
            numbers = {pool.submit(run, launch): number for number, launch in enumerate(launches)}
            try:
                for future in as_completed(numbers):
                    yield numbers[future], future.result()
            finally:  # Ctrl-C, or nobody asks for more
                cancelled.set()
                pool.shutdown(cancel_futures=True)


def runner_cores(threads: int, available: Sequence[int]) -> tuple[int, ...]:
    """Return the cores of a runner with `threads` threads: the last ones, so that core 0 is left to the system."""
    return tuple(sorted(available)[-threads:])
