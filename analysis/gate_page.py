"""The page of the gate: who proved equal work on what, how closely, and why not (pure)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from markupsafe import Markup

from analysis import queries, tables
from analysis.render import Page, page
from analysis.results import Results
from analysis.sentences import entry_name
from analysis.tables import Table
from store.roster import Contender, by_reason

Row = Mapping[Any, Any]  # of a frame

DECLINED = "unsupported: "  # how the collector begins what a runner found that declined its gate
CONFIGURATION = ["optimizer", "loader", "device", "dtype"]
EITHER = "–"  # what was not noted yet when it was gated


def gate_page(results: Results) -> Page:
    """Return what every entry proved: the matrix of entries and workloads, then each workload part by part."""
    gates = _prepared(results)
    workloads = sorted(gates["workload"].unique())
    tried, failed = gates[~gates["declined"]], gates[~gates["declined"] & ~gates["passed"]]
    details = [(str(workload), detail_table(str(workload), mine)) for workload, mine in tried.groupby("workload")]
    anchors = {workload: f"gate-{number}" for number, (workload, _) in enumerate(details, start=1)}
    context = {
        "matrix": matrix_table(gates, workloads, anchors),
        "details": [(workload, anchors[workload], table) for workload, table in details],
        "failures": failures_table(failed),
        "declined": declined_table(gates[gates["declined"]]),
        "entries": entries_table(results.roster, gates),
        "gates_query": queries.gates(),
    }
    return page("gate.md", "gate.md.jinja", context)


def matrix_table(gates: pd.DataFrame, workloads: Sequence[str], anchors: Mapping[str, str]) -> Table:
    """Return a row per entry, a column per workload: all optimizers, loaders, devices and precisions folded."""
    found = dict(list(gates.groupby(["entry", "workload"], sort=False)))
    entries = sorted(gates["entry"].unique())
    rows = [
        (entry, *(_matrix_cell(found.get((entry, workload)), anchors.get(workload)) for workload in workloads))
        for entry in entries
    ]
    caption = "Entries and workloads: how many combinations of optimizer, loader, device and precision passed"
    return Table(caption=caption, columns=("entry", *workloads), rows=rows)


def detail_table(workload: str, gates: pd.DataFrame) -> Table:
    """Return the parts of one workload: a row per entry and configuration, a column per part."""
    parts = sorted(gates["part"].unique())
    rows = []
    for (entry, *where), mine in gates.groupby(["entry", *CONFIGURATION], sort=True):
        by_part = {row["part"]: row for row in mine.to_dict("records")}
        forms = ", ".join(sorted({form for form in mine["exceptions"] if form}))
        rows.append((entry, *where, *(_part_cell(by_part.get(part)) for part in parts), forms or tables.NOTHING))
    columns = (
        "entry", "optimizer", "loader", "device", "precision",
        *(f"part {part}" if len(part) == 1 else part for part in parts), "listed form",
    )  # fmt: skip
    return Table(caption=f"Gate on {workload}: share of the tolerance that was used", columns=columns, rows=rows)


def failures_table(failed: pd.DataFrame) -> Table:
    """Return every part that was not passed, with both values and the likely cause."""
    columns = (
        "entry", "workload", "with", "part", "quantity", "expected", "found", "error", "tolerance", "likely cause",
    )  # fmt: skip
    rows = [
        (
            row["entry"],
            row["workload"],
            _where(row),
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
    return Table(
        caption="Where the gate was not passed",
        columns=columns,
        rows=rows,
        numeric=columns[7:9],
        prose=(*columns[4:7], columns[9]),
    )


def declined_table(declined: pd.DataFrame) -> Table:
    """Return what runners said that they cannot do here: no failure, and nothing proven."""
    rows = [
        (row["entry"], row["workload"], _where(row), row["found"].removeprefix(DECLINED))
        for row in declined.to_dict("records")
    ]
    columns = ("entry", "workload", "with", "why")
    return Table(caption="Unsupported, as the runner says", columns=columns, rows=rows, prose=("why",))


def entries_table(roster: Sequence[Contender], gates: pd.DataFrame) -> Table:
    """Return every entry that deadheat brings: what it proved here, and what of it was never run for real."""
    found = dict(list(gates[~gates["declined"]].groupby(["runner", "variant"])))
    rows = []
    for one in roster:
        proved, shown = _proved(found.get((one.runner, one.variant)))
        left = {name: why for name, why in one.unverified.items() if name not in shown}
        words = _unverified_words(one.model_copy(update={"unverified": left}))
        rows.append((one.entry, words, proved, one.language, one.framework, one.family, ", ".join(one.devices)))
    columns = ("entry", "not yet verified", "proved here", "language", "framework", "family", "devices")
    return Table(caption="Every entry that deadheat brings", columns=columns, rows=rows, prose=columns[1:2])


def is_declined(gates: pd.DataFrame) -> pd.Series:
    """Return for each result whether the runner said that it cannot do this, which is no failure."""
    return (gates["part"] == "run") & gates["found"].astype(str).str.startswith(DECLINED)


def _prepared(results: Results) -> pd.DataFrame:
    """Return the last result of each part, with the entry as people write it."""
    gates = results.gates
    return gates.assign(
        entry=_labels(gates, results.runs),
        passed=gates["passed"].astype(bool),
        declined=is_declined(gates),
        exceptions=gates["exceptions"].fillna(""),
        **{name: gates[name].fillna(EITHER) for name in CONFIGURATION},
    )


def _proved(gates: pd.DataFrame | None) -> tuple[str, set[str]]:
    """Return on how many workloads an entry passed, and everything that its passed proofs show to work."""
    if gates is None:
        return "not gated here", set()
    keys = ["runner", "variant", "workload", *CONFIGURATION]
    proofs = gates.groupby(keys)["passed"].all()
    passed = proofs[proofs].index.to_frame()
    workloads = gates["workload"].nunique()
    words = f"{passed['workload'].nunique()} of {tables.count(workloads, 'workload')}"
    return words, {str(name) for key in keys for name in passed[key]}


def _unverified_words(one: Contender) -> str:
    if one.whole:
        return f"all of it: {one.whole}"
    return "; ".join(f"{names}: {why}" for names, why in by_reason(one.unverified)) or tables.NOTHING


def _labels(gates: pd.DataFrame, runs: pd.DataFrame) -> list[str]:
    """Return each row's entry as people write it; a variant that never ran keeps its full name."""
    headline = dict(zip(runs["entry"], runs["headline"], strict=True))
    entries = [f"{runner}:{variant}" for runner, variant in zip(gates["runner"], gates["variant"], strict=True)]
    return [entry_name(entry, is_headline=bool(headline.get(entry, False))) for entry in entries]


def _matrix_cell(rows: pd.DataFrame | None, anchor: str | None) -> Markup:
    if rows is None:
        return Markup('<span title="not claimed, or not gated">–</span>')
    by_configuration = rows.groupby(CONFIGURATION)
    declined, passed = by_configuration["declined"].any(), by_configuration["passed"].all()
    failed = ~passed & ~declined
    if failed.any():
        parts = ", ".join(sorted(set(rows.loc[~rows["passed"] & ~rows["declined"], "part"])))
        text = _mark("failed", "✕", f"FAIL {parts}", f"in {failed.sum()} of {len(passed)}")
    elif passed.any():
        text = _mark("passed", "✓", f"{passed.sum()}", f"{declined.sum()} unsupported" if declined.any() else "")
    else:
        text = Markup("unsupported")
    return Markup('<a href="#{}">{}</a>').format(anchor, text) if anchor and not declined.all() else text


def _part_cell(row: Row | None) -> Markup:
    if row is None:
        return Markup('<span title="not tested">–</span>')
    known = not tables.is_absent(row["error"]) and row["tolerance"]
    share = _share(row["error"] / row["tolerance"]) if known else ""
    if row["passed"]:
        return _mark("passed", "✓", share or "passed", "", row["quantity"])
    return _mark("failed", "✕", "failed", share, row["quantity"])


def _share(ratio: float) -> str:
    """Return how much of its tolerance an error is; far beyond it as a multiple."""
    if ratio >= 10:
        return f"{ratio:,.3g} ×"
    return "< 1 %" if 0 < ratio < 0.005 else f"{100 * ratio:.0f} %"


def _mark(word: str, mark: str, text: str, small: str, title: str = "") -> Markup:
    return Markup('<span class="dh-gate dh-gate-{word}" title="{title}">{mark} {text}</span>{small}').format(
        word=word,
        title=title or word,
        mark=mark,
        text=text,
        small=Markup(" <small>{}</small>").format(small) if small else "",
    )


def _where(row: Row) -> str:
    return ", ".join(str(row[name]) for name in CONFIGURATION if row[name] != EITHER)
