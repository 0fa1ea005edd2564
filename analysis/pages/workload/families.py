"""Language or library? Entries by the kernels that they share, and how much of the machine each uses (pure)."""

from __future__ import annotations

from typing import Any

import pandas as pd

from analysis.findings.decomposition import Part, decompose
from analysis.frames.columns import is_absent
from analysis.rendering import queries, tables, wording
from analysis.rendering.part_charts import PartPoint, part_intervals
from analysis.rendering.render import Chart
from analysis.rendering.tables import Table
from analysis.rendering.wording import seconds
from analysis.results.cell_results import CellResults

COLUMNS = ("train_s_per_epoch", "s_per_step", "examples_per_s", "limit_ratio", "memory_peak_bytes")


def families_table(mine: CellResults) -> Table:
    """Return the medians of each entry beside those of its family, the fastest of a family first."""
    measured = "train_s_per_epoch" if mine.cell.mode == "train" else "s_per_step"
    medians = family_medians(mine).sort_values(["family", measured])
    fastest = medians.groupby("family")[measured].transform("min")
    sizes = medians.groupby("family")[measured].transform("size")
    rows = [
        _row(mine, row, row[measured], best, size)
        for row, best, size in zip(medians.to_dict("records"), fastest, sizes, strict=True)
    ]
    unit = "seconds per epoch" if mine.cell.mode == "train" else "seconds per step"
    columns = (
        "family", "entry", "language", "runs", unit, "within family", "examples/s",
        "of the limit", "peak memory",
    )  # fmt: skip
    return Table(
        caption="Entries that share kernels: medians over completed runs",
        columns=columns,
        rows=rows,
        numeric=columns[3:],
    )


def family_medians(mine: CellResults) -> pd.DataFrame:
    """Return the medians of each entry: `family`, `entry`, `language`, `runs`, and those in `COLUMNS`."""
    steps = max(mine.cell.steps, 1)
    runs = mine.measured.assign(s_per_step=mine.measured["train_clock_s"].astype(float) / steps)
    numbers = runs.astype(dict.fromkeys(COLUMNS, float))
    groups = numbers.groupby(["family", "entry", "language"])
    return groups[list(COLUMNS)].median().assign(runs=groups.size()).reset_index()


def parts_of(mine: CellResults, name: str) -> dict[str, Any] | None:
    """Return what a front end and what a library changes, as a table and a chart; none where nothing is shared."""
    found = decompose(mine.runs)
    if not found:
        return None
    points = [_part_point(mine, part) for part in found]
    rows = [
        (part.kind, part.shared, mine.label(part.entry), mine.label(part.reference), _part_words(part), part.heats)
        for part in found
    ]
    columns = ("what differs", "what is shared", "entry", "compared with", "took (95 % interval)", "heats")
    caption = "Front end or library, one at a time, on the train clock: paired within heats"
    alt = "Ratios with intervals. " + " ".join(f"{point.label}: {point.words}." for point in points)
    return {
        "table": Table(caption=caption, columns=columns, rows=rows, numeric=("heats",)),
        "chart": Chart(
            name=name,
            spec=part_intervals(points) | {"description": alt},
            alt=alt,
            caption="Same kernels, another language (front end); same language, other kernels (library): seconds of "
            "the train clock, compared with the entry named second. Bars are 95 % intervals, from six heats.",
            query=queries.differences(mine.cell, found[0].reference, "train", None),
        ),
    }


def _part_point(mine: CellResults, part: Part) -> PartPoint:
    return PartPoint(
        label=f"{mine.label(part.entry)} / {mine.label(part.reference)}",
        kind=part.kind,
        ratio=part.ratio,
        low=part.interval.low if part.interval else None,
        high=part.interval.high if part.interval else None,
        words=_part_words(part),
    )


def _part_words(part: Part) -> str:
    width = part.interval.high - part.interval.low if part.interval else None
    took = wording.difference(part.ratio, "", width).removesuffix(" than ").removesuffix(" as long as ")
    if part.interval is None:
        return took
    return f"{took} ({wording.interval(part.interval.low, part.interval.high, part.ratio)})"


def families_query(mine: CellResults) -> str:
    """Return the SQL of these medians."""
    return queries.families(mine.cell)


def _row(mine: CellResults, row: dict[Any, Any], value: float, fastest: float, size: int) -> tuple[object, ...]:
    return (
        row["family"],
        mine.label(row["entry"]),
        row["language"],
        row["runs"],
        seconds(value),
        _within(value, fastest, size),
        tables.number(row["examples_per_s"]),
        tables.percent(row["limit_ratio"]),
        tables.memory(row["memory_peak_bytes"]),
    )


def _within(value: float, fastest: float, size: int) -> str:
    """Return how a value stands to its family's fastest; an entry without company stands to nobody."""
    if size < 2 or is_absent(value):
        return tables.NOTHING
    return "fastest" if value == fastest else f"{value / fastest:.2f} ×"
