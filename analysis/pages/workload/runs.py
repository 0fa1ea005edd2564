"""The runs of a cell as tables: all of them, and those that did not complete (pure)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from analysis.pages.listings import with_disturbances
from analysis.rendering import queries, tables
from analysis.rendering.repeated_heats import Attempt, Repeat, attempt_of, repeats
from analysis.rendering.tables import Table
from analysis.rendering.wording import cell_words, seconds
from analysis.results.cell_results import CellResults


def runs_part(mine: CellResults, pages: dict[str, str]) -> dict[str, Any]:
    """Return what the template says about the runs of one cell."""
    return {
        "title": cell_words(mine.cell),
        "endings_table": endings_table(mine, pages),
        "endings_query": queries.failures_of(mine.cell),
        "runs_table": runs_table(mine, pages),
        "runs_query": queries.runs_of(mine.cell),
    }


def endings_table(mine: CellResults, pages: dict[str, str]) -> Table:
    """Return every run that did not complete, and who could not start at all."""
    failed = mine.attempts[mine.attempts["status"] != "completed"]
    rows = [
        (mine.label(row["entry"]), row["status"], row["repetition"], row["message"], _run_link(row["run_id"], pages))
        for row in failed.to_dict("records")
    ]
    rows += [
        (mine.label(row["entry"]), row["status"], None, row["message"], _run_link(row["run_id"], pages))
        for row in mine.unavailable.to_dict("records")
    ]
    columns = ("entry", "ending", "heat", "why", "run")
    return Table(caption="Runs that did not complete", columns=columns, rows=rows, prose=("why",))


def runs_table(mine: CellResults, pages: dict[str, str]) -> Table:
    """Return every run of the cell, with a link to its page."""
    ordered = mine.attempts.sort_values(["repetition", "heat_attempt", "position"])
    again = repeats(mine.attempts)
    rows: list[tuple[object, ...]] = [
        (
            _run_link(row["run_id"], pages),
            heat_words(row, again),
            row["position"],
            mine.label(row["entry"]) + (" (A/A control)" if row["control"] else ""),
            row["status"],
            seconds(row["train_clock_s"]),
            seconds(row["e2e_clock_s"]),
            tables.memory(row["memory_peak_bytes"]),
        )
        for row in ordered.to_dict("records")
    ]
    columns = ("run", "heat", "place", "entry", "ending", "train clock", "e2e clock", "peak memory")
    return with_disturbances(
        Table(caption="Every run, in the order of heats", columns=columns, rows=rows, numeric=columns[5:]), ordered
    )


def heat_words(run: Mapping[Any, Any], again: Mapping[Attempt, Repeat]) -> object:
    """Return the number of a run's heat, with that of the attempt where there are several."""
    campaign, heat, number = attempt_of(run)
    if (campaign, heat, number) in again:
        return f"{run['repetition']}, attempt {number}: run again"
    return f"{run['repetition']}, attempt {number}" if number > 1 else run["repetition"]


def _run_link(run_id: str, pages: dict[str, str]) -> object:
    return tables.link(f"../{pages[run_id]}", run_id) if run_id in pages else run_id
