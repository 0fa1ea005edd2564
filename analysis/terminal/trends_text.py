"""Trends for the terminal, and as rows for programs: what changed, what was new, what is old (pure)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from analysis.findings.finding import entry_name
from analysis.findings.trends import Shift, Staleness, Trend, campaigns
from analysis.rendering import tables
from analysis.rendering.trend_words import (
    FEWEST_CAMPAIGNS,
    NEWS_UNKNOWN,
    others_words,
    shift_words,
    shifts_in,
    stale_words,
    summary,
    too_few_campaigns,
)
from analysis.rendering.wording import cell_words
from store.metrics import METRICS

SHIFT_COLUMNS = [
    "kind", "entry", "workload", "work", "track", "metric", "unit", "machine", "value_before", "value_after", "ratio",
    "ratio_low", "ratio_high", "noise_ratio", "margin_ratio", "others", "others_ratio", "last_campaign",
    "first_campaign", "changed_at", "raised_campaign", "raised_at", "is_new", "news",
]  # fmt: skip


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


def shift_text(trend: Trend, shift: Shift, *, is_new: bool) -> str:
    """Return a change as a few lines."""
    series = trend.series
    name = entry_name(series.entry, is_headline=series.headline)
    lines = [
        f"{'NEW ' if is_new else ''}{shift.kind}: {name}, {series.metric} on {series.cell.workload}",
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
