"""What reaching the target costs on a machine whose price per hour is known (pure)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from analysis.frames.prices import Price, Rates
from analysis.rendering import queries
from analysis.rendering.cost_words import cost_words, known_seconds, no_price, times_told, with_interval
from analysis.rendering.tables import Table
from analysis.rendering.wording import seconds
from analysis.results.cell_results import CellResults
from analysis.statistics.target_cost import TargetSeconds

COLUMNS = ("entry", "runs", "e2e seconds to the target")
AS_WITH_SECONDS = (
    "On one machine the costs of two entries stand to each other as their seconds do, so the verdicts of the e2e clock "
    "hold for them too."
)


def cost_part(mine: CellResults, rates: Rates) -> dict[str, Any]:
    """Return what the template says about the cost of reaching the target: a table, or why there is none."""
    known, price = known_seconds(mine.cell, mine.runs, mine.epochs), rates.of(mine.cell.environment_id)
    if not known or price is None:
        return {"table": None, "words": no_price(rates.machine(mine.cell.environment_id)) if known else ""}
    pooled = next((f.epochs_to_target for f in mine.findings if f.epochs_to_target is not None), None)
    return {
        "table": cost_table(mine, known, price),
        "words": AS_WITH_SECONDS,
        "query": queries.differences(mine.cell, mine.baseline, "e2e", pooled),
    }


def cost_table(mine: CellResults, known: Mapping[str, TargetSeconds], price: Price) -> Table:
    """Return seconds and costs of each entry, with their intervals."""
    times = times_told(known.values(), price)
    columns = (*COLUMNS, "costs" if times == 1 else f"{times:,} times cost")
    rows = [
        (
            mine.label(entry),
            known[entry].runs,
            with_interval(seconds(known[entry].seconds), known[entry].interval, seconds),
            cost_words(known[entry], price, times),
        )
        for entry in mine.entries
        if entry in known
    ]
    caption = f"What reaching the target costs at {price.words}; 95 % intervals in brackets"
    return Table(caption=caption, columns=columns, rows=rows, numeric=columns[1:])
