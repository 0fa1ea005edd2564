"""The pages about the whole store: runs, environments, data (pure)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from analysis.findings.finding import entry_name
from analysis.rendering import queries, tables
from analysis.rendering.render import Page, page
from analysis.rendering.repeated_heats import disturbance
from analysis.rendering.tables import Table
from analysis.rendering.wording import seconds
from analysis.results.blas_warnings import blas_warnings
from analysis.results.results import Results

Row = Mapping[Any, Any]  # of a frame

RUNS_LISTED = 1000  # a longer table makes the page slow; the data hold all


@dataclass(frozen=True, slots=True, kw_only=True)
class DataFile:
    """A table as it can be downloaded."""

    table: str
    address: str  # from the root of the site
    size_bytes: int
    rows: int
    doc: str
    columns: Sequence[tuple[str, str, str, str]]  # name, type, unit, documentation


def empty_page(*, has_studies: bool = False) -> Page:
    """Return the front page of a site without results to compare: what to do."""
    return page("index.md", "empty.md.jinja", {"has_studies": has_studies})


def runs_page(results: Results, pages: dict[str, str]) -> Page:
    """Return the list of runs, the newest first."""
    newest = results.runs.sort_values(["started_at", "run_id"], ascending=False)
    listed = newest.head(RUNS_LISTED)
    rows = [_run_row(row, pages) for row in listed.to_dict("records")]
    columns = ("run", "started", "workload", "entry", "ending", "train clock", "e2e clock")
    counts = results.runs.groupby("status").size().sort_values(ascending=False)
    context = {
        "total": len(newest),
        "listed": len(rows),
        "listing": with_disturbances(
            Table(caption="Runs, the newest first", columns=columns, rows=rows, numeric=columns[5:]), listed
        ),
        "endings": ", ".join(f"{count} {status}" for status, count in counts.items()),
        "runs_query": queries.newest_runs(),
        "endings_query": queries.endings(),
        "elsewhere": int(results.runs["campaign_id"].isin(list(results.elsewhere())).sum()),
    }
    return page("runs/index.md", "runs.md.jinja", context)


def with_disturbances(table: Table, runs: pd.DataFrame) -> Table:
    """Return a table of runs with what disturbed each of them, where any was disturbed."""
    found = [disturbance(run) for run in runs.to_dict("records")]
    if not any(found):
        return table
    return replace(
        table,
        columns=(*table.columns, "disturbed by"),
        rows=[(*row, text or tables.NOTHING) for row, text in zip(table.rows, found, strict=True)],
        prose=(*table.prose, "disturbed by"),
    )


def environments_page(results: Results) -> Page:
    """Return the machines and their software, the newest first."""
    newest = results.environments.sort_values("captured_at", ascending=False)
    titles = {snapshot.name: snapshot.title for snapshot in results.snapshots}
    environments = [_environment(row, titles.get(row["hostname"], "")) for row in newest.to_dict("records")]
    context = {"environments": environments, "environments_query": queries.environments()}
    return page("environments.md", "environments.md.jinja", context)


def data_page(files: Sequence[DataFile]) -> Page:
    """Return how to get the data, and what each column means."""
    columns = ("table", "rows", "size", "what it holds")
    rows = [
        (tables.link(file.address, f"{file.table}.parquet"), f"{file.rows:,}", tables.memory(file.size_bytes), file.doc)
        for file in files
    ]
    listed = [
        (
            file.table,
            Table(
                caption=f"Columns of {file.table}",
                columns=("column", "type", "unit", "meaning"),
                rows=file.columns,
                prose=("meaning",),
            ),
        )
        for file in files
    ]
    context = {
        "table_of_files": Table(caption="Tables", columns=columns, rows=rows, numeric=columns[1:3], prose=columns[3:]),
        "columns": listed,
    }
    return page("data.md", "data.md.jinja", context)


def _run_row(row: Row, pages: dict[str, str]) -> tuple[object, ...]:
    label = entry_name(row["entry"], is_headline=row["headline"]) + (" (A/A control)" if row["control"] else "")
    return (
        tables.link(f"../{pages[row['run_id']]}", row["run_id"]),
        tables.moment(row["started_at"]),
        row["workload"],
        label,
        row["status"],
        seconds(row["train_clock_s"]),
        seconds(row["e2e_clock_s"]),
    )


def _environment(row: Row, elsewhere: str) -> dict[str, Any]:
    gpu = (
        f"{row['gpu_count']} × {row['gpu_model']}, {tables.memory(row['gpu_memory_bytes'])}"
        if row["gpu_count"]
        else "none"
    )
    commit = row["git_commit"][:12] + (" with uncommitted changes" if row["git_dirty"] else "")
    facts = [
        ("measured elsewhere", elsewhere),
        ("processor", row["cpu_model"]),
        ("logical cores", row["cpu_cores"]),
        ("frequency governor", row["cpu_governor"]),
        ("memory", tables.memory(row["memory_bytes"])),
        ("GPU", gpu),
        ("GPU driver", row["driver_version"]),
        ("operating system", f"{row['os']}, kernel {row['kernel']}"),
        ("deadheat", commit),
        ("warning", " ".join(blas_warnings(row))),
    ]
    return {
        "id": row["environment_id"],
        "captured": tables.moment(row["captured_at"]),
        "name": row["hostname"],
        "facts": Table(
            caption="Machine",
            columns=("what", "value"),
            rows=[fact for fact in facts if fact[1] != ""],
            prose=("value",),
        ),
        "versions": Table(
            caption="Runners", columns=("runner", "what it said"), rows=_pairs(row["versions"]), prose=("what it said",)
        ),
        "settings": Table(
            caption="Settings that bear on speed",
            columns=("setting", "value"),
            rows=_pairs(row["settings"]),
            prose=("value",),
        ),
    }


def _pairs(text: str) -> list[tuple[str, str]]:
    """Return a JSON object as rows; text that is none is shown as it is."""
    try:
        content = json.loads(text)
    except ValueError:
        content = {"unreadable": text}
    return [(str(key), _words(value)) for key, value in content.items()] if isinstance(content, dict) else []


def _words(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_words(inner)}" for key, inner in value.items())
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
