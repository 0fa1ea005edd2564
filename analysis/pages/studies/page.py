"""The page of studies: their claims audited, their recipes as published beside equal work, never ranked (pure)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from analysis.audit.table_rules import suspicions
from analysis.findings.finding import Cell
from analysis.pages.addresses import STUDIES_ADDRESS, source, workload_address
from analysis.pages.studies.section import imported_table, section, summary_table
from analysis.rendering import queries, tables
from analysis.rendering.render import Page, page
from analysis.rendering.tables import Table
from analysis.rendering.wording import optimizer_words, seconds
from analysis.results.cell_results import CellResults
from analysis.results.results import Results
from store.study import Study

COLUMNS = (
    "what", "entry", "parameters", "optimizer", "batch size", "loader", "epochs", "runs", "the study's seconds",
    "seconds per epoch", "accuracy",
)  # fmt: skip


def studies_page(results: Results, cells: Sequence[CellResults]) -> Page:
    """Return the page of all studies: their claims audited, and their recipes beside equal work.

    Parameters
    ----------
    cells
        Every cell of the results, the newest campaign's first; recipes are those of the track `published`. What
        was measured elsewhere is left out.
    """
    cells = [mine for mine in cells if mine.elsewhere is None]
    found = suspicions(results.published)
    recipes = recipes_of(cells)
    sections = [
        {
            **section(study, found, cells),
            "recipes": [
                _recipe(mine, equal_work(mine, study, cells))
                for name, mine in recipes.items()
                if name in recipe_names(study)
            ],
        }
        for study in results.studies
    ]
    known = {name for study in results.studies for name in recipe_names(study)}
    others = [_recipe(mine, []) for name, mine in recipes.items() if name not in known]
    context = {
        "summary": summary_table(results.studies, found),
        "sections": sections,
        "others": others,
        "imported": imported_table(results.published),
        "query_all": queries.published(),
    }
    charts = tuple(part["chart"] for part in sections if part["chart"])
    return page(source(STUDIES_ADDRESS), "studies.md.jinja", context, charts)


def recipes_of(cells: Sequence[CellResults]) -> dict[str, list[CellResults]]:
    """Return the newest campaign's cells of each recipe that was run, in the order of their names."""
    found: dict[str, list[CellResults]] = {}
    for mine in cells:
        if mine.cell.track == "published":
            found.setdefault(mine.cell.workload, []).append(mine)
    return {name: _newest(found[name]) for name in sorted(found)}


def recipe_names(study: Study) -> dict[str, str]:
    """Return the study's own workload of each of its recipes."""
    return {recipe: workload for side in study.side for workload, recipe in side.recipes.items()}


def equal_work(recipe: Sequence[CellResults], study: Study, cells: Sequence[CellResults]) -> list[CellResults]:
    """Return the cells that ask the recipe's question as equal work: the newest campaign's, trained for epochs.

    Where some have a batch size of the recipe's, those alone.
    """
    workload = study.equal_work.get(recipe_names(study)[recipe[0].cell.workload], "")
    trained = _newest(
        [m for m in cells if (m.cell.workload, m.cell.mode, m.cell.track) == (workload, "train", "closed")]
    )
    sizes = {mine.cell.batch_size for mine in recipe}
    return [mine for mine in trained if mine.cell.batch_size in sizes] or trained


def recipe_table(recipe: Sequence[CellResults], equal: Sequence[CellResults]) -> Table:
    """Return the runs of a recipe, then those of equal work, a row per entry."""
    rows = [row for kind, cells in (("as published", recipe), ("equal work", equal)) for row in _rows(kind, cells)]
    return Table(
        caption=f"{recipe[0].cell.workload}: medians over completed runs, not ranked",
        columns=COLUMNS,
        rows=rows,
        numeric=(COLUMNS[2], COLUMNS[4], *COLUMNS[6:]),
    )


def difference_sentence(recipe: Sequence[CellResults], equal: Sequence[CellResults]) -> str:
    """Return that recipe and equal work are different work, and what differs."""
    if not equal:
        return "Its question was not measured as equal work over whole epochs in this store."
    ours = equal[0].cell.workload
    pairs = zip(_work(recipe), _work(equal), strict=True)
    differing = [f"{name} {theirs} against {mine}" for (name, theirs), (_, mine) in pairs if theirs != mine]
    why = "; ".join(differing) or "its own initialisation, order and preprocessing"
    return f"{recipe[0].cell.workload} and {ours} are different work ({why}): read them side by side, never as a ratio."


def _recipe(recipe: Sequence[CellResults], equal: Sequence[CellResults]) -> dict[str, Any]:
    first = recipe[0].cell
    attempts = pd.concat([mine.attempts for mine in recipe])
    failed = attempts[attempts["status"] != "completed"]
    endings = [
        (f"{row['runner']}:{row['variant']}", row["status"], row["message"]) for row in failed.to_dict("records")
    ] + [
        (row["entry"], row["status"], row["message"]) for mine in recipe for row in mine.unavailable.to_dict("records")
    ]
    return {
        "workload": first.workload,
        "differs": difference_sentence(recipe, equal),
        "equal_address": workload_address(equal[0].cell.workload) if equal else "",
        "equal": equal[0].cell.workload if equal else "",
        "table": recipe_table(recipe, equal),
        "query": queries.studies([first.workload, *([equal[0].cell.workload] if equal else [])]),
        "endings": Table(
            caption="Runs that did not complete",
            columns=("entry", "ending", "why"),
            rows=list(dict.fromkeys(endings)),
            prose=("why",),
        ),
    }


def _rows(kind: str, cells: Sequence[CellResults]) -> list[tuple[object, ...]]:
    return [
        _row(kind, mine, entry, runs)
        for mine in cells
        for entry in mine.entries
        if len(runs := mine.measured[mine.measured["entry"] == entry])
    ]


def _row(kind: str, mine: CellResults, entry: str, runs: pd.DataFrame) -> tuple[object, ...]:
    cell = mine.cell
    return (
        kind,
        mine.label(entry),
        tables.number(_parameters(runs)),
        optimizer_words(cell),
        cell.batch_size,
        loader_words(cell),
        cell.epochs,
        len(runs),
        seconds(runs["published_window_s"].median()) if kind == "as published" else tables.NOTHING,
        seconds(runs["train_s_per_epoch"].median()),
        tables.percent(runs["final_test_accuracy"].median()),
    )


def loader_words(cell: Cell) -> str:
    """Return how a cell's data are read."""
    return cell.loader if cell.loader == "resident" else f"{cell.loader}, {tables.count(cell.loader_workers, 'worker')}"


def _newest(cells: Sequence[CellResults]) -> list[CellResults]:
    """Return those of the first cell's campaign: cells come the newest campaign's first."""
    return [mine for mine in cells if mine.cell.campaign_id == cells[0].cell.campaign_id]


def _work(cells: Sequence[CellResults]) -> list[tuple[str, str]]:
    """Return what says which work was done: in the cells of one workload an axis may have several values."""
    parameters = {_parameters(mine.measured) for mine in cells} - {None}
    values: Mapping[str, list[str]] = {
        "parameters": [tables.number(value) for value in sorted(filter(None, parameters))],
        "optimizer": list(dict.fromkeys(optimizer_words(mine.cell) for mine in cells)),
        "batch size": list(dict.fromkeys(str(mine.cell.batch_size) for mine in cells)),
        "loader": list(dict.fromkeys(loader_words(mine.cell) for mine in cells)),
    }
    return [(name, ", ".join(found)) for name, found in values.items()]


def _parameters(runs: pd.DataFrame) -> float | None:
    known = runs["parameters"].dropna()
    return float(known.iloc[0]) if len(known) else None
