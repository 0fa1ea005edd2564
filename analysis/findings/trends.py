"""How each entry's numbers went over campaigns: series, changes of level, and what was new when they changed (pure).

A point is a campaign, never a run. What all entries of a machine did alike is the machine, not an entry.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from enum import StrEnum
from typing import Any

import numpy as np
import pandas as pd
from packaging.version import InvalidVersion, Version

from analysis.findings.finding import Cell
from analysis.statistics.change_points import Change, change_points, noise
from analysis.statistics.paired import Floats, geometric_mean, log_margin
from store.metrics import METRICS

DEFAULT_METRICS = ("train_clock_s", "e2e_clock_s", "memory_peak_bytes")
OF_A_CAMPAIGN = ("campaign_id", "suite", "environment_id")  # what a cell may change from point to point
WORK_FIELDS = [field.name for field in fields(Cell) if field.name not in OF_A_CAMPAIGN]
HARDWARE = ("hostname", "cpu_model", "cpu_cores", "gpu_model", "gpu_count")
SOFTWARE = {
    "os": "operating system",
    "kernel": "kernel",
    "cpu_governor": "frequency governor",
    "memory_bytes": "memory",
    "driver_version": "GPU driver",
    "git_commit": "deadheat",
}


class Kind(StrEnum):
    """What a change of level is."""

    REGRESSION = "regression"
    IMPROVEMENT = "improvement"
    CHANGE = "change"  # of a metric of which neither more nor less is better
    MACHINE = "machine"  # the other entries changed alike
    SMALL = "below the margin"


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One campaign of a series."""

    campaign_id: str
    measured_at: datetime  # when its first run was started
    value: float  # geometric mean over its heats, in the metric's unit
    heats: int
    environment_id: str
    framework_version: str
    language_version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """One entry's metric on one machine, at one work, over campaigns in the order of time."""

    machine: str
    cell: Cell  # without campaign, suite and environment
    entry: str
    headline: bool
    framework: str
    language: str
    metric: str
    margin_ratio: float
    points: tuple[Point, ...]

    @property
    def logs(self) -> Floats:
        """The logs of its values."""
        return np.log([point.value for point in self.points])


@dataclass(frozen=True, slots=True, kw_only=True)
class Shift:
    """A change of level of a series; ratios are after / before."""

    kind: Kind
    last: Point  # of the level before
    first: Point  # of the new level
    raised: Point  # the campaign that raised the alarm
    value_before: float
    value_after: float
    ratio: float
    low: float
    high: float
    others: int  # entries of the same work and machine that have both levels' campaigns
    others_ratio: float | None  # median of what they did meanwhile
    news: tuple[str, ...]  # what was recorded as different between `last` and `first`


@dataclass(frozen=True, slots=True, kw_only=True)
class Trend:
    """A series with its noise and the changes of its level."""

    series: Series
    noise_ratio: float | None  # of the present level: standard deviation between campaigns, 0.01 is 1 %
    shifts: tuple[Shift, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Staleness:
    """When an entry was last measured on a machine, and how old that is."""

    machine: str
    entry: str
    headline: bool
    framework: str
    measured_at: datetime
    age_days: int
    version: str
    current_version: str  # empty: not known

    @property
    def is_outdated(self) -> bool:
        """Whether a newer version is known than the one measured; a build's own suffix does not count."""
        if not (self.version and self.current_version):
            return False
        measured, current = _bare(self.version), _bare(self.current_version)
        try:
            return Version(measured) < Version(current)
        except InvalidVersion:  # no order is known: another one is taken for newer
            return measured != current


def find_series(
    runs: pd.DataFrame,
    environments: pd.DataFrame,
    measurements: pd.DataFrame,
    metrics: Sequence[str] = DEFAULT_METRICS,
) -> list[Series]:
    """Return the series of every machine, work, entry and metric, in the order of `metrics`.

    Runs that did not complete, were disturbed, or are A/A controls are left out, and values that are not above 0.

    Parameters
    ----------
    runs
        What `frames.read_counted_runs` returned.
    environments
        What `frames.read_environments` returned.
    measurements
        What `frames.read_measurements` returned: for metrics that are no column of `runs`.
    """
    counted = runs["status"].eq("completed") & ~runs["contaminated"].isin([True]) & ~runs["control"].astype(bool)
    mine = runs[counted]
    mine = mine.assign(machine=_machines_of(mine, environments))
    found: list[Series] = []
    for metric in metrics:
        valued = mine.assign(value=_values(mine, measurements, metric))
        found.extend(_series_of(valued[valued["value"] > 0], metric))
    return found


def machines(environments: pd.DataFrame) -> dict[str, str]:
    """Return the machine of each environment: its name and hardware, whatever runs on it."""
    return {str(row["environment_id"]): _machine(row) for row in environments.to_dict("records")}


def find_trends(series: Sequence[Series], environments: pd.DataFrame) -> list[Trend]:
    """Return each series with its noise and the changes of its level, each named by what the others did meanwhile."""
    rows = {str(row["environment_id"]): row for row in environments.to_dict("records")}
    company: dict[tuple[object, ...], list[Series]] = {}
    for one in series:
        company.setdefault((one.machine, one.cell, one.metric), []).append(one)
    found = []
    for one in series:
        others = [other for other in company[one.machine, one.cell, one.metric] if other.entry != one.entry]
        changes = change_points(one.logs)
        shifts = tuple(_shift(one, change, others, rows) for change in changes)
        level = one.logs[changes[-1].first if changes else 0 :]
        found.append(Trend(series=one, noise_ratio=noise(level), shifts=shifts))
    return found


def stalenesses(
    runs: pd.DataFrame, environments: pd.DataFrame, now: datetime, current: Mapping[str, str]
) -> list[Staleness]:
    """Return how old the last completed run of each entry on each machine is, the oldest first.

    Parameters
    ----------
    current
        The newest version of each framework, by its name; of those that are missing only the age is told.
    """
    completed = runs[runs["status"] == "completed"].sort_values("started_at")
    last = completed.assign(machine=_machines_of(completed, environments)).drop_duplicates(
        ["machine", "entry"], keep="last"
    )
    return [
        Staleness(
            machine=row["machine"],
            entry=row["entry"],
            headline=bool(row["headline"]),
            framework=row["framework"],
            measured_at=row["started_at"],
            age_days=max(0, (now - row["started_at"]).days),
            version=row["framework_version"],
            current_version=current.get(row["framework"], ""),
        )
        for row in last.to_dict("records")
    ]


def campaigns(series: Iterable[Series]) -> int:
    """Return how many campaigns there are in all of `series`."""
    return len({point.campaign_id for one in series for point in one.points})


def _machines_of(runs: pd.DataFrame, environments: pd.DataFrame) -> list[str]:
    """Return the machine of each run; the environment's own id where nobody recorded what it is."""
    known = machines(environments)
    return [known.get(environment_id, environment_id) for environment_id in runs["environment_id"]]


def _values(runs: pd.DataFrame, measurements: pd.DataFrame, metric: str) -> pd.Series:
    """Return a metric of each run: its column where there is one, else its measurement; missing where it has none."""
    if metric in runs.columns:
        return runs[metric].astype(float)
    named = measurements[measurements["metric"] == metric].set_index("run_id")["value"]
    return runs["run_id"].map(named[~named.index.duplicated()]).astype(float)


def _machine(row: Mapping[Any, Any]) -> str:
    gpu = f", {row['gpu_count']} × {row['gpu_model']}" if row["gpu_count"] else ""
    return f"{row['hostname']} ({row['cpu_model']}, {row['cpu_cores']} cores{gpu})"


def _series_of(runs: pd.DataFrame, metric: str) -> list[Series]:
    found = []
    for key, mine in runs.groupby(["machine", *WORK_FIELDS, "entry"], sort=False):
        values: list[Any] = [value.item() if isinstance(value, np.generic) else value for value in key]
        work: dict[str, Any] = dict(zip(WORK_FIELDS, values[1:-1], strict=True))
        newest = mine.sort_values("started_at").iloc[-1]
        found.append(
            Series(
                machine=str(values[0]),
                cell=Cell(campaign_id="", suite="", environment_id="", **work),
                entry=str(values[-1]),
                headline=bool(newest["headline"]),
                framework=str(newest["framework"]),
                language=str(newest["language"]),
                metric=metric,
                margin_ratio=float(newest["equivalence_margin_ratio"]),
                points=tuple(sorted(_points(mine), key=lambda point: (point.measured_at, point.campaign_id))),
            )
        )
    return found


def _points(runs: pd.DataFrame) -> list[Point]:
    return [
        Point(
            campaign_id=str(campaign_id),
            measured_at=mine["started_at"].min(),
            value=geometric_mean(mine["value"].to_numpy()),
            heats=int(mine["heat_id"].nunique()),
            environment_id=str(mine["environment_id"].iloc[0]),
            framework_version=str(mine["framework_version"].iloc[0]),
            language_version=str(mine["language_version"].iloc[0]),
        )
        for campaign_id, mine in runs.groupby("campaign_id", sort=False)
    ]


def _shift(series: Series, change: Change, others: Sequence[Series], rows: Mapping[str, Mapping[Any, Any]]) -> Shift:
    before = series.points[change.start : change.first]
    after = series.points[change.first : change.raised + 1]
    meanwhile = [moved for other in others if (moved := _moved(other, before, after)) is not None]
    alike = float(np.median(meanwhile)) if meanwhile else None
    last, first = before[-1], after[0]
    ratios = change.interval.as_ratio
    return Shift(
        kind=_kind(METRICS[series.metric].better, change.shift, alike, log_margin(series.margin_ratio)),
        last=last,
        first=first,
        raised=series.points[change.raised],
        value_before=math.exp(float(np.median([math.log(point.value) for point in before]))),
        value_after=math.exp(float(np.median([math.log(point.value) for point in after]))),
        ratio=math.exp(change.shift),
        low=ratios.low,
        high=ratios.high,
        others=len(meanwhile),
        others_ratio=None if alike is None else math.exp(alike),
        news=_news(series, last, first, rows),
    )


def _moved(other: Series, before: Sequence[Point], after: Sequence[Point]) -> float | None:
    """Return how far another series' median moved between the same campaigns; none where it lacks either side."""
    of_campaign = {point.campaign_id: math.log(point.value) for point in other.points}
    sides = [[of_campaign[p.campaign_id] for p in side if p.campaign_id in of_campaign] for side in (before, after)]
    return float(np.median(sides[1]) - np.median(sides[0])) if all(sides) else None


def _kind(better: str, shift: float, alike: float | None, margin: float) -> Kind:
    """Return what a shift is: the machine's where it is not further from the others' than the margin."""
    if abs(shift) < margin:
        return Kind.SMALL
    if alike is not None and abs(shift - alike) < margin:
        return Kind.MACHINE
    if better == "neither":
        return Kind.CHANGE
    return Kind.REGRESSION if (shift > 0) is (better == "lower") else Kind.IMPROVEMENT


def _news(series: Series, last: Point, first: Point, rows: Mapping[str, Mapping[Any, Any]]) -> tuple[str, ...]:
    """Return what differs between two campaigns: versions first, then the machine's software and settings."""
    found = _differing(series.framework, last.framework_version, first.framework_version)
    found += _differing(series.language, last.language_version, first.language_version)
    old, new = rows.get(last.environment_id), rows.get(first.environment_id)
    if old is None or new is None or last.environment_id == first.environment_id:
        return tuple(found)
    for column, name in SOFTWARE.items():
        found += _differing(name, _short(column, old[column]), _short(column, new[column]))
    runner = series.entry.partition(":")[0]
    known = {last.framework_version, first.framework_version, last.language_version, first.language_version}
    for column, part in (("versions", runner), ("settings", "")):
        before, after = _flat(old[column], part), _flat(new[column], part)
        for name in sorted(before.keys() | after.keys()):
            if not {before.get(name), after.get(name)} <= known:
                found += _differing(name, before.get(name, "none"), after.get(name, "none"))
    return tuple(found)


def _differing(name: str, old: str, new: str) -> list[str]:
    return [] if old == new else [f"{name} {old or 'unknown'} → {new or 'unknown'}"]


def _short(column: str, value: object) -> str:
    return str(value)[:12] if column == "git_commit" else str(value)


def _flat(text: object, part: str) -> dict[str, str]:
    """Return a JSON object, or one part of it, as one name per value."""
    try:
        content = json.loads(str(text))
    except ValueError:
        return {}
    found: dict[str, str] = {}

    def walk(value: object, name: str) -> None:
        if isinstance(value, dict):
            for key, inner in value.items():
                walk(inner, f"{name}.{key}" if name else str(key))
        else:
            found[name] = ", ".join(map(str, value)) if isinstance(value, list) else str(value)

    walk(content.get(part, {}) if part and isinstance(content, dict) else content, "")
    return found


def _bare(version: str) -> str:
    return version.removeprefix("v").partition("+")[0]
