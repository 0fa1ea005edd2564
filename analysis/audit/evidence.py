"""What was measured here about a study's claim: its recipes re-run as published, and the same as equal work (pure)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import pandas as pd

from analysis.audit.claims import Audited, Judgement
from analysis.findings.comparison import Verdict
from analysis.findings.finding import Finding, entry_name
from analysis.rendering import tables, wording
from analysis.results.cell_results import CellResults
from store.study import Here, Side, Study

EQUAL_RATIO = 1.03  # of medians that no verdict is computed for: the margin of a dead heat
EQUAL_ACCURACY = 0.003  # part H of the gate
NOT_MEASURED_YET = "not measured here yet"


class Outcome(StrEnum):
    """What equal work here says of a claim."""

    SUPPORTED = "supported"
    CONTRADICTED = "contradicted"
    SAME_WAY = "points the same way"  # medians, without a verdict
    OTHER_WAY = "points the other way"
    OPEN = "open"
    NOT_MEASURED = NOT_MEASURED_YET


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What was measured here about one comparison that a claim makes."""

    here: Here
    as_published: str
    as_equal_work: str
    outcome: Outcome


def evidence(study: Study, here: Here, cells: Sequence[CellResults]) -> Evidence:
    """Return what the cells of a store say about one comparison.

    Parameters
    ----------
    cells
        Every cell, the newest campaign's first. None: nothing was measured here yet.
    """
    candidate, baseline = (_side(study, system) for system in (here.candidate, here.baseline))
    text, outcome = _equal_work(study.equal_work[here.workload], here, (candidate, baseline), cells)
    return Evidence(
        here=here, as_published=_published(here, (candidate, baseline), cells), as_equal_work=text, outcome=outcome
    )


def verdict(study: Study, found: Audited, measured: Sequence[Evidence]) -> str:
    """Return the verdict on a claim in one sentence: by its own numbers, then by equal work here."""
    first = {
        Judgement.AGREES: "Its arithmetic holds",
        Judgement.ROUNDING: "Its arithmetic holds but for rounding",
        Judgement.WRONG: "Its own numbers say otherwise",
        Judgement.NOT_COMPARABLE: "It cannot be computed from its numbers",
        Judgement.IN_WORDS: "It is said without numbers",
    }[found.judgement]
    if found.claim.names:
        first += ", on another quantity than the one it names"
    if study.unequal and measured and found.judgement in (Judgement.AGREES, Judgement.ROUNDING):
        first += ", for programs that do different work"
    return f"{first}; {_outcomes([one.outcome for one in measured])}." if measured else f"{first}."


def _outcomes(outcomes: Sequence[Outcome]) -> str:
    kinds = list(dict.fromkeys(outcomes))
    if kinds == [Outcome.NOT_MEASURED]:
        return f"as equal work it is {NOT_MEASURED_YET}"
    said = {
        Outcome.SUPPORTED: "equal work here supports it",
        Outcome.CONTRADICTED: "equal work here contradicts it",
        Outcome.SAME_WAY: "equal work here points the same way",
        Outcome.OTHER_WAY: "equal work here points the other way",
        Outcome.OPEN: "equal work here has not decided it",
    }
    if len(kinds) == 1:
        return said[kinds[0]]
    counts = ", ".join(f"{outcomes.count(kind)} {kind}" for kind in kinds)
    return f"of {len(outcomes)} comparisons as equal work: {counts}"


def _side(study: Study, system: str) -> Side:
    return next(side for side in study.side if side.system == system)


def _published(here: Here, sides: tuple[Side, Side], cells: Sequence[CellResults]) -> str:
    """Return both recipes as they were run here: each side by its own framework, and both on one entry."""
    if not any(side.recipes.get(here.workload) for side in sides):
        return f"{sides[0].system}, {sides[1].system}: their programs cannot be run here, no recipe of them is known."
    runs = [_recipe_runs(side.recipes.get(here.workload, ""), cells) for side in sides]
    parts = []
    for side, mine in zip(sides, runs, strict=True):
        if not side.recipes.get(here.workload):
            parts.append(f"{side.system}: its program cannot be run here, no recipe of it is known.")
        elif mine.empty:
            parts.append(f"{side.system}: {NOT_MEASURED_YET}.")
        else:
            own = mine[_is_of(mine, side)]
            by_entry = (own if len(own) else mine).groupby("entry")
            shown = "; ".join(_entry_words(name, group, here) for name, group in by_entry)
            parts.append(f"{side.system}{'' if len(own) else ' (its recipe, by others)'}: {shown}.")
    both = sorted(set(runs[0]["entry"]) & set(runs[1]["entry"]))
    for entry in both[:1]:
        values = [_median(mine[mine["entry"] == entry], here) for mine in runs]
        if here.metric == "train_s_per_epoch" and all(value is not None and value > 0 for value in values):
            words = wording.difference(float(values[0] or 0) / float(values[1] or 1), f"{sides[1].system}'s")
            name = entry.partition(":")[0]
            parts.append(f"On one entry, {name}, {sides[0].system}'s recipe takes {words}: the other work alone.")
    return " ".join(parts)


def _recipe_runs(recipe: str, cells: Sequence[CellResults]) -> pd.DataFrame:
    """Return the completed runs of a recipe in its newest campaign, of the cell with the most of them."""
    mine = [one for one in cells if recipe and (one.cell.track, one.cell.workload) == ("published", recipe)]
    newest = [one.measured for one in mine if one.cell.campaign_id == mine[0].cell.campaign_id]
    return max(newest, key=len, default=pd.DataFrame(columns=["entry"]))


def _equal_work(
    workload: str, here: Here, sides: tuple[Side, Side], cells: Sequence[CellResults]
) -> tuple[str, Outcome]:
    mine = _equal_cell(workload, "infer" if here.metric.startswith("infer") else "train", cells)
    if mine is None:
        return f"{workload}: {NOT_MEASURED_YET}.", Outcome.NOT_MEASURED
    found = [mine.measured[_is_of(mine.measured, side)] for side in sides]
    absent = [side for side, runs in zip(sides, found, strict=True) if runs.empty]
    if absent:
        return " ".join(_absent(side, mine) for side in absent), Outcome.NOT_MEASURED
    entries = [_headlines(runs) for runs in found]
    if here.metric == "train_s_per_epoch":
        return _compared(mine, here, entries)
    return _medians(mine, here, sides, found, entries)


def _equal_cell(workload: str, mode: str, cells: Sequence[CellResults]) -> CellResults | None:
    """Return the cell of a workload in its newest campaign that has the most heats."""
    mine = [one for one in cells if (one.cell.workload, one.cell.mode, one.cell.track) == (workload, mode, "closed")]
    newest = [one for one in mine if one.cell.campaign_id == mine[0].cell.campaign_id and len(one.measured)]
    return max(newest, key=lambda one: one.heats, default=None)


def _absent(side: Side, mine: CellResults) -> str:
    bare = mine.measured[(mine.measured["language"] == side.language) & (mine.measured["runner_class"] == "baseline")]
    what = " or ".join(side.frameworks) or f"a framework of {side.language}"
    only = f"; only the bare language was ({', '.join(sorted(set(bare['runner'])))})" if len(bare) else ""
    who = "" if what == side.system else f"{side.system}: "
    return f"{who}{what} is {NOT_MEASURED_YET} on {mine.cell.workload}{only}."


def _compared(mine: CellResults, here: Here, entries: Sequence[Sequence[str]]) -> tuple[str, Outcome]:
    """Return the findings on the train clock between both sides' headline entries."""
    texts, outcomes = [], []
    for finding in mine.on("train"):
        is_same = finding.candidate in entries[0] and finding.baseline in entries[1]
        is_reverse = finding.candidate in entries[1] and finding.baseline in entries[0]
        if is_same or is_reverse:
            texts.append(wording.sentence(finding))
            outcomes.append(_of_verdict(finding, here.expected, is_reverse=is_reverse))
    if not texts:
        names = " and ".join(", ".join(name.partition(":")[0] for name in side) for side in entries)
        return f"{names} were measured on {mine.cell.workload}, but not compared with each other.", Outcome.OPEN
    worst = next((one for one in (Outcome.CONTRADICTED, Outcome.OPEN) if one in outcomes), Outcome.SUPPORTED)
    return " ".join(texts), worst


def _of_verdict(finding: Finding, expected: str, *, is_reverse: bool) -> Outcome:
    """Return what a verdict says of an expected direction."""
    reversed_of = {Verdict.FASTER: Verdict.SLOWER, Verdict.SLOWER: Verdict.FASTER}
    seen = reversed_of.get(finding.verdict, finding.verdict) if is_reverse else finding.verdict
    if seen not in (Verdict.FASTER, Verdict.SLOWER, Verdict.DEAD_HEAT):
        return Outcome.OPEN
    wanted = {"more": Verdict.SLOWER, "less": Verdict.FASTER, "equal": Verdict.DEAD_HEAT}[expected]
    return Outcome.SUPPORTED if seen is wanted else Outcome.CONTRADICTED


def _medians(
    mine: CellResults,
    here: Here,
    sides: tuple[Side, Side],
    found: Sequence[pd.DataFrame],
    entries: Sequence[Sequence[str]],
) -> tuple[str, Outcome]:
    """Return medians side by side: no verdict is computed for these metrics."""
    headline = [runs[runs["entry"].isin(names)] for runs, names in zip(found, entries, strict=True)]
    values = [_median(runs, here) for runs in headline]
    shown = "; ".join(
        f"{side.system}: {', '.join(_entry_words(name, group, here) for name, group in runs.groupby('entry'))}"
        for side, runs in zip(sides, headline, strict=True)
    )
    text = f"{shown} ({mine.cell.workload}; medians, no verdict is computed)."
    one, other = values
    if one is None or other is None:
        return text, Outcome.NOT_MEASURED
    seen = _relation(one, other, here.metric)
    return text, Outcome.SAME_WAY if seen == here.expected else Outcome.OTHER_WAY


def _relation(one: float, other: float, metric: str) -> str:
    is_accuracy = metric == "final_test_accuracy"
    margin = EQUAL_ACCURACY if is_accuracy else (EQUAL_RATIO - 1) * abs(other)
    return "equal" if abs(one - other) <= margin else "more" if one > other else "less"


def _is_of(runs: pd.DataFrame, side: Side) -> pd.Series:
    """Return which runs are of a side: its language, in one of its frameworks where it names some."""
    is_mine = (runs["language"] == side.language) & (runs["runner_class"] == "framework")
    return is_mine & runs["framework"].isin(side.frameworks) if side.frameworks else is_mine


def _headlines(runs: pd.DataFrame) -> list[str]:
    """Return the entries named before the campaign; all of them where none of those was run."""
    named = runs[runs["headline"].astype(bool)]
    return sorted(set((named if len(named) else runs)["entry"]))


def _values(runs: pd.DataFrame, here: Here) -> pd.Series:
    """Return one number per run; of a recipe the seconds that its study counted, where they are known."""
    if here.metric == "cpu_cores_busy":
        return (runs["cpu_s"].astype(float) / runs["e2e_clock_s"].astype(float)).dropna()
    if here.metric == "train_s_per_epoch" and runs["published_window_s"].notna().any():
        return runs["published_window_s"].astype(float).dropna()
    return runs[here.metric].astype(float).dropna()


def _median(runs: pd.DataFrame, here: Here) -> float | None:
    values = _values(runs, here)
    return float(values.median()) if len(values) else None


def _entry_words(entry: object, runs: pd.DataFrame, here: Here) -> str:
    name = entry_name(str(entry), is_headline=bool(runs["headline"].iloc[0]))
    return f"{name} {_shown(_median(runs, here), here.metric)} ({tables.count(len(runs), 'run')})"


def _shown(value: float | None, metric: str) -> str:
    if value is None:
        return "without a value"
    if metric == "memory_peak_bytes":
        return tables.memory(value)
    if metric == "final_test_accuracy":
        return tables.percent(value)
    if metric == "train_s_per_epoch":
        return wording.seconds(value)
    return f"{tables.number(value)} {'cores busy' if metric == 'cpu_cores_busy' else 'examples/s'}"
