"""The pages about the whole store: runs, gate, environments, data (pure)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
from markupsafe import Markup

from analysis import queries, tables
from analysis.render import Page, page
from analysis.results import Results
from analysis.sentences import entry_name
from analysis.tables import Table
from analysis.words import seconds

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


def empty_page() -> Page:
    """Return the front page of a site without results: what to do."""
    return page("index.md", "empty.md.jinja", {})


def runs_page(results: Results, pages: dict[str, str]) -> Page:
    """Return the list of runs, the newest first."""
    newest = results.runs.sort_values(["started_at", "run_id"], ascending=False)
    rows = [_run_row(row, pages) for row in newest.head(RUNS_LISTED).to_dict("records")]
    columns = ("run", "started", "workload", "entry", "ending", "train clock", "e2e clock")
    counts = results.runs.groupby("status").size().sort_values(ascending=False)
    context = {
        "total": len(newest),
        "listed": len(rows),
        "listing": Table(caption="Runs, the newest first", columns=columns, rows=rows, numeric=columns[5:]),
        "endings": ", ".join(f"{count} {status}" for status, count in counts.items()),
        "runs_query": queries.newest_runs(),
        "endings_query": queries.endings(),
    }
    return page("runs/index.md", "runs.md.jinja", context)


def gate_page(results: Results) -> Page:
    """Return what every entry proved on every workload, part by part."""
    gates = results.gates.assign(entry=_labels(results.gates, results.runs))
    failed = gates[~gates["passed"].astype(bool)]
    columns = ("entry", "workload", "part", "quantity", "expected", "found", "error", "tolerance", "likely cause")
    rows = [
        (
            row["entry"],
            row["workload"],
            row["part"],
            row["quantity"],
            row["expected"],
            row["found"],
            tables.number(row["error"]),
            tables.number(row["tolerance"]),
            row["cause"],
        )
        for row in failed.to_dict("records")
    ]
    context = {
        "matrices": [gate_matrix(str(workload), mine) for workload, mine in gates.groupby("workload")],
        "failures": Table(
            caption="Where the gate was not passed",
            columns=columns,
            rows=rows,
            numeric=columns[6:8],
            prose=columns[3:6] + columns[8:],
        ),
        "gates_query": queries.gates(),
    }
    return page("gate.md", "gate.md.jinja", context)


def gate_matrix(workload: str, gates: pd.DataFrame) -> Table:
    """Return the parts of one workload: a row per entry, device and precision, a column per part."""
    parts = sorted(gates["part"].unique())
    rows = []
    for (entry, device, dtype), mine in gates.groupby(["entry", "device", "dtype"]):
        by_part = {row["part"]: row for row in mine.to_dict("records")}
        rows.append((entry, f"{device}, {dtype}", *(_gate_cell(by_part.get(part)) for part in parts)))
    columns = ("entry", "where", *(f"part {part}" if len(part) == 1 else part for part in parts))
    return Table(caption=f"Gate on {workload}", columns=columns, rows=rows)


def environments_page(results: Results) -> Page:
    """Return the machines and their software, the newest first."""
    newest = results.environments.sort_values("captured_at", ascending=False)
    environments = [_environment(row) for row in newest.to_dict("records")]
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


def _labels(gates: pd.DataFrame, runs: pd.DataFrame) -> list[str]:
    """Return each row's entry as people write it; a variant that never ran keeps its full name."""
    headline = dict(zip(runs["entry"], runs["headline"], strict=True))
    entries = [f"{runner}:{variant}" for runner, variant in zip(gates["runner"], gates["variant"], strict=True)]
    return [entry_name(entry, is_headline=bool(headline.get(entry, False))) for entry in entries]


def _gate_cell(row: Row | None) -> Markup:
    if row is None:
        return Markup('<span title="not tested">–</span>')
    mark, word = ("✓", "passed") if row["passed"] else ("✕", "failed")
    share = "" if tables.is_absent(row["error"]) or not row["tolerance"] else f"{row['error'] / row['tolerance']:.0%}"
    return Markup(
        '<span class="dh-gate dh-gate-{word}" title="{title}">{mark} {word}</span> <small>{share}</small>'
    ).format(word=word, mark=mark, share=share, title=row["quantity"])


def _environment(row: Row) -> dict[str, Any]:
    gpu = (
        f"{row['gpu_count']} × {row['gpu_model']}, {tables.memory(row['gpu_memory_bytes'])}"
        if row["gpu_count"]
        else "none"
    )
    commit = row["git_commit"][:12] + (" with uncommitted changes" if row["git_dirty"] else "")
    facts = [
        ("processor", row["cpu_model"]),
        ("logical cores", row["cpu_cores"]),
        ("frequency governor", row["cpu_governor"]),
        ("memory", tables.memory(row["memory_bytes"])),
        ("GPU", gpu),
        ("GPU driver", row["driver_version"]),
        ("operating system", f"{row['os']}, kernel {row['kernel']}"),
        ("deadheat", commit),
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
