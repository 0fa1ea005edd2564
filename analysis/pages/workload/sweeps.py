"""Cells that differ in one axis alone, side by side: what batch size, threads or loader workers change (pure)."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from analysis.findings.finding import Cell
from analysis.frames.columns import is_absent
from analysis.rendering import queries, tables
from analysis.rendering.axis_charts import Axes, axis_lines
from analysis.rendering.render import Chart
from analysis.rendering.tables import Table
from analysis.rendering.wording import cell_words, seconds
from analysis.results.cell_results import CellResults
from analysis.statistics.scaling_laws import Crossover, crossovers

AXES = {"batch_size": "batch size", "threads": "threads", "loader_workers": "loader workers"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantity:
    """A number of runs that is drawn along an axis: an expression of a metric's `value`, as in SQL."""

    name: str
    metric: str
    expression: str
    y_format: str = "~g"
    is_share: bool = False

    def of(self, runs: pd.DataFrame) -> pd.Series:
        """Return it of each run."""
        values = runs[self.metric].astype(float)
        if self.expression == "value":
            return values
        found: pd.Series = 1 / values if self.expression == "1 / value" else values / runs["train_clock_s"]
        return found


PER_EPOCH = Quantity(name="seconds per epoch", metric="train_s_per_epoch", expression="value")
PER_EXAMPLE = Quantity(name="seconds per example", metric="examples_per_s", expression="1 / value", y_format=".2~s")
WAIT_SHARE = Quantity(
    name="share of the train clock spent waiting for data",
    metric="data_wait_s",
    expression="value / train_clock_s",
    y_format=".0%",
    is_share=True,
)
THROUGHPUT = Quantity(name="examples per second", metric="infer_examples_per_s", expression="value", y_format="~s")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweep:
    """Cells of one workload that differ in one axis alone, in the order of its values."""

    axis: str
    cells: Sequence[CellResults]

    @property
    def quantities(self) -> list[Quantity]:
        """What is drawn: seconds, with loader workers the share of waiting too; throughput in mode infer."""
        first = {"train": PER_EPOCH, "steps": PER_EXAMPLE, "infer": THROUGHPUT}[self.cells[0].cell.mode]
        return [first, WAIT_SHARE] if self.axis == "loader_workers" else [first]

    @property
    def rest(self) -> str:
        """What is the same in all its cells, in words."""
        return cell_words(self.cells[0].cell, without=self.axis)


def find_sweeps(cells: Sequence[CellResults]) -> list[Sweep]:
    """Return every axis along which at least two of the cells lie with everything else the same."""
    found = []
    for axis in AXES:
        groups: dict[Cell, list[CellResults]] = {}
        for mine in cells:
            without: dict[str, Any] = {axis: 0}
            groups.setdefault(replace(mine.cell, **without), []).append(mine)
        found += [Sweep(axis=axis, cells=_along(group, axis)) for group in groups.values() if len(group) > 1]
    return found


def sweep_charts(sweep: Sweep, name: str) -> list[Chart]:
    """Return the charts of a sweep; none of what no run tells along the axis."""
    drawn = [(quantity, sweep_points(sweep, quantity)) for quantity in sweep.quantities]
    return [
        _chart(sweep, quantity, points, f"{name}-{quantity.metric.replace('_', '-')}")
        for quantity, points in drawn
        if points["x"].nunique() > 1
    ]


def sweep_points(sweep: Sweep, quantity: Quantity) -> pd.DataFrame:
    """Return the median of each entry at each place of the axis: columns `label`, `x`, `y`."""
    rows = []
    for mine in sweep.cells:
        medians = quantity.of(mine.measured).groupby(mine.measured["entry"]).median().dropna()
        place = getattr(mine.cell, sweep.axis)
        rows += [(mine.label(entry), place, medians[entry]) for entry in mine.entries if entry in medians.index]
    return pd.DataFrame(rows, columns=["label", "x", "y"])


def sweep_tables(sweep: Sweep) -> list[Table]:
    """Return the medians as numbers: a row per entry, a column per place of the axis."""
    return [_table(sweep, quantity, sweep_points(sweep, quantity)) for quantity in sweep.quantities]


def sweep_words(sweep: Sweep) -> list[str]:
    """Return where one entry overtakes another along the axis, by the medians at its places."""
    points = sweep_points(sweep, sweep.quantities[0])
    wide = points.pivot_table(index="x", columns="label", values="y", sort=True)
    found: list[str] = []
    for one, other in itertools.combinations(wide.columns, 2):
        both = wide[[one, other]].dropna()
        both = both[(both.index > 0) & (both > 0).all(axis=1)]  # no workers is no place on a log axis
        found += [
            f"{one} and {other} change places between {_places(sweep.axis, turn)} "
            f"(at about {turn.at:.3g} if the lines are straight there)."
            for turn in crossovers(list(both.index), list(both[one]), list(both[other]))
        ]
    return found


def _places(axis: str, turn: Crossover) -> str:
    """Return two places of an axis: "1 and 2 threads", "batch sizes 32 and 128"."""
    between = f"{turn.low:g} and {turn.high:g}"
    return f"batch sizes {between}" if axis == "batch_size" else f"{between} {AXES[axis]}"


def _along(cells: Sequence[CellResults], axis: str) -> list[CellResults]:
    return sorted(cells, key=lambda mine: int(getattr(mine.cell, axis)))


def _chart(sweep: Sweep, quantity: Quantity, points: pd.DataFrame, name: str) -> Chart:
    entries = list(dict.fromkeys(points["label"]))
    is_log = sweep.axis == "batch_size"
    axes = Axes(
        x_title=AXES[sweep.axis] + (" (log scale)" if is_log else ""),
        y_title=quantity.name,
        is_log_x=is_log,
        y_format=quantity.y_format,
        is_share=quantity.is_share,
    )
    alt = f"Lines of {quantity.name} against {AXES[sweep.axis]}. " + " ".join(
        f"{label}: "
        + ", ".join(f"{_shown(quantity, y)} at {x}" for x, y in zip(mine["x"], mine["y"], strict=True))
        + "."
        for label, mine in points.groupby("label", sort=False)
    )
    quantities = quantity.name[:1].upper() + quantity.name[1:]
    return Chart(
        name=name,
        spec=axis_lines(points, entries, axes) | {"description": alt},
        alt=alt,
        caption=f"{quantities} against {AXES[sweep.axis]}, the rest the same ({sweep.rest}): medians over completed "
        "runs.",
        query=sweep_query(sweep, quantity),
    )


def sweep_query(sweep: Sweep, quantity: Quantity) -> str:
    """Return the SQL of a quantity along the axis."""
    return queries.sweep([mine.cell for mine in sweep.cells], sweep.axis, quantity.expression, quantity.metric)


def _table(sweep: Sweep, quantity: Quantity, points: pd.DataFrame) -> Table:
    wide = points.pivot_table(index="label", columns="x", values="y", sort=False)
    places = [getattr(mine.cell, sweep.axis) for mine in sweep.cells]
    rows = [
        (label, *(_shown(quantity, values.get(place)) for place in places))
        for label, values in wide.to_dict("index").items()
    ]
    caption = f"{quantity.name[:1].upper()}{quantity.name[1:]} by {AXES[sweep.axis]} ({sweep.rest})"
    columns = ("entry", *(str(place) for place in places))
    return Table(caption=caption, columns=columns, rows=rows, numeric=columns[1:])


def _shown(quantity: Quantity, value: float | None) -> str:
    if value is None or is_absent(value):
        return tables.NOTHING
    if quantity.is_share:
        return tables.percent(value)
    return tables.number(value) if quantity is THROUGHPUT else seconds(value)
