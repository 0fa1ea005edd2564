"""Energy of the phases of a run, from counters read at their edges (pure)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from collector.telemetry import Reading
from store.records import PhaseRow

# A window must be long against the period in which its counter advances: docs/explanation/telemetry.md.
MIN_DEVICE_WINDOW_S = 5.0
MIN_DEVICE_UPDATES = 50
MIN_CPU_WINDOW_S = 1.0
MAX_GAP_S = 0.25  # between the two readings beside an edge; a larger one is a gap, and nothing is guessed across it


def with_energy(phases: Sequence[PhaseRow], readings: Sequence[Reading], spawned_ns: int) -> list[PhaseRow]:
    """Return the phases with the energy of all devices and all CPU packages, None where it cannot be told."""
    devices = sorted({reading.device_index for reading in readings if reading.device_index is not None})
    counters = [_Counter([r for r in readings if r.device_index == index], spawned_ns) for index in devices]
    packages = _Counter([reading for reading in readings if reading.source == "rapl"], spawned_ns)
    return [
        replace(
            row,
            device_energy_j=_sum([_device_energy_j(counter, row) for counter in counters]),
            cpu_energy_j=packages.between(row) if row.duration_s >= MIN_CPU_WINDOW_S else None,
        )
        for row in phases
    ]


def _device_energy_j(counter: _Counter, row: PhaseRow) -> float | None:
    shortest_s = max(MIN_DEVICE_WINDOW_S, MIN_DEVICE_UPDATES * counter.period_s)
    return counter.between(row) if row.duration_s >= shortest_s else None


def _sum(energies_j: Sequence[float | None]) -> float | None:
    """Return the sum; one device that is not known makes the whole unknown."""
    known = [energy_j for energy_j in energies_j if energy_j is not None]
    return sum(known) if known and len(known) == len(energies_j) else None


class _Counter:
    """One energy counter over time."""

    def __init__(self, readings: Sequence[Reading], spawned_ns: int) -> None:
        known = [((r.at_ns - spawned_ns) / 1e9, r.energy_j) for r in readings if r.energy_j is not None]
        self._at_s = np.array([at_s for at_s, _ in known])
        self._energy_j = np.array([energy_j for _, energy_j in known])
        advances_s = self._at_s[1:][np.diff(self._energy_j) > 0]
        # How often the counter is seen to advance: its own period, or that of the readings where they are rarer.
        self.period_s = float(np.median(np.diff(advances_s))) if len(advances_s) > 1 else float("inf")

    def between(self, row: PhaseRow) -> float | None:
        """Return what the counter grew by in a phase; None without a reading on both sides of both edges."""
        edges_s = (row.start_s, row.start_s + row.duration_s)
        if any(self._gap_s(edge_s) > MAX_GAP_S for edge_s in edges_s):
            return None
        low, high = np.interp(edges_s, self._at_s, self._energy_j)
        return float(high - low)

    def _gap_s(self, at_s: float) -> float:
        after = int(np.searchsorted(self._at_s, at_s))
        if after < len(self._at_s) and self._at_s[after] == at_s:
            return 0.0
        if after in (0, len(self._at_s)):
            return float("inf")
        return float(self._at_s[after] - self._at_s[after - 1])
