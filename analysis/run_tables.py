"""The runs of a cell as tables: all of them, and those that did not complete (pure)."""

from __future__ import annotations

from typing import Any

from analysis import queries, tables
from analysis.cells import CellResults
from analysis.tables import Table
from analysis.words import cell_words, seconds


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
    rows = [
        (
            _run_link(row["run_id"], pages),
            row["repetition"],
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
    return Table(caption="Every run, in the order of heats", columns=columns, rows=rows, numeric=columns[5:])


def _run_link(run_id: str, pages: dict[str, str]) -> object:
    return tables.link(f"../{pages[run_id]}", run_id) if run_id in pages else run_id
