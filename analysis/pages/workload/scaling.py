"""What more threads, more workers or larger batches gain: speed-ups, and the laws that describe them (pure)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pandas as pd

from analysis.pages.workload.sweeps import AXES, THROUGHPUT, Sweep, sweep_points
from analysis.rendering import tables
from analysis.rendering.tables import Table
from analysis.statistics.paired import Interval
from analysis.statistics.scaling_laws import (
    FEWEST_PLACES,
    FEWEST_PLACES_OF_AMDAHL,
    Law,
    UniversalLaw,
    amdahl,
    efficiencies,
    preference,
    speed_ups,
    universal_law,
)

COUNTED = ("threads", "loader_workers")  # axes of which more of the same work side by side; a batch is no worker
LAW_COLUMNS = ("entry", "Amdahl: serial share", "universal: contention", "coherency", "fastest with", "described by")


def scaling_tables(sweep: Sweep) -> list[Table]:
    """Return the speed-ups along an axis, and the laws fitted where the axis counts; none of throughputs."""
    if sweep.quantities[0] is THROUGHPUT:
        return []
    laws = [laws_table(sweep)] if sweep.axis in COUNTED else []
    return [speed_up_table(sweep), *laws]


def speed_up_table(sweep: Sweep) -> Table:
    """Return the speed-up of each entry against the first place of the axis, of threads with its efficiency."""
    points = sweep_points(sweep, sweep.quantities[0])
    rows = []
    for label, mine in points.groupby("label", sort=False):
        found = dict(zip(mine["x"], _gained(sweep.axis, list(mine["x"]), list(mine["y"])), strict=True))
        places = (getattr(cell.cell, sweep.axis) for cell in sweep.cells)
        rows.append((label, *(found.get(place, tables.NOTHING) for place in places)))
    columns = ("entry", *(str(getattr(mine.cell, sweep.axis)) for mine in sweep.cells))
    efficiency = ", in brackets its efficiency" if sweep.axis == "threads" else ""
    first = "smallest batch size" if sweep.axis == "batch_size" else f"fewest {AXES[sweep.axis]}"
    caption = f"Speed-up against an entry's {first}{efficiency} ({sweep.rest})"
    return Table(caption=caption, columns=columns, rows=rows, numeric=columns[1:])


def laws_table(sweep: Sweep) -> Table:
    """Return Amdahl's and Gunther's laws of each entry, or in words why there is none."""
    points = sweep_points(sweep, sweep.quantities[0])
    rows = []
    for label in dict.fromkeys(points["label"]):
        runs = _runs_along(sweep, str(label))
        rows.append((label, *law_cells(list(runs["place"]), list(runs["seconds"]), AXES[sweep.axis])))
    caption = (
        f"Laws of scaling with {AXES[sweep.axis]}, fitted to every run, 95 % intervals in brackets; the law with the "
        f"smaller corrected Akaike criterion describes better ({sweep.rest})"
    )
    return Table(
        caption=caption, columns=LAW_COLUMNS, rows=rows, numeric=LAW_COLUMNS[1:-1], prose=("described by",)
    )  # fmt: skip


def law_cells(places: Sequence[float], seconds: Sequence[float], axis: str) -> tuple[str, ...]:
    """Return both laws as cells of a table; where the places are too few, the last one says so.

    >>> law_cells([1, 1, 2, 2], [4.0, 4.1, 2.0, 2.1], "threads")[-1]
    "neither: 2 places; Amdahl's law needs 3 and a run more, the universal law 4 and a run more"
    """
    law = amdahl(places, seconds) if len(places) else None
    universal = universal_law(places, seconds) if len(places) else None
    serial = _share(law.serial, law.serial_interval) if law else tables.NOTHING
    if universal is None or law is None:
        return serial, *[tables.NOTHING] * 3, _missing(len(set(places)), law)
    return (
        serial,
        _share(universal.contention, universal.contention_interval),
        _share(universal.coherency, universal.coherency_interval, digits=3),
        f"{universal.fastest:.0f} {axis}" if universal.fastest <= max(places) else f"beyond {max(places):g} {axis}",
        _better(law, universal),
    )


def _missing(places: int, law: Law | None) -> str:
    counted = tables.count(places, "place")
    if law is None:
        return (
            f"neither: {counted}; Amdahl's law needs {FEWEST_PLACES_OF_AMDAHL} and a run more, the universal law "
            f"{FEWEST_PLACES} and a run more"
        )
    return f"Amdahl's law; the universal law needs {FEWEST_PLACES} places and a run more, here are {counted}"


def _better(law: Law, universal: UniversalLaw) -> str:
    gain = preference(law, universal)
    if gain > 0:
        return f"the universal law (by {gain:.1f})"
    return f"Amdahl's law (by {-gain:.1f})" if math.isfinite(gain) else "Amdahl's law: too few runs for the other"


def _gained(axis: str, places: Sequence[float], seconds: Sequence[float]) -> list[str]:
    ups = speed_ups(places, seconds)
    if axis != "threads":
        return [f"{up:.2f} ×" for up in ups]
    return [f"{up:.2f} × ({100 * each:.0f} %)" for up, each in zip(ups, efficiencies(places, seconds), strict=True)]


def _runs_along(sweep: Sweep, label: str) -> pd.DataFrame:
    """Return the seconds of every run of an entry at each place from 1 on: columns `place`, `seconds`."""
    quantity, parts = sweep.quantities[0], []
    for mine in sweep.cells:
        runs = mine.measured[mine.measured["entry"].map(mine.labels) == label]
        known = quantity.of(runs).dropna()
        parts.append(pd.DataFrame({"place": float(getattr(mine.cell, sweep.axis)), "seconds": known[known > 0]}))
    found = pd.concat(parts)
    return found[found["place"] >= 1]


def _share(value: float, interval: Interval, digits: int = 1) -> str:
    low, high = 100 * interval.low, 100 * interval.high
    return f"{100 * value:.{digits}f} % ({low:.{digits}f} to {high:.{digits}f})"
