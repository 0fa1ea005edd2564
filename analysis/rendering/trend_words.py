"""Trends in words, and which changes are new: for the terminal and the page alike (pure)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from analysis.findings.finding import entry_name
from analysis.findings.trends import Kind, Series, Shift, Staleness, Trend, campaigns
from analysis.rendering import tables
from analysis.rendering.wording import difference, interval, value_words
from analysis.statistics.change_points import FEWEST_VALUES
from store.metrics import METRICS

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


def _is_new(trend: Trend, shift: Shift, newest: Mapping[str, str], since: datetime | None) -> bool:
    if since is not None:
        return shift.raised.measured_at >= since
    return shift.raised.campaign_id == newest[trend.series.machine]
