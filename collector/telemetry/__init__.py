"""What is read while a run is under way: the Source protocol and the Reading it gives.

A source reads one scope: the run (its processes and all their descendants), the machine, or a device. Which sources
there are is chosen once per run by what the machine allows; one that cannot be had gives a single reading of quality
`unavailable` that says why.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """One telemetry observation; None where nothing could be read, never a zero.

    The fields after `reason` are those of `store.records.ReadingRow`, where each is documented with its unit.
    """

    at_ns: int  # CLOCK_MONOTONIC of the collector
    source: str  # cgroup_v2, cgroup_v1, process_tree, smaps_rollup, machine, nvml, rapl
    scope: str  # run, machine, device, or collector: what deadheat itself uses meanwhile
    quality: str  # exact, sampled, modelled or unavailable
    late_s: float | None = None  # after its place in the schedule; None for a reading at the edge of a phase
    edge: str = ""  # kind of the event at which it was taken; empty: on the schedule
    device_index: int | None = None
    reason: str = ""  # why the quality is unavailable, or why a field that belongs to the source is None
    cpu_s: float | None = None
    run_cores_cpu_s: float | None = None
    memory_bytes: int | None = None
    pss_bytes: int | None = None
    processes: int | None = None
    cpu_pressure_s: float | None = None
    steal_s: float | None = None
    throttled_s: float | None = None
    load_1min: float | None = None
    available_memory_bytes: int | None = None
    swapped_bytes: int | None = None
    clock_hz: float | None = None
    utilization_ratio: float | None = None
    run_memory_bytes: int | None = None
    foreign_processes: int | None = None
    power_w: float | None = None
    energy_j: float | None = None
    temperature_c: float | None = None
    throttle_reasons: str | None = None
    governor: str | None = None


class Source(Protocol):
    """Something that can be read again and again while a run is under way."""

    def read(self, edge: str = "") -> Iterable[Reading]:
        """Return what is there to observe now: none where the observed has ended, several for several devices.

        What is returned can be gone through once, at any time: it tells of the moment of this call.
        `edge` names the event at which a phase ends; empty for a reading on the schedule.
        """
        ...

    def close(self) -> None:
        """Give back what the source holds open."""
        ...
