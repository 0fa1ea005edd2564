"""What is read while a run is under way: the Source protocol and the Reading it gives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """One telemetry observation; None where nothing could be read, never a zero."""

    at_ns: int  # CLOCK_MONOTONIC of the collector
    source: str
    scope: str  # run, machine or device
    quality: str  # exact, sampled, modelled or unavailable
    cpu_s: float | None  # running total
    memory_bytes: int | None  # current value


class Source(Protocol):
    """Something that can be read again and again while a run is under way."""

    def read(self) -> Reading | None:
        """Return one observation, or None when there is nothing left to observe."""
        ...
