"""Where measurements differ: between heats, between two runs of one heat, between epochs; and by position.

n counts runs, never epochs. What too few runs cannot show is none, not a number.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from analysis.statistics.paired import Floats, Interval, standard_deviation_interval

CLOCK_COLUMNS = ("train_clock_s", "e2e_clock_s")
LEVELS = ("heats", "runs", "epochs")
IDLE_S = 60.0  # without a run; what cools down or falls asleep has had the time


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """How far one entry's measurements lie apart on one level, on one clock.

    - heats: one run per heat; holds everything that differs from heat to heat.
    - runs: baseline and control, the same program twice in one heat; what remains inside a heat.
    - epochs: evaluation intervals of a run, scaled to the same number of examples; only on the train clock.
      They depend on each other, so their deviation has no interval.
    """

    entry: str
    clock: str  # a name in CLOCK_COLUMNS
    level: str  # a name in LEVELS
    runs: int
    mean_s: float
    standard_deviation_s: float
    low_s: float | None  # 95 % chi-square interval of the deviation
    high_s: float | None

    @property
    def coefficient_of_variation_ratio(self) -> float:
        """Standard deviation / mean."""
        return self.standard_deviation_s / self.mean_s


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaceEffect:
    """What each place further back in a heat costs, or a pause before a run: 1.01 reads "1 % longer"."""

    ratio_per_place: float
    low_ratio: float  # 95 % t interval
    high_ratio: float
    runs: int

    @property
    def is_visible(self) -> bool:
        """Whether the interval excludes "no effect"."""
        return Interval(self.low_ratio, self.high_ratio).excludes(1.0)


def spreads(runs: pd.DataFrame, epochs: pd.DataFrame) -> list[Spread]:
    """Return every level's spread of every entry of one cell that has at least two measurements there.

    Parameters
    ----------
    runs
        Columns `run_id`, `heat_id`, `entry`, `control`, `status`, `train_clock_s`, `e2e_clock_s`. Only completed runs
        count; disturbed ones do too, because what disturbs is part of what varies.
    epochs
        Columns `run_id`, `train_s`, `examples`.
    """
    completed = runs[runs["status"] == "completed"]
    found: list[Spread] = []
    for name, group in completed.groupby("entry", sort=True):
        for clock in CLOCK_COLUMNS:
            found.extend(_between_heats(str(name), clock, group))
            found.extend(_between_runs(str(name), clock, group))
        found.extend(_between_epochs(str(name), group, epochs))
    return found


def position_effect(runs: pd.DataFrame, clock: str) -> PlaceEffect | None:
    """Return the effect of the place inside the heat on one clock, by least squares.

    log value = entry + heat + slope · position, with a t interval of the slope. Entries and heats are taken out,
    so neither a slow entry nor a warm hour looks like a position. None with fewer than 10 degrees of freedom left,
    or where every entry always had the same place.

    Parameters
    ----------
    runs
        Runs of one cell; columns `heat_id`, `entry`, `position`, `status`, and the clock.
    clock
        The column with the seconds, all above 0.
    """
    return _effect(runs, clock, runs["position"].astype(float))


def idle_effect(runs: pd.DataFrame, clock: str) -> PlaceEffect | None:
    """Return what a minute or more without a run before it does to a run on one clock, by the same least squares.

    None where too few runs can tell, or where no run, or every one, came after a pause.

    Parameters
    ----------
    runs
        Runs of one cell; columns as in `position_effect`, and `pause_s` (see `pauses_s`).
    clock
        The column with the seconds, all above 0.
    """
    return _effect(runs, clock, (runs["pause_s"].astype(float) >= IDLE_S).astype(float))


def pauses_s(runs: pd.DataFrame) -> pd.Series:
    """Return for how long each machine had run nothing when a run began, by `run_id`; missing where nobody knows.

    Nothing is known of the first run of a machine, and of one after a run without an end.

    Parameters
    ----------
    runs
        Every run there was, of whatever campaign; columns `run_id`, `environment_id`, `started_at`, `e2e_clock_s`.
    """
    if runs.empty:
        return pd.Series(dtype=float)
    ordered = runs.sort_values(["started_at", "run_id"])
    ended = ordered["started_at"] + pd.to_timedelta(ordered["e2e_clock_s"].astype(float), unit="s")
    pause = ordered["started_at"] - ended.groupby(ordered["environment_id"]).shift()
    return pd.Series(pause.dt.total_seconds().to_numpy(dtype=float), index=ordered["run_id"])


def _effect(runs: pd.DataFrame, clock: str, regressor: pd.Series) -> PlaceEffect | None:
    """Return the slope of log value = entry + heat + slope · regressor; none where it cannot be told."""
    counted = (runs["status"] == "completed") & (runs[clock] > 0)
    completed = runs[counted]
    nuisance = pd.get_dummies(completed[["entry", "heat_id"]].astype(str), dtype=float).to_numpy()
    rank = int(np.linalg.matrix_rank(nuisance)) if nuisance.size else 0
    freedom = len(completed) - rank - 1
    if freedom < 10:
        return None
    position = _residuals(nuisance, regressor[counted].to_numpy(dtype=float))
    value = _residuals(nuisance, np.log(completed[clock].to_numpy(dtype=float)))
    leverage = float(position @ position)
    if leverage < 1e-9:
        return None
    slope = float(position @ value) / leverage
    error = math.sqrt(float(((value - slope * position) ** 2).sum()) / freedom / leverage)
    half = float(stats.t.ppf(0.975, freedom)) * error
    return PlaceEffect(
        ratio_per_place=math.exp(slope),
        low_ratio=math.exp(slope - half),
        high_ratio=math.exp(slope + half),
        runs=len(completed),
    )


def _between_heats(entry: str, clock: str, runs: pd.DataFrame) -> Iterator[Spread]:
    values = runs.loc[~runs["control"].astype(bool), clock].dropna().to_numpy(dtype=float)
    if values.size >= 2:
        interval = standard_deviation_interval(float(values.std(ddof=1)), values.size)
        yield _spread(entry, clock, "heats", values.size, values, float(values.std(ddof=1)), interval)


def _between_runs(entry: str, clock: str, runs: pd.DataFrame) -> Iterator[Spread]:
    control = runs["control"].astype(bool)
    pairs = runs[~control].merge(runs[control], on="heat_id", suffixes=("_first", "_second"))
    values = pairs[[f"{clock}_first", f"{clock}_second"]].dropna().to_numpy(dtype=float)
    if len(values) >= 2:
        # Each pair has its own mean and so one degree of freedom: (x - y)² / 2.
        deviation = math.sqrt(float(((values[:, 0] - values[:, 1]) ** 2 / 2).mean()))
        interval = standard_deviation_interval(deviation, len(values) + 1)
        yield _spread(entry, clock, "runs", values.size, values, deviation, interval)


def _between_epochs(entry: str, runs: pd.DataFrame, epochs: pd.DataFrame) -> Iterator[Spread]:
    mine = epochs[epochs["run_id"].isin(runs["run_id"])]
    # The last interval of an epoch may hold a smaller batch: compare seconds per example, then scale back.
    scaled = (mine["train_s"] / mine["examples"] * mine["examples"].mean()).astype(float)
    by_run = scaled.groupby(mine["run_id"])
    freedom = len(mine) - by_run.ngroups
    if freedom >= 1:
        deviation = math.sqrt(float(((scaled - by_run.transform("mean")) ** 2).sum()) / freedom)
        values = np.asarray(scaled, dtype=float)
        yield _spread(entry, "train_clock_s", "epochs", by_run.ngroups, values, deviation, None)


def _spread(
    entry: str, clock: str, level: str, runs: int, values: Floats, deviation: float, interval: Interval | None
) -> Spread:
    return Spread(
        entry=entry,
        clock=clock,
        level=level,
        runs=runs,
        mean_s=float(values.mean()),
        standard_deviation_s=deviation,
        low_s=interval.low if interval else None,
        high_s=interval.high if interval else None,
    )


def _residuals(nuisance: Floats, values: Floats) -> Floats:
    """Return what is left of `values` when entries and heats have explained what they can."""
    return np.asarray(values - nuisance @ np.linalg.lstsq(nuisance, values, rcond=None)[0])
