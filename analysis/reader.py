"""Reads the store once, for pages and terminal alike."""

from __future__ import annotations

from typing import TYPE_CHECKING

from analysis import frames, queries
from analysis.results import Measured, Results

if TYPE_CHECKING:
    from store.database import Store


def read_measured(store: Store) -> Measured:
    """Return the frames that findings are made of."""
    return Measured(
        runs=frames.read_counted_runs(store),
        epochs=frames.read_epochs(store),
        unavailable=frames.read_unavailable(store),
        gates=frames.read_gates(store),
    )


def read_results(store: Store) -> Results:
    """Return everything that pages are made of, except single readings."""
    measured = read_measured(store)
    return Results(
        measured=measured,
        findings=measured.findings(),
        runs=frames.read_runs(store),
        phases=frames.read_phases(store),
        measurements=frames.read_measurements(store),
        gates=frames.read_latest_gates(store),
        environments=frames.read_environments(store),
        aligned=store.query(queries.aligned_readings()),
    )
