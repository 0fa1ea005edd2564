"""Energy of phases: from counters at their edges, and none where the window is short or has a gap."""

from __future__ import annotations

import pytest

from collector.run.energy import with_energy
from collector.telemetry import Reading
from store.records import PhaseRow
from tests.store.rows import row

SPAWNED_NS = 5_000_000_000


def counter(source: str, watts: float, *, stop_s: float = 20.0, period_s: float = 0.1, device: int | None = None):
    """Return readings every 0.1 s of a counter that advances every `period_s`."""
    times = [number / 10 for number in range(round(stop_s * 10) + 1)]
    return [
        Reading(
            at_ns=SPAWNED_NS + round(second * 1e9),
            source=source,
            scope="machine" if device is None else "device",
            quality="exact",
            device_index=device,
            energy_j=1000 + watts * period_s * int(second / period_s + 1e-9),
        )
        for second in times
    ]


def energies(readings, *windows: tuple[float, float]) -> list[tuple[float | None, float | None]]:
    phases = [row(PhaseRow, start_s=start, duration_s=stop - start) for start, stop in windows]
    return [(p.device_energy_j, p.cpu_energy_j) for p in with_energy(phases, readings, SPAWNED_NS)]


def test_counters_are_read_at_the_edges_of_a_phase():
    """100 W over 6 s on each of two devices, 50 W of the packages; edges between two readings too."""
    readings = [*counter("nvml", 100, device=0), *counter("nvml", 100, device=1), *counter("rapl", 50)]

    (device_j, cpu_j), (_, later_j) = energies(readings, (2.0, 8.0), (2.05, 8.0))

    assert device_j == pytest.approx(1200)
    assert cpu_j == pytest.approx(300)
    assert later_j == pytest.approx(297.5)


def test_a_window_too_short_for_its_counter_is_none():
    """5 s on a device, 1 s of the packages."""
    readings = [*counter("nvml", 100, device=0), *counter("rapl", 50)]

    assert energies(readings, (2.0, 6.9), (2.0, 2.9)) == [(None, pytest.approx(245)), (None, None)]


def test_a_slow_counter_needs_a_longer_window():
    """One that advances every 0.4 s gives 50 advances in 20 s."""
    readings = counter("nvml", 100, device=0, period_s=0.4, stop_s=40.0)

    (short_j, _), (long_j, _) = energies(readings, (2.0, 21.0), (2.0, 24.0))

    assert short_j is None
    assert long_j == pytest.approx(2200, rel=0.02)


def test_nothing_is_guessed_across_a_gap_or_beyond_the_readings():
    """A device lost from 4 s to 9 s, and readings that end at 20 s."""
    whole = counter("nvml", 100, device=0)
    gap = [reading for reading in whole if not 4 <= (reading.at_ns - SPAWNED_NS) / 1e9 <= 9]

    assert [device for device, _ in energies(gap, (2.0, 8.0), (10.0, 16.0), (14.0, 21.0))] == [
        None,
        pytest.approx(600),
        None,
    ]


def test_one_device_that_refuses_makes_the_sum_unknown():
    """Half of the energy is not the energy."""
    silent = Reading(at_ns=SPAWNED_NS, source="nvml", scope="device", quality="sampled", device_index=1)

    assert energies([*counter("nvml", 100, device=0), silent], (2.0, 8.0)) == [(None, None)]
    assert energies([], (2.0, 8.0)) == [(None, None)]
