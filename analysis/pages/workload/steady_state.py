"""Who reached a steady speed, after how long, and when a long preparation has paid off (pure)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from analysis.pages.workload.targets import break_even, cost_medians
from analysis.rendering import queries, tables
from analysis.rendering.tables import Table
from analysis.rendering.wording import seconds
from analysis.results.cell_results import CellResults

METRICS = ("is_steady", "steady_after_s", "steady_step_s")
COLUMNS = (
    "entry",
    "runs that became steady",
    "train seconds before it",
    "shortest to longest",
    "seconds per step then",
)
TOO_SHORT = "no run has the twenty chunks that it takes to tell"


def steady_part(mine: CellResults) -> dict[str, Any]:
    """Return what the template says about the steady state of one cell: a table, sentences, and the SQL."""
    return {"table": steady_table(mine), "words": steady_words(mine), "query": queries.medians(mine.cell, METRICS)}


def steady_table(mine: CellResults) -> Table:
    """Return how many runs of each entry became steady, after how many seconds, and how fast they were then."""
    told = mine.measured[mine.measured["is_steady"].notna()]
    rows = [_row(mine, entry, told[told["entry"] == entry]) for entry in mine.entries if entry in set(told["entry"])]
    caption = (
        "Steady state: the speed that a run reached and kept to its end, found from change points in its chunks; "
        "medians over the runs that had one"
    )
    return Table(caption=caption, columns=COLUMNS, rows=rows, numeric=COLUMNS[2:])


def steady_words(mine: CellResults) -> list[str]:
    """Return what the table leaves to words: that nobody can tell, who never became steady, and who catches up when."""
    told = mine.measured[mine.measured["is_steady"].notna()]
    found = [] if len(told) else [f"Whether training became steady is not known: {TOO_SHORT}."]
    never = [
        entry for entry in mine.entries if (own := told[told["entry"] == entry]["is_steady"]).size and not own.any()
    ]
    if never:
        names = ", ".join(mine.label(entry) for entry in never)
        found.append(f"No run of {names} reached a speed that it kept: its time before a steady state is none.")
    return found + catching_up(mine)


def catching_up(mine: CellResults) -> list[str]:
    """Return, in training, after how many epochs whoever prepares longer has caught up with the baseline.

    By the medians of the seconds before the first epoch and of those per epoch, training and evaluation together.
    """
    known = cost_medians(mine) if mine.cell.mode == "train" else {}
    return [words for entry in mine.entries if (words := _catches_up(mine, known, entry))]


def run_steady_words(values: Mapping[str, float]) -> str:
    """Return whether one run became steady, given its measurements by name.

    >>> run_steady_words({"is_steady": 0.0})
    'Steady state: none, no speed was kept to the end.'
    """
    if "is_steady" not in values:
        return "Steady state: not known, because fewer than twenty synchronised chunks were recorded."
    if not values["is_steady"]:
        return "Steady state: none, no speed was kept to the end."
    before = values["steady_after_s"]
    began = f"after {seconds(before)} of training" if before > 0 else "from the first step on"
    return f"Steady state: {began}, then {seconds(values['steady_step_s'])} per step (median)."


def _row(mine: CellResults, entry: str, runs: pd.DataFrame) -> tuple[object, ...]:
    steady = runs[runs["is_steady"] > 0]
    if steady.empty:
        return mine.label(entry), f"none of {len(runs)}", "none", tables.NOTHING, tables.NOTHING
    before = steady["steady_after_s"].astype(float)
    ends = f"{seconds(float(before.min()))} to {seconds(float(before.max()))}"
    return (
        mine.label(entry),
        f"{len(steady)} of {len(runs)}",
        seconds(float(before.median())),
        ends if before.min() < before.max() else tables.NOTHING,
        seconds(float(steady["steady_step_s"].astype(float).median())),
    )


def _catches_up(mine: CellResults, known: Mapping[str, tuple[float, float]], entry: str) -> str:
    """Return when the one of entry and baseline that prepares longer has caught up; empty where it never does.

    Differences below the margin of a dead heat are left out: lines that lie on each other cross anywhere.
    """
    epochs = break_even(known, mine.baseline, entry)
    if epochs is None:
        return ""
    margin = 1 + float(mine.runs["equivalence_margin_ratio"].iloc[0])
    if any(max(pair) < margin * min(pair) for pair in zip(known[entry], known[mine.baseline], strict=True)):
        return ""
    slow, quick = sorted((entry, mine.baseline), key=lambda who: known[who][0], reverse=True)
    (slow_fixed, slow_each), (quick_fixed, quick_each) = known[slow], known[quick]
    plan = mine.cell.epochs
    reach = "within the plan" if epochs <= plan else f"beyond the {tables.count(plan, 'epoch')} of this plan"
    return (
        f"{mine.label(slow)} takes {seconds(slow_fixed - quick_fixed)} more than {mine.label(quick)} before its first "
        f"epoch and {seconds(quick_each - slow_each)} less per epoch: it has caught up after "
        f"{tables.number(epochs)} epochs, {reach}."
    )
