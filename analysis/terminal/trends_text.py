"""Trends for the terminal, and as rows for programs: what changed, what was new, what is old (pure)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from analysis.findings.finding import entry_name
from analysis.findings.trends import Kind, Series, Shift, Staleness, Trend, campaigns
from analysis.rendering import tables
from analysis.rendering.wording import cell_words, difference, interval, value_words
from analysis.statistics.change_points import FEWEST_VALUES
from store.metrics import METRICS

SHIFT_COLUMNS = [
    "kind", "entry", "workload", "work", "track", "metric", "unit", "machine", "value_before", "value_after", "ratio",
    "ratio_low", "ratio_high", "noise_ratio", "margin_ratio", "others", "others_ratio", "last_campaign",
    "first_campaign", "changed_at", "raised_campaign", "raised_at", "is_new", "news",
]  # fmt: skip
OF_A_CHANGE = {Kind.MACHINE: " of the machine", Kind.SMALL: " below the margin"}
FEWEST_CAMPAIGNS = 2  # with fewer there is nothing to compare at all
NEWS_UNKNOWN = "nothing that was recorded"


def newest_campaigns(trends: Iterable[Trend]) -> dict[str, str]:
    """Return the newest campaign of each machine."""
    last: dict[str, tuple[datetime, str]] = {}
    for trend in trends:
        point = trend.series.points[-1]
        machine = trend.series.machine
        last[machine] = max(last.get(machine, (point.measured_at, "")), (point.measured_at, point.campaign_id))
    return {machine: campaign_id for machine, (_, campaign_id) in last.items()}


def shifts_in(
    trends: Sequence[Trend], since: datetime | None = None, kinds: Sequence[Kind] = tuple(Kind)
) -> list[tuple[Trend, Shift, bool]]:
    """Return every change with its series and whether it is new, the latest first.

    New is what the newest campaign of its machine raised, or any since a day where one is given: each alarm is new
    once, so that a check that fails on it does not fail for ever.
    """
    newest = newest_campaigns(trends)
    found = [(trend, shift, _is_new(trend, shift, newest, since)) for trend in trends for shift in trend.shifts]
    chosen = [one for one in found if one[1].kind in kinds]
    return sorted(chosen, key=lambda one: (one[1].raised.measured_at, one[1].first.measured_at), reverse=True)


def trends_text(trends: Sequence[Trend], stale: Sequence[Staleness], since: datetime | None = None) -> str:
    """Return what a person reads: a summary, each change with what was new, and how old the numbers are."""
    series = [trend.series for trend in trends]
    if campaigns(series) < FEWEST_CAMPAIGNS:
        parts = [too_few_campaigns(series)]
    else:
        shown = shifts_in(trends, since)
        parts = [summary(trends, since), *(shift_text(trend, shift, is_new=new) for trend, shift, new in shown)]
    if stale:
        parts.append("\n".join(["How old the numbers are:", *(f"  {stale_words(one)}" for one in stale)]))
    return "\n\n".join(parts) + "\n"


def too_few_campaigns(series: Sequence[Series]) -> str:
    """Return why there is no trend: a sentence in the place of the numbers."""
    count = campaigns(series)
    held = "no completed run" if count == 0 else tables.count(count, "campaign")
    return (
        f"There is no trend yet: the store holds {held}. Two campaigns are a series; an alarm needs {FEWEST_VALUES} "
        "of the same work on the same machine."
    )


def summary(trends: Sequence[Trend], since: datetime | None = None) -> str:
    """Return how many changes there are of each kind, how many are new, and how many series cannot tell yet."""
    found = shifts_in(trends, since)
    kinds = [shift.kind for _, shift, _ in found]
    told = ", ".join(counted(kinds.count(kind), kind) for kind in Kind if kind in kinds)
    fresh = sum(is_new for _, _, is_new in found)
    count = campaigns([trend.series for trend in trends])
    told = told or "no change of level"
    lines = [f"{told} in {len(trends)} series over {count} campaigns; {fresh} new."]
    if young := [len(trend.series.points) for trend in trends if len(trend.series.points) < FEWEST_VALUES]:
        lines.append(
            f"{len(young)} of the series cannot raise an alarm yet: they have up to {max(young)} campaigns, and an "
            f"alarm needs {FEWEST_VALUES}."
        )
    return "\n".join(lines)


def counted(count: int, kind: Kind) -> str:
    """Return how many changes there are of a kind.

    >>> counted(2, Kind.REGRESSION), counted(1, Kind.MACHINE)
    ('2 regressions', '1 change of the machine')
    """
    noun = "change" if kind in OF_A_CHANGE else str(kind)
    return tables.count(count, noun) + OF_A_CHANGE.get(kind, "")


def shift_text(trend: Trend, shift: Shift, *, is_new: bool) -> str:
    """Return a change as a few lines."""
    series = trend.series
    name = entry_name(series.entry, is_headline=series.headline)
    title = f"{'NEW ' if is_new else ''}{shift.kind}: {name}, {series.metric} on {series.cell.workload}"
    lines = [
        title,
        f"  {shift_words(series, shift)}",
        f"  {cell_words(series.cell)}; {series.machine}",
        f"  between {shift.last.campaign_id} and {shift.first.campaign_id} ({tables.moment(shift.first.measured_at)}), "
        f"raised by {shift.raised.campaign_id}",
        f"  new with it: {'; '.join(shift.news) or NEWS_UNKNOWN}",
    ]
    if others := others_words(shift):
        lines.append(f"  {others}")
    if trend.noise_ratio is not None:
        lines.append(f"  campaigns of the present level differ by {100 * trend.noise_ratio:.2g} % (standard deviation)")
    return "\n".join(lines)


def shift_words(series: Series, shift: Shift) -> str:
    """Return how large a change is: both levels, the difference with its base, and its interval."""
    unit = METRICS[series.metric].unit
    levels = f"{value_words(shift.value_before, unit)} before, {value_words(shift.value_after, unit)} after"
    is_bounded = 0 < shift.low <= shift.high < float("inf")
    width = shift.high - shift.low if is_bounded else None
    told = difference(shift.ratio, "before", width)
    sure = f" (95 % interval {interval(shift.low, shift.high, shift.ratio)})" if is_bounded else ""
    words = f"{levels}: {told}{sure}"
    return words if unit == "s" else words.replace("longer", "more").replace("as long as", "as much as")


def others_words(shift: Shift) -> str:
    """Return what the other entries of the same work did meanwhile; empty without any."""
    if shift.others_ratio is None:
        return ""
    change = 100 * (shift.others_ratio - 1)
    alike = "; what all did alike is the machine, or deadheat itself" if shift.kind is Kind.MACHINE else ""
    who = "1 other entry" if shift.others == 1 else f"{shift.others} other entries"
    return f"{who} moved by {change:+.1f} % meanwhile (median){alike}"


def stale_words(one: Staleness) -> str:
    """Return how old an entry's numbers are, and which version is current where that is known."""
    name = entry_name(one.entry, is_headline=one.headline)
    version = f", {one.framework} {one.version}" if one.version else ""
    current = f"; current {one.current_version}" if one.is_outdated else ""
    return f"{name} on {one.machine}: measured {age_words(one.age_days)}{version}{current}"


def age_words(days: int) -> str:
    """Return an age.

    >>> age_words(0), age_words(1), age_words(40)
    ('today', '1 day ago', '40 days ago')
    """
    return f"{tables.count(days, 'day')} ago" if days else "today"


def shift_rows(trends: Sequence[Trend], since: datetime | None = None) -> tuple[list[str], list[tuple[Any, ...]]]:
    """Return every change as exact values."""
    return SHIFT_COLUMNS, [_row(trend, shift, is_new=new) for trend, shift, new in shifts_in(trends, since)]


def _row(trend: Trend, shift: Shift, *, is_new: bool) -> tuple[Any, ...]:
    series = trend.series
    return (
        str(shift.kind), series.entry, series.cell.workload, cell_words(series.cell), series.cell.track, series.metric,
        METRICS[series.metric].unit, series.machine, shift.value_before, shift.value_after, shift.ratio, shift.low,
        shift.high, trend.noise_ratio, series.margin_ratio, shift.others, shift.others_ratio, shift.last.campaign_id,
        shift.first.campaign_id, shift.first.measured_at, shift.raised.campaign_id, shift.raised.measured_at, is_new,
        list(shift.news),
    )  # fmt: skip


def _is_new(trend: Trend, shift: Shift, newest: Mapping[str, str], since: datetime | None) -> bool:
    if since is not None:
        return shift.raised.measured_at >= since
    return shift.raised.campaign_id == newest[trend.series.machine]
