"""The pages about the whole store: results, runs, gate, environments, data (pure)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
from markupsafe import Markup

from analysis import queries, tables
from analysis.addresses import workload_address
from analysis.cells import CLOCK_NAMES, CellResults
from analysis.figures import both_clocks_query, forest_of_both_clocks, pooled_epochs
from analysis.findings import CLOCKS, Finding, Verdict
from analysis.headlines import LanguageHeadline, language_headlines
from analysis.render import Page, page
from analysis.results import Results
from analysis.sentences import entry_name
from analysis.tables import Table
from analysis.words import cell_title, difference_words, seconds

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


def home_page(results: Results, cells: Sequence[CellResults], headline: CellResults) -> Page:
    """Return the front page: the verdict first.

    Parameters
    ----------
    cells
        Every cell, the newest campaign's first.
    headline
        The one that the page is about.
    """
    forest = forest_of_both_clocks(headline, "home-forest")
    newest = [mine for mine in cells if mine.cell.campaign_id == headline.cell.campaign_id]
    environment = results.environments[results.environments["environment_id"] == headline.cell.environment_id]
    context = {
        "headline": headline,
        "title": cell_title(headline.cell),
        "verdict": verdict_words(headline),
        "baseline": headline.label(headline.baseline),
        "contenders": contenders(headline, "framework", is_headline=True),
        "bare": contenders(headline, "baseline", is_headline=True),
        "variants": contenders(headline, None, is_headline=False),
        "languages": languages_table(headline),
        "languages_query": both_clocks_query(headline),
        "bare_table": bare_table(newest),
        "bare_query": queries.differences_in([(m.cell, m.baseline, pooled_epochs(m)) for m in newest]),
        "workloads": workloads_table(newest),
        "forest": forest,
        "campaign": campaign_facts(headline, newest),
        "environment": environment.to_dict("records")[0] if len(environment) else None,
        "memory": tables.memory(environment["memory_bytes"].iloc[0]) if len(environment) else tables.NOTHING,
        "versions": versions(newest),
    }
    return page("index.md", "home.md.jinja", context, (forest,) if forest else ())


def verdict_words(mine: CellResults) -> str:
    """Return the verdicts on the frameworks that were measured, in a few words."""
    baseline = mine.label(mine.baseline)
    found: dict[str, dict[str, Verdict]] = {}
    for finding in (f for clock in CLOCKS for f in mine.on(clock)):
        if finding.candidate_class == "framework" and finding.candidate_headline and finding.ratio is not None:
            found.setdefault(mine.label(finding.candidate), {})[CLOCK_NAMES[finding.clock]] = finding.verdict
    if not found:
        return f"No framework has been measured beside {baseline} yet"
    return "; ".join(_verdict_clause(name, verdicts) for name, verdicts in found.items()) + f", against {baseline}"


def contenders(mine: CellResults, runner_class: str | None, *, is_headline: bool) -> list[dict[str, Any]]:
    """Return the candidates of one class with their findings on both clocks."""
    found: dict[str, list[Finding]] = {}
    for finding in (f for clock in CLOCKS for f in mine.on(clock)):
        if runner_class in (None, finding.candidate_class) and finding.candidate_headline is is_headline:
            found.setdefault(finding.candidate, []).append(finding)
    return [
        {
            "name": mine.label(entry),
            "framework": findings[0].candidate_framework,
            "language": findings[0].candidate_language,
            "findings": _distinct(findings),
        }
        for entry, findings in found.items()
    ]


def languages_table(mine: CellResults) -> Table:
    """Return one row per language: the framework that stands for it, or that none was measured."""
    on_train, on_e2e = ({h.language: h for h in language_headlines(mine.on(clock))} for clock in CLOCKS)
    rows = [
        (
            language,
            _framework_words(headline),
            _headline_words(on_train.get(language)),
            _headline_words(on_e2e.get(language)),
        )
        for language, headline in on_train.items()
    ]
    columns = ("language", "framework", *(CLOCK_NAMES[clock] for clock in CLOCKS))
    return Table(caption=f"Languages on {mine.cell.workload}, each by its framework", columns=columns, rows=rows)


def bare_table(cells: Sequence[CellResults]) -> Table:
    """Return what languages do without a framework, on every workload of a campaign."""
    rows = [
        (f.candidate_language, mine.label(f.candidate), mine.cell.workload, *_both_clocks(mine, f.candidate))
        for mine in cells
        for f in mine.on("train")
        if f.candidate_class == "baseline"
    ]
    columns = ("language", "entry", "workload", *(CLOCK_NAMES[clock] for clock in CLOCKS))
    return Table(caption="Bare languages, without a framework", columns=columns, rows=rows)


def workloads_table(cells: Sequence[CellResults]) -> Table:
    """Return every cell of a campaign with its verdicts counted."""
    rows = []
    for mine in cells:
        address = workload_address(mine.cell.workload)
        words = tables.count(mine.heats, "heat")
        verdicts = [f.verdict for f in mine.findings]
        counted = ", ".join(f"{verdicts.count(v)} {v}" for v in Verdict if v in verdicts)
        rows.append((tables.link(address, cell_title(mine.cell)), words, counted or "nothing to compare"))
    columns = ("workload", "heats", "verdicts on both clocks")
    return Table(caption="All workloads of this campaign", columns=columns, rows=rows, prose=columns)


def campaign_facts(headline: CellResults, cells: Sequence[CellResults]) -> dict[str, Any]:
    """Return when and how the campaign was run."""
    started = pd.concat([mine.attempts["started_at"] for mine in cells])
    return {
        "suite": headline.cell.suite,
        "id": headline.cell.campaign_id,
        "began": tables.moment(started.min()),
        "ended": tables.moment(started.max()),
        "runs": sum(len(mine.attempts) for mine in cells),
        "incomplete": sum(int((mine.attempts["status"] != "completed").sum()) for mine in cells),
    }


def versions(cells: Sequence[CellResults]) -> list[str]:
    """Return each framework and language with the version that ran, once."""
    runs = pd.concat([mine.attempts for mine in cells])
    pairs = [
        *zip(runs["framework"], runs["framework_version"], strict=True),
        *zip(runs["language"], runs["language_version"], strict=True),
    ]
    return sorted({f"{name} {version}".strip() for name, version in pairs if name})


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


def _verdict_clause(name: str, verdicts: Mapping[str, Verdict]) -> str:
    if len(set(verdicts.values())) == 1:
        return (
            f"{name}: {next(iter(verdicts.values()))} on {'both clocks' if len(verdicts) > 1 else next(iter(verdicts))}"
        )
    return f"{name}: " + ", ".join(f"{verdict} on the {clock}" for clock, verdict in verdicts.items())


def _distinct(findings: Sequence[Finding]) -> list[tuple[str, Verdict, str]]:
    """Return clock, verdict and sentence of each finding; what was not ranked for one reason is said once."""
    if all(f.verdict is Verdict.NOT_RANKED for f in findings) and len({f.reason for f in findings}) == 1:
        reason = findings[0].reason
        return [("", Verdict.NOT_RANKED, f"{reason[:1].upper()}{reason[1:]}.")]
    return [(CLOCK_NAMES[f.clock], f.verdict, f.sentence) for f in findings]


def _framework_words(headline: LanguageHeadline) -> Markup:
    if not headline.framework:
        return Markup("<em>not yet measured</em>")
    others = ", ".join(entry.partition(":")[0] for entry in headline.others)
    also = Markup(" <small>also measured: {}</small>").format(others) if others else Markup("")
    return Markup("{}{}").format(headline.framework, also)


def _headline_words(headline: LanguageHeadline | None) -> Markup:
    if headline is None or headline.value is None:
        return Markup("–")
    if headline.finding is None:
        return Markup("{} <small>the baseline</small>").format(seconds(headline.value))
    words = difference_words(headline.finding)
    return Markup("{} {} <small>{}</small>").format(
        tables.pill(headline.finding.verdict), words, seconds(headline.value)
    )


def _both_clocks(mine: CellResults, entry: str) -> list[Markup]:
    found = {f.clock: f for clock in CLOCKS for f in mine.on(clock) if f.candidate == entry}
    return [
        Markup("{} {}").format(tables.pill(f.verdict), difference_words(f) if f.ratio is not None else "")
        for clock in CLOCKS
        if (f := found.get(clock))
    ]


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
