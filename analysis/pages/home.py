"""The front page: the verdict first, then who was measured, when, where and with what (pure)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from markupsafe import Markup

from analysis.findings.comparison import Verdict
from analysis.findings.finding import CLOCKS, Finding
from analysis.pages.addresses import workload_address
from analysis.pages.gate import still_unverified
from analysis.pages.workload.figures import both_clocks_query, forest_of_both_clocks, pooled_epochs
from analysis.rendering import queries, tables
from analysis.rendering.headlines import KERNELS, LanguageHeadline, language_headlines
from analysis.rendering.render import Page, page
from analysis.rendering.tables import Table
from analysis.rendering.wording import cell_title, difference_words, seconds, sentence
from analysis.results.cell_results import CLOCK_NAMES, CellResults, compared, page_order, placed, verdict_counts
from analysis.results.results import Results
from store.roster import Contender, by_reason

KERNELS_ALONE = "kernels"  # stands beside the classes of runners: see KERNELS in analysis.rendering.headlines
CHOSEN = "chosen"  # the suite of a campaign whose runners and workloads were named on the command line
SUBSET = "_subset"  # ends the name of a suite that was run in small
# Options of deadheat run that nobody needs to give: columns of a run, and what they are then.
USUAL = {"device": "cpu", "dtype": "fp32", "threads": 1, "loader": "resident", "loader_workers": 0}


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
    campaign = [mine for mine in cells if mine.cell.campaign_id == headline.cell.campaign_id]
    newest = compared(campaign)
    firsts = first_of_workloads(newest)
    environment = results.environments[results.environments["environment_id"] == headline.cell.environment_id]
    roster = still_unverified(results)
    context = {
        "headline": headline,
        "title": cell_title(headline.cell),
        "verdict": verdict_words(headline),
        "baseline": headline.label(headline.baseline),
        "contenders": contenders(headline, "framework", is_headline=True, roster=roster),
        "kernels": contenders(headline, KERNELS_ALONE, is_headline=True),
        "bare": contenders(headline, "baseline", is_headline=True),
        "variants": contenders(headline, None, is_headline=False),
        "languages": languages_table(headline),
        "languages_query": both_clocks_query(headline),
        "bare_table": bare_table(firsts),
        "bare_query": queries.differences_in([(m.cell, m.baseline, pooled_epochs(m)) for m in firsts]),
        "workloads": workloads_table(newest),
        "forest": forest,
        "campaign": campaign_facts(headline, campaign, results.suites),
        "environment": environment.to_dict("records")[0] if len(environment) else None,
        "memory": tables.memory(environment["memory_bytes"].iloc[0]) if len(environment) else tables.NOTHING,
        "versions": versions(newest),
        "others": [snapshot for snapshot in results.snapshots if snapshot is not headline.elsewhere],
    }
    return page("index.md", "home.md.jinja", context, (forest,) if forest else ())


def verdict_words(mine: CellResults) -> str:
    """Return the verdicts on the frameworks that were measured, in a few words."""
    baseline = mine.label(mine.baseline)
    found: dict[str, dict[str, Verdict]] = {}
    for finding in (f for clock in CLOCKS for f in mine.on(clock)):
        if _class(finding) == "framework" and finding.candidate_headline and finding.ratio is not None:
            found.setdefault(mine.label(finding.candidate), {})[CLOCK_NAMES[finding.clock]] = finding.verdict
    if not found:
        return f"No framework has been measured beside {baseline} yet"
    return "; ".join(_verdict_clause(name, verdicts) for name, verdicts in found.items()) + f", against {baseline}"


def first_of_workloads(cells: Sequence[CellResults]) -> list[CellResults]:
    """Return the cell that stands first on the page of each workload."""
    found: dict[str, CellResults] = {}
    for mine in page_order(cells):
        found.setdefault(mine.cell.workload, mine)
    return [mine for mine in cells if found[mine.cell.workload] is mine]


def contenders(
    mine: CellResults, runner_class: str | None, *, is_headline: bool, roster: Sequence[Contender] = ()
) -> list[dict[str, Any]]:
    """Return the candidates of one class with their findings on both clocks, and what `roster` calls unverified."""
    found: dict[str, list[Finding]] = {}
    for finding in (f for clock in CLOCKS for f in mine.on(clock)):
        if runner_class in (None, _class(finding)) and finding.candidate_headline is is_headline:
            found.setdefault(finding.candidate, []).append(finding)
    return [
        {
            "name": mine.label(entry),
            "made_with": made_with(mine, findings[0]),
            "findings": _distinct(findings),
            "unverified": unverified_beside(findings[0], roster),
        }
        for entry, findings in found.items()
    ]


def made_with(mine: CellResults, finding: Finding) -> str:
    """Return framework, variant and language of a candidate, with the versions that ran."""
    variant = finding.candidate.partition(":")[2]
    ran = mine.attempts[mine.attempts["entry"] == finding.candidate].tail(1)
    versions = [str(ran[name].iloc[0]) if len(ran) else "" for name in ("framework_version", "language_version")]
    framework, language = (
        f"{name} {version}".strip()
        for name, version in zip((finding.candidate_framework, finding.candidate_language), versions, strict=True)
    )
    return f"{framework}{'' if variant == 'default' else f', {variant}'} · {language}"


def unverified_beside(finding: Finding, roster: Sequence[Contender]) -> list[tuple[str, str]]:
    """Return which variants and versions of a candidate's runner nobody has run for real, and why."""
    runner, framework = finding.candidate.partition(":")[0], finding.candidate_framework
    mine = [one for one in roster if one.runner == runner]
    found = {one.variant: one.whole for one in mine if one.whole}
    for one in mine:
        if one.entry == finding.candidate:
            found |= {name: why for name, why in one.unverified.items() if name.startswith(f"{framework} ")}
    return by_reason(found)


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
    found: dict[str, list[CellResults]] = {}
    for mine in cells:
        found.setdefault(mine.cell.workload, []).append(mine)
    rows = [
        (
            tables.link(f"{workload_address(workload)}#{anchor}", cell_title(mine.cell)),
            tables.count(mine.heats, "heat"),
            verdict_counts(mine),
        )
        for workload, of_workload in found.items()
        for mine, anchor in placed(of_workload)
    ]
    columns = ("workload", "heats", "verdicts on both clocks")
    return Table(caption="All workloads of this campaign", columns=columns, rows=rows, prose=columns)


def campaign_facts(headline: CellResults, cells: Sequence[CellResults], suites: Sequence[str]) -> dict[str, Any]:
    """Return when and how the campaign was run."""
    started = pd.concat([mine.attempts["started_at"] for mine in cells])
    return {
        "again": command_again(headline, cells, suites),
        "is_own_file": headline.cell.suite not in (CHOSEN, *suites, *(f"{name}{SUBSET}" for name in suites)),
        "when": tables.span(started.min(), started.max()),
        "runs": sum(len(mine.attempts) for mine in cells),
        "incomplete": sum(int((mine.attempts["status"] != "completed").sum()) for mine in cells),
    }


def command_again(headline: CellResults, cells: Sequence[CellResults], suites: Sequence[str]) -> str:
    """Return the command that repeats a campaign.

    Parameters
    ----------
    cells
        All of the campaign. One chosen on the command line repeats `headline` alone where they are no product of axes,
        and always with the seed of `deadheat run`: no record tells another.
    suites
        The names of those that deadheat brings; any other is a file of whoever measured.
    """
    suite = headline.cell.suite
    if suite == CHOSEN:
        axes = _axes(cells) if _is_product(cells) else _axes([headline])
        runners = ",".join(headline.label(entry) for entry in headline.entries)
        heats = int(headline.attempts["repetition"].max())
        options = " ".join(f"--{name.replace('_', '-')} {','.join(map(_plain, axis))}" for name, axis in axes.items())
        return f"deadheat run --runner {runners} {options} --heats {heats}"
    whole = suite if suite in suites else suite.removesuffix(SUBSET)
    name = whole if whole in suites else f"{whole}.toml"
    return f"deadheat run {name}" + ("" if whole == suite else " --subset")


def _axes(cells: Sequence[CellResults]) -> dict[str, list[Any]]:
    """Return the values of each option that says what cells of one mode are; those that go without saying are not."""
    cell = cells[0].cell
    names = ["workload", "mode", "epochs" if cell.mode == "train" else "steps", "batch_size"]
    if cell.optimizer and cell.mode != "infer":
        names += ["optimizer", "learning_rate", "weight_decay"]
    found = {name: sorted({getattr(mine.cell, name) for mine in cells}) for name in (*names, *USUAL)}
    return {name: axis for name, axis in found.items() if axis != [USUAL.get(name)]}


def _is_product(cells: Sequence[CellResults]) -> bool:
    """Whether cells are every combination of what they differ in."""
    axes = _axes(cells)
    return len(axes["mode"]) == 1 and math.prod(map(len, axes.values())) == len(cells)


def _plain(value: object) -> str:
    return f"{value:.12g}" if isinstance(value, float) else str(value)


def versions(cells: Sequence[CellResults]) -> list[str]:
    """Return each framework and language with the version that ran, once."""
    runs = pd.concat([mine.attempts for mine in cells])
    pairs = [
        *zip(runs["framework"], runs["framework_version"], strict=True),
        *zip(runs["language"], runs["language_version"], strict=True),
    ]
    return sorted({f"{name} {version}".strip() for name, version in pairs if name})


def _class(finding: Finding) -> str:
    """Return the class of a candidate's runner; kernels without a language in front are in a class of their own."""
    return KERNELS_ALONE if finding.candidate_language in KERNELS else finding.candidate_class


def _verdict_clause(name: str, verdicts: Mapping[str, Verdict]) -> str:
    if set(verdicts.values()) == {Verdict.INSUFFICIENT}:
        return f"{name}: too few heats for a verdict"
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
    return [(CLOCK_NAMES[f.clock], f.verdict, sentence(f)) for f in findings]


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
