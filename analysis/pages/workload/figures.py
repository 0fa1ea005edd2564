"""Charts of one cell with their words: caption, what they show to whoever cannot see it, and their SQL (pure)."""

from __future__ import annotations

from collections.abc import Sequence

from analysis.findings.finding import CLOCKS, Finding
from analysis.rendering import charts, queries, tables
from analysis.rendering.render import Chart
from analysis.rendering.wording import difference_words, seconds
from analysis.results.cell_results import (
    CLOCK_NAMES,
    CellResults,
    accuracy_curves,
    median_curve,
    phase_medians,
    thinned,
)


def forest_chart(mine: CellResults, clock: str, name: str) -> Chart | None:
    """Return the forest plot of one clock; none without a comparison."""
    found = [f for f in mine.on(clock) if f.ratio is not None]
    labels = [mine.label(f.candidate) for f in found]
    return (
        _forest(mine, found, labels, name, f"the {CLOCK_NAMES[clock]}", findings_query(mine, clock)) if found else None
    )


def forest_of_both_clocks(mine: CellResults, name: str) -> Chart | None:
    """Return the forest plot of both clocks, a row per candidate and clock; none without a comparison."""
    on_train, on_e2e = ({f.candidate: f for f in mine.on(clock) if f.ratio is not None} for clock in CLOCKS)
    found = [side[entry] for entry in on_train for side in (on_train, on_e2e) if entry in side]
    labels = [f"{mine.label(f.candidate)} · {f.clock}" for f in found]
    return _forest(mine, found, labels, name, "both clocks", both_clocks_query(mine)) if found else None


def _forest(
    mine: CellResults, found: Sequence[Finding], labels: Sequence[str], name: str, clocks: str, sql: str
) -> Chart:
    points = [_point(finding, label) for finding, label in zip(found, labels, strict=True)]
    margin, baseline = found[0].margin_ratio, mine.label(mine.baseline)
    floors = {f.clock: f.floor_ratio for f in found if f.floor_ratio}
    floor = max(floors.values(), default=None)
    spec = charts.forest(points, margin_ratio=margin, floor_ratio=floor)
    has_bars = any(point.low is not None for point in points)
    bars = "Bars are 95 % intervals." if has_bars else "There are too few heats for intervals."
    noisier = " of the noisier clock" if len(floors) > 1 else ""
    alt = f"Forest plot against {baseline}. " + " ".join(f"{p.label}: {p.words}, {p.verdict}." for p in points)
    caption = (
        f"On {clocks}, compared with {baseline}: left takes less, right takes longer. "
        f"{bars} The band is the margin of a dead heat (±\u00a0{100 * margin:g}\u00a0%)"
        + (
            f"; dashed lines are the A/A floor{noisier}: this machine cannot tell apart what lies between them."
            if floor
            else "."
        )
    )
    return Chart(
        name=name,
        spec=spec | {"description": alt},
        alt=alt,
        caption=caption,
        query=sql,
    )


def phase_chart(mine: CellResults, name: str) -> Chart | None:
    """Return the phases of each entry as stacked bars; none where nothing completed."""
    medians = phase_medians(mine)
    if medians.empty:
        return None
    present = set(medians["label"])
    entries = [label for entry in mine.entries if (label := mine.label(entry)) in present]
    totals = dict(medians.groupby("label")["duration_s"].sum())
    told = " ".join(f"{label}: {seconds(totals[label])} in all." for label in entries)
    alt = f"Stacked bars of the seconds in each phase. {told}"
    return Chart(
        name=name,
        spec=charts.phase_bars(medians, entries) | {"description": alt},
        alt=alt,
        caption="Where a run's seconds go, in the order in which it spends them: medians over completed runs.",
        query=queries.phase_medians(mine.cell),
    )


def accuracy_chart(mine: CellResults, clock: str, name: str, target: float | None) -> Chart | None:
    """Return test accuracy against one clock; none without evaluations."""
    curves = accuracy_curves(mine, clock)
    if curves.empty:
        return None
    medians = median_curve(curves)
    entries = [label for entry in mine.entries if (label := mine.label(entry)) in set(curves["label"])]
    last = {row["label"]: row for row in medians.to_dict("records")}  # the rows of an entry lie in order
    alt = f"Test accuracy against the {CLOCK_NAMES[clock]}. " + " ".join(
        f"{label}: {tables.percent(last[label]['test_accuracy'])} after {seconds(last[label]['clock_s'])}."
        for label in entries
    )
    lines, target_words = (
        thinned(curves),
        f" The dashed line is the target, {tables.percent(target)}." if target else "",
    )
    drawn, known = lines["run"].nunique(), curves["run"].nunique()
    thin = "a thin line per run" if drawn == known else f"thin lines are {drawn} of the {known} runs"
    caption = f"Test accuracy on the {CLOCK_NAMES[clock]}: {thin}, thick lines go through the medians.{target_words}"
    spec = charts.accuracy_curves(lines, medians, entries, clock=clock, target=target)
    return Chart(
        name=name, spec=spec | {"description": alt}, alt=alt, caption=caption, query=queries.accuracy(mine.cell)
    )


def findings_query(mine: CellResults, clock: str) -> str:
    """Return the SQL of the paired differences on one clock."""
    return queries.differences(mine.cell, mine.baseline, clock, pooled_epochs(mine))


def both_clocks_query(mine: CellResults) -> str:
    """Return the SQL of the paired differences on both clocks."""
    return queries.differences_on_both_clocks(mine.cell, mine.baseline, pooled_epochs(mine))


def pooled_epochs(mine: CellResults) -> float | None:
    """Return the epochs to the target that the values are for; none: the whole timed work."""
    return next((f.epochs_to_target for f in mine.findings if f.epochs_to_target is not None), None)


def _point(finding: Finding, label: str) -> charts.ForestPoint:
    assert finding.ratio is not None  # the caller left out those without
    return charts.ForestPoint(
        label=label,
        ratio=finding.ratio,
        low=finding.ratio_low,
        high=finding.ratio_high,
        verdict=finding.verdict,
        words=difference_words(finding),
    )
