"""The page of the gate: who proved equal work on what, how closely, and why not (pure)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from markupsafe import Markup, escape

from analysis.findings.finding import entry_name
from analysis.frames.columns import is_absent
from analysis.rendering import tables
from analysis.rendering.gate_queries import gates as gates_query
from analysis.rendering.render import Page, page
from analysis.rendering.tables import Table
from analysis.results.results import Results, titles_of
from store.roster import Contender, by_reason

Row = Mapping[Any, Any]  # of a frame

DECLINED = "unsupported: "  # how the collector begins what a runner found that declined its gate
CONFIGURATION = ["optimizer", "loader", "device", "dtype"]
PROOF = ["runner", "variant", "workload", *CONFIGURATION]
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
        "entries": entries_table(still_unverified(results), gates),
        "gates_query": gates_query(titles_of(results.snapshots)),
        "has_elsewhere": bool((gates["elsewhere"] != "").any()),
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
    is_mixed = bool((gates["elsewhere"] != "").any())
    rows = []
    for (entry, *where), mine in gates.groupby(["entry", *CONFIGURATION], sort=True):
        by_part = {row["part"]: row for row in mine.to_dict("records")}
        forms = ", ".join(sorted({form for form in mine["exceptions"] if form}))
        last = (forms or tables.NOTHING, *([mine["elsewhere"].iloc[0] or "here"] if is_mixed else []))
        rows.append((entry, *where, *(_part_cell(by_part.get(part)) for part in parts), *last))
    columns = (
        "entry", "optimizer", "loader", "device", "precision",
        *(f"part {part}" if len(part) == 1 else part for part in parts), "listed form",
        *(["measured"] if is_mixed else []),
    )  # fmt: skip
    caption = f"Gate on {workload}: share of the tolerance that was used"
    return Table(caption=caption, columns=columns, rows=rows, prose=("measured",))


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
    """Return every entry that deadheat brings: what it proved here, and what of it was never run for real.

    `roster` is what `still_unverified` returned.
    """
    found = dict(list(gates[~gates["declined"]].groupby(["runner", "variant"])))
    rows = []
    for one in roster:
        words, proved = _unverified_words(one), _proved_words(found.get((one.runner, one.variant)))
        rows.append((one.entry, words, proved, one.language, one.framework, one.family, ", ".join(one.devices)))
    columns = ("entry", "not yet verified", "proved here", "language", "framework", "family", "devices")
    return Table(caption="Every entry that deadheat brings", columns=columns, rows=rows, prose=columns[1:3])


def still_unverified(results: Results) -> list[Contender]:
    """Return the roster without what an entry's own passed proofs, here or elsewhere, have shown to work."""
    passed = _passed(_prepared(results))
    shown = {key: _shown(mine) for key, mine in passed.groupby(["runner", "variant"])}
    return [
        one.model_copy(update={"unverified": {n: w for n, w in one.unverified.items() if n not in mine}})
        for one in results.roster
        for mine in [shown.get((one.runner, one.variant), set())]
    ]


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


def _passed(gates: pd.DataFrame) -> pd.DataFrame:
    """Return the results of proofs of which every part passed."""
    return gates[gates.groupby(PROOF)["passed"].transform("all").astype(bool)]


def _shown(passed: pd.DataFrame) -> set[str]:
    """Return everything that passed proofs show to work, by the names that `runner.toml` has for it."""
    names = {str(name) for key in PROOF for name in passed[key]}
    return names.union(*map(_version_names, set(passed["versions"])))


def _version_names(described: str) -> set[str]:
    """Return language and framework with their versions, also without the last digits.

    >>> sorted(_version_names('{"framework": "Flux", "framework_version": "0.16.11"}'))
    ['Flux 0', 'Flux 0.16', 'Flux 0.16.11']
    """
    try:
        told = json.loads(described)
    except ValueError:
        return set()
    pairs = [(told.get(what), str(told.get(f"{what}_version", "")).split(".")) for what in ("language", "framework")]
    return {f"{name} {'.'.join(digits[: n + 1])}" for name, digits in pairs if name for n in range(len(digits))}


def _proved_words(gates: pd.DataFrame | None) -> str:
    """Return on how many workloads an entry passed here, and on how many elsewhere that nobody gated here."""
    if gates is None:
        return "not gated here"
    own, others = gates[gates["elsewhere"] == ""], gates[gates["elsewhere"] != ""]
    here = _count_words(own) if len(own) else "not gated here"
    if others.empty:
        return here
    return f"{here}; elsewhere {_count_words(others)} ({', '.join(others['elsewhere'].unique())})"


def _count_words(gates: pd.DataFrame) -> str:
    return f"{_passed(gates)['workload'].nunique()} of {tables.count(gates['workload'].nunique(), 'workload')}"


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
    own = rows[rows["elsewhere"] == ""]
    where, rows = ("", own) if len(own) else ("elsewhere", rows)
    by_configuration = rows.groupby(CONFIGURATION)
    declined, passed = by_configuration["declined"].any(), by_configuration["passed"].all()
    failed = ~passed & ~declined
    if failed.any():
        parts = ", ".join(sorted(set(rows.loc[~rows["passed"] & ~rows["declined"], "part"])))
        text = _mark("failed", "✕", f"FAIL {parts}", _joined(f"in {failed.sum()} of {len(passed)}", where))
    elif passed.any():
        unsupported = f"{declined.sum()} unsupported" if declined.any() else ""
        text = _mark("passed", "✓", f"{passed.sum()}", _joined(unsupported, where))
    else:
        text = Markup(escape(_joined("unsupported", where)))
    return Markup('<a href="#{}">{}</a>').format(anchor, text) if anchor and not declined.all() else text


def _part_cell(row: Row | None) -> Markup:
    if row is None:
        return Markup('<span title="not tested">–</span>')
    known = not is_absent(row["error"]) and row["tolerance"]
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
    elsewhere = f"elsewhere: {row['elsewhere']}" if row["elsewhere"] else ""
    return _joined(*(str(row[name]) for name in CONFIGURATION if row[name] != EITHER), elsewhere)


def _joined(*words: str) -> str:
    return ", ".join(filter(None, words))
