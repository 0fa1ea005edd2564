"""Findings for the terminal: which ones, and as which columns. Verdicts are those of the site."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from itertools import groupby
from typing import Any

import numpy as np
import pandas as pd

from analysis.findings.comparison import Verdict
from analysis.findings.finding import CLOCKS, COMPARED_TRACKS, Finding, entry_name
from analysis.findings.rows import CELL_COLUMNS
from analysis.rendering.wording import cell_title, difference_words, interval_words, value_words
from analysis.results.results import Measured, ResultsError, latest_campaign
from store.definition import near
from store.metrics import METRICS

TABLE_COLUMNS = ["clock", "candidate", "it took", "baseline", "that took", "difference", "95 % interval", "heats", "verdict"]  # fmt: skip  # noqa: E501
NO_HEAT = "There are no findings: no heat is complete."
NOTHING_MEASURED = "There are no findings: nothing was measured."


def latest_findings(measured: Measured, *, workload: str | None = None, everything: bool = False) -> list[Finding]:
    """Return the findings of the latest campaign, or of all.

    Raises
    ------
    ResultsError
        If nothing was measured on `workload`.
    """
    found = measured.findings()
    if not everything:
        campaign_id = latest_campaign(measured.runs)
        found = [finding for finding in found if finding.cell.campaign_id == campaign_id]
    elsewhere = set(measured.runs["workload"]) if not everything else set()
    return _of_workload(found, workload, elsewhere)


def compared(measured: Measured, first: str, second: str, *, workload: str | None = None) -> list[Finding]:
    """Return `second` against `first`, as published where one of them is the baseline.

    Two entries that the suite never set against each other are paired in the same heats; the result is an
    observation without a verdict, because nobody planned it.

    Raises
    ------
    ResultsError
        If an entry or the workload was never measured, or both names mean the same entry.
    """
    one, other = find_entry(measured, first), find_entry(measured, second)
    if one == other:
        raise ResultsError(f"compare: {first!r} and {second!r} are both {one}; expected two entries. Name another.")
    published = [f for f in measured.findings() if {f.baseline, f.candidate} == {one, other}]
    cells = {finding.cell for finding in published}
    others = [f for f in _unplanned(measured, one, other) if f.cell not in cells]
    known = {*measured.runs["workload"], *measured.unavailable["workload"]}
    if workload is not None and workload not in known:
        raise ResultsError(f"--workload: got {workload!r}; measured are {listed(known)}. {near(workload, known)}")
    return [finding for finding in (*published, *others) if workload in (None, finding.cell.workload)]


def why_none(measured: Measured) -> str:
    """Return why there is no finding, in the place of the findings."""
    if measured.runs.empty and measured.unavailable.empty:
        return NOTHING_MEASURED
    runs = measured.runs[~measured.runs["control"].astype(bool)]
    newest = runs[runs["campaign_id"] == latest_campaign(runs)]
    compared = newest[newest["track"].isin(COMPARED_TRACKS)]
    if len(newest) and compared.empty:
        return (
            "There are no findings: the newest campaign ran only the recipes of studies, which are shown and never "
            "compared. --all looks at earlier campaigns."
        )
    entries = sorted(set(compared["entry"]))
    if len(entries) == 1:
        return (
            f"There are no findings: {entries[0]} ran alone, and a comparison needs two. Name another beside it: "
            f"deadheat run --runner {entries[0].partition(':')[0]},NAME ('deadheat runners' lists them)."
        )
    return NO_HEAT


def find_entry(measured: Measured, name: str) -> str:
    """Return the entry that `name` means: itself, or the headline variant of a runner.

    Raises
    ------
    ResultsError
        If no run is of that entry, and none was to be.
    """
    columns = ["entry", "runner", "headline"]
    gated = measured.gates.assign(entry=measured.gates["runner"] + ":" + measured.gates["variant"], headline=True)
    known = pd.concat(
        [frame[columns] for frame in (measured.runs, measured.unavailable, gated) if len(frame)] or [gated]
    )
    known = known.drop_duplicates("entry")
    mine = known[(known["entry"] == name) | ((known["runner"] == name) & known["headline"].astype(bool))]
    if len(mine):
        return str(mine["entry"].iloc[0])
    entries = sorted(known["entry"])
    if variants := [entry for entry in entries if entry.startswith(f"{name}:")]:
        raise ResultsError(
            f"compare: {name!r} was measured, but not its headline variant; measured are {listed(variants)}. "
            "Name the variant too."
        )
    hint, there = near(name, [*entries, *known["runner"]]), listed(set(measured.runs["entry"]))
    raise ResultsError(f"compare: {name!r} was never measured; measured are {there}. {hint}")


def find_metric(name: str) -> str:
    """Return the clock or the metric that `name` means: "train" is the train clock, and so is "train_clock_s".

    Raises
    ------
    ResultsError
        If there is none of that name.
    """
    clocks = {alias: clock for clock in CLOCKS for alias in (clock, f"{clock}_clock_s", f"time_to_target_{clock}_s")}
    if name in clocks:
        return clocks[name]
    if name not in METRICS:
        known = [*CLOCKS, *METRICS]
        raise ResultsError(f"--metric: got {name!r}; expected one of {listed(known)}. {near(name, known)}")
    return name


def listed(names: Iterable[str]) -> str:
    """Return names one after the other, those of a set in order; "none" without any."""
    return ", ".join(sorted(names) if isinstance(names, (set, frozenset)) else names) or "none"


def campaign_order(runs: pd.DataFrame) -> list[str]:
    """Return the campaigns, the one with the run that started last first."""
    last = runs.groupby("campaign_id")["started_at"].max().sort_values(ascending=False)
    return [str(campaign_id) for campaign_id in last.index]


def by_cell(findings: Iterable[Finding]) -> list[tuple[str, list[Finding]]]:
    """Return the findings of each cell under a title that says what it is."""
    return [(cell_title(cell), list(group)) for cell, group in groupby(findings, key=lambda f: f.cell)]


def table_rows(findings: Sequence[Finding]) -> tuple[list[str], list[tuple[Any, ...]]]:
    """Return the findings of one cell as people read them."""
    return TABLE_COLUMNS, [_table_row(finding) for finding in findings]


def _of_workload(findings: list[Finding], workload: str | None, elsewhere: Collection[str]) -> list[Finding]:
    """Return the findings on a workload; `elsewhere` are those that other campaigns measured too."""
    known = sorted({finding.cell.workload for finding in findings})
    if not known:
        return []  # why there is none is more than that this name has none
    if workload is not None and workload not in known:
        what = near(workload, known)
        if workload in elsewhere:
            what = f"The newest campaign did not measure {workload}: --all looks at the earlier ones too."
        raise ResultsError(f"--workload: got {workload!r}; there are findings on {listed(known)}. {what}")
    return [finding for finding in findings if workload in (None, finding.cell.workload)]


def _unplanned(measured: Measured, first: str, second: str) -> list[Finding]:
    """Return `second` against `first` as if `first` were the baseline, without a verdict.

    Only cells that both ran in are looked at, and those where one of them was the baseline are not.
    """
    runs = measured.runs
    numbers = runs.groupby(CELL_COLUMNS, sort=False, dropna=False).ngroup()
    both = set(numbers[runs["entry"] == first]) & set(numbers[runs["entry"] == second])
    planned = set(numbers[runs["baseline"].isin([first, second])])
    mine = np.isin(numbers, list(both - planned))
    if not mine.any():
        return []
    rebased = replace(measured, runs=runs[mine]).against(first).findings()
    return [_observation(finding) for finding in rebased if finding.candidate == second]


def _observation(finding: Finding) -> Finding:
    if finding.verdict in (Verdict.NOT_RANKED, Verdict.INSUFFICIENT):
        return finding
    reason = "because the suite did not plan this comparison, and an afterthought gets no verdict"
    return replace(
        finding,
        verdict=Verdict.UNDECIDED,
        reason=reason,
        adjusted_p=None,
        heats_to_decide_low=None,
        heats_to_decide_high=None,
    )


def _table_row(finding: Finding) -> tuple[Any, ...]:
    baseline = entry_name(finding.baseline, is_headline=finding.baseline_headline)
    return (
        finding.clock,
        entry_name(finding.candidate, is_headline=finding.candidate_headline),
        value_words(finding.candidate_value, finding.unit),
        baseline,
        value_words(finding.baseline_value, finding.unit),
        difference_words(finding),
        interval_words(finding),
        finding.heats,
        str(finding.verdict),
    )
