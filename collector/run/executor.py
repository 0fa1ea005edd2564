"""Where a heat is executed: the protocol that local and cluster execution share."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

from collector.run.launch import Ending, Launch


class Executor(Protocol):
    """Runs the launches of one heat back to back on one machine."""

    def execute(self, launches: Sequence[Launch]) -> Iterator[Ending]:
        """Start each launch when the one before has ended; yield the endings in the same order."""
        ...

    def execute_together(self, launches: Sequence[Launch], threads: int) -> Iterator[tuple[int, Ending]]:
        """Run as many launches side by side as there are cores for `threads` each: for work that is not timed.

        Yields the number of each launch and its ending as they end. Ctrl-C ends all of them.
        """
        ...
