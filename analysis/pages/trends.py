"""The page of trends: what changed over campaigns, and a small chart of each entry's seconds (pure)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt

from analysis.findings.finding import CLOCKS, entry_name
from analysis.findings.trends import (
    Kind,
    Series,
    Staleness,
    Trend,
    campaigns,
    find_series,
    find_trends,
    machines,
    stalenesses,
)
from analysis.frames.views import literal
from analysis.rendering import tables
from analysis.rendering.charts import TICKS, Spec, finished, rounded
from analysis.rendering.queries import CELL_KEYS, LATER_KEYS
from analysis.rendering.render import Chart, Page, page
from analysis.rendering.tables import Table
from analysis.rendering.trend_words import age_words, others_words, shift_words, shifts_in, summary, too_few_campaigns
from analysis.rendering.wording import cell_title, cell_words
from analysis.results.results import Results

HEIGHT = 180
DRAWN = tuple(f"{clock}_clock_s" for clock in CLOCKS)
SHIFT_COLUMNS = ("what", "entry", "metric", "work", "change", "since", "new with it", "the others")
STALE_COLUMNS = ("entry", "machine", "last measured", "before the newest run", "version", "current version")


def trends_page(results: Results) -> Page:
    """Return the page of trends; without two campaigns a sentence stands in the place of the charts."""
    runs, environments = results.measured.runs, results.environments
    series = find_series(runs, environments, results.measurements)
    trends = find_trends(series, environments)
    own = runs[~runs["campaign_id"].isin(list(results.elsewhere()))]
    newest = own["started_at"].max().to_pydatetime() if len(own) else None
    enough = campaigns(series) > 1
    charts = _charts(trends, machine_environments(results)) if enough else []
    context = {
        "told": summary(trends).splitlines() if enough else [too_few_campaigns(series)],
        "enough": enough,
        "shifts": shift_table(trends),
        "stale": stale_table(stalenesses(own, environments, newest, results.current_versions)) if newest else None,
        "groups": charts,
    }
    return page("trends.md", "trends.md.jinja", context, tuple(chart for _, found in charts for chart in found))


def machine_environments(results: Results) -> dict[str, list[str]]:
    """Return the environments of each machine."""
    found: dict[str, list[str]] = {}
    for environment_id, machine in machines(results.environments).items():
        found.setdefault(machine, []).append(environment_id)
    return found


def shift_table(trends: Sequence[Trend]) -> Table:
    """Return every change of level that is at least the margin, the latest first."""
    shown = [kind for kind in Kind if kind is not Kind.SMALL]
    rows = [
        (
            str(shift.kind),
            entry_name(trend.series.entry, is_headline=trend.series.headline),
            trend.series.metric,
            cell_title(trend.series.cell),
            shift_words(trend.series, shift),
            f"{shift.first.campaign_id}, {tables.moment(shift.first.measured_at)}",
            "; ".join(shift.news) or "nothing that was recorded",
            others_words(shift) or tables.NOTHING,
        )
        for trend, shift, _ in shifts_in(trends, kinds=shown)
    ]
    return Table(caption="Changes of level", columns=SHIFT_COLUMNS, rows=rows, prose=SHIFT_COLUMNS[3:])


def stale_table(found: Sequence[Staleness]) -> Table:
    """Return when each entry was last measured, and whether a newer version is known."""
    rows = [
        (
            entry_name(one.entry, is_headline=one.headline),
            one.machine,
            tables.moment(one.measured_at),
            age_words(one.age_days) if one.age_days else "the same day",
            one.version or tables.NOTHING,
            one.current_version or "not known",
        )
        for one in found
    ]
    return Table(caption="How old the numbers are", columns=STALE_COLUMNS, rows=rows, prose=("machine",))


def trend_lines(trends: Sequence[Trend], unit_title: str) -> Spec:
    """Return one line per entry over the campaigns, on a log axis, with a mark at each change of level."""
    labels = [entry_name(trend.series.entry, is_headline=trend.series.headline) for trend in trends]
    rows: list[Any] = [
        {
            "label": label,
            "at": point.measured_at.isoformat(),
            "value": rounded(point.value),
            "campaign": point.campaign_id,
            "version": point.framework_version,
        }
        for label, trend in zip(labels, trends, strict=True)
        for point in trend.series.points
    ]
    alarms: list[Any] = [
        {"at": shift.first.measured_at.isoformat(), "kind": str(shift.kind)}
        for trend in trends
        for shift in trend.shifts
        if shift.kind is not Kind.SMALL
    ]
    colour = alt.Color("label:N", scale=alt.Scale(domain=labels), legend=alt.Legend(symbolOpacity=1))
    shape = alt.Shape("label:N", scale=alt.Scale(domain=labels), legend=alt.Legend(symbolOpacity=1))
    x = alt.X("at:T", title=None, axis=alt.Axis(tickCount=TICKS), scale=alt.Scale(type="utc"))
    y = alt.Y("value:Q", title=unit_title, scale=alt.Scale(type="log", nice=False), axis=alt.Axis(tickCount=4))
    base = alt.Chart(alt.InlineData(values=rows))
    tooltip = [alt.Tooltip("label:N", title="entry"), "campaign:N", "version:N", "value:Q"]
    layers = [
        base.mark_line(strokeWidth=1.5).encode(x, y, colour),
        base.mark_point(size=40, filled=True, opacity=1).encode(x, y, colour, shape, tooltip),
    ]
    if alarms:
        marks = alt.Chart(alt.InlineData(values=alarms))
        layers.append(marks.mark_rule(style="target").encode(alt.X("at:T"), alt.Tooltip("kind:N")))
    return finished(alt.layer(*layers), height=HEIGHT)


def trend_query(series: Series, environments: Sequence[str]) -> str:
    """Return the points of every series beside this one: a value per entry and campaign."""
    keys = [key for key in (*CELL_KEYS, *(LATER_KEYS if series.cell.optimizer else ())) if key != "campaign_id"]
    work = "\n      AND ".join(f"{key} = {literal(getattr(series.cell, key))}" for key in (*keys, "workload_version"))
    where = ", ".join(literal(environment) for environment in environments)
    return f"""\
SELECT runner || ':' || variant AS entry, campaign_id, min(started_at) AS measured_at,
    exp(avg(ln({series.metric}))) AS value, count(DISTINCT heat_id) AS heats, min(framework_version) AS version
FROM counted_runs
WHERE {work}
      AND environment_id IN ({where})
      AND status = 'completed' AND contaminated IS NOT TRUE AND NOT control AND {series.metric} > 0
GROUP BY entry, campaign_id
ORDER BY entry, measured_at"""


def _charts(trends: Sequence[Trend], environments: Mapping[str, Sequence[str]]) -> list[tuple[str, list[Chart]]]:
    """Return the charts of each work on each machine that has a series of two campaigns, under its title."""
    groups: dict[tuple[Any, str], list[Trend]] = {}
    for trend in trends:
        if trend.series.metric in DRAWN:
            groups.setdefault((trend.series.cell, trend.series.machine), []).append(trend)
    found: list[tuple[str, list[Chart]]] = []
    for (cell, machine), mine in groups.items():
        if max(len(trend.series.points) for trend in mine) < 2:
            continue
        drawn = [
            _chart(of_metric, f"trend-{len(found)}-{metric.partition('_')[0]}", environments.get(machine, []))
            for metric in DRAWN
            if (of_metric := [trend for trend in mine if trend.series.metric == metric])
        ]
        found.append((f"{cell_title(cell)}, version {cell.workload_version} of the workload, on {machine}", drawn))
    return found


def _chart(trends: Sequence[Trend], name: str, environments: Sequence[str]) -> Chart:
    clock = trends[0].series.metric.partition("_")[0]
    shifts = [(trend, shift) for trend, shift, _ in shifts_in(trends) if shift.kind is not Kind.SMALL]
    told = [
        f"{entry_name(trend.series.entry, is_headline=trend.series.headline)}: {shift.kind}, "
        f"{shift_words(trend.series, shift)}."
        for trend, shift in shifts
    ]
    count = campaigns([trend.series for trend in trends])
    who = f"{len(trends)} {'entry' if len(trends) == 1 else 'entries'}"
    alt_text = (
        f"Seconds on the {clock} clock of {who} over {count} campaigns, {cell_words(trends[0].series.cell)}. "
        + (" ".join(told) or "No change of level.")
    )
    return Chart(
        name=name,
        spec=trend_lines(trends, f"seconds, {clock} clock (log scale)") | {"description": alt_text},
        alt=alt_text,
        caption=(
            f"On the {clock} clock: a point is the geometric mean over the heats of one campaign. "
            + ("Dashed lines are changes of level. " if shifts else "")
            + "Points of different campaigns are no paired comparison."
        ),
        query=trend_query(trends[0].series, environments),
    )
