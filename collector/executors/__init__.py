"""Where a heat is executed: the protocol that local and cluster execution share."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

from collector.launch import Ending, Launch


class Executor(Protocol):
    """Runs the launches of one heat back to back on one machine."""

    def execute(self, launches: Sequence[Launch]) -> Iterator[Ending]:
        """Start each launch when the one before has ended; yield the endings in the same order."""
        ...
