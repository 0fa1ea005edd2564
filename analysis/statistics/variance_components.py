"""Variance by level: machines, campaigns, heats, runs, epochs; and where one more repetition buys most (pure).

A random-effects model on the logs, estimated by the nested analysis of variance for unequal numbers (Searle, Casella
& McCulloch 1992, chapter 5; Henderson's first method). All series are estimated at once.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats

from analysis.statistics.paired import Floats, Interval

LEVELS = ("machines", "campaigns", "heats", "runs", "epochs")
COLUMNS = {
    "machines": "environment_id",
    "campaigns": "campaign_id",
    "heats": "heat_id",
    "runs": "run_id",
    "epochs": "interval",
}
SERIES = (
    "workload", "workload_version", "mode", "track", "device", "dtype", "batch_size", "threads", "loader",
    "loader_workers", "optimizer", "learning_rate", "weight_decay", "epochs", "steps", "entry",
)  # fmt: skip
Codes = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """What one level adds to the variance of a series.

    `variance` is of the log seconds: its root is the coefficient of variation, as long as that is small. It is cut at
    0 where the estimate fell below; `is_known` says whether there was anything to estimate it from.
    """

    name: str
    groups: int
    degrees_of_freedom: int
    variance: float

    @property
    def is_known(self) -> bool:
        """Whether the level varied at all: two of something."""
        return self.degrees_of_freedom > 0

    @property
    def coefficient_of_variation(self) -> float:
        """Return √(exp(variance) - 1): exact for log-normal values.

        >>> round(Level(name="runs", groups=9, degrees_of_freedom=8, variance=0.01).coefficient_of_variation, 4)
        0.1003
        """
        return math.sqrt(math.expm1(self.variance))


@dataclass(frozen=True, slots=True, kw_only=True)
class Components:
    """One series with what each level adds to its variance, from machines down."""

    key: dict[str, Any]
    levels: tuple[Level, ...]

    @property
    def total(self) -> float:
        """The variance of one interval of one run on one machine."""
        return sum(level.variance for level in self.levels)

    def of(self, name: str) -> Level:
        """Return one level."""
        return next(level for level in self.levels if level.name == name)


def variance_components(runs: pd.DataFrame, epochs: pd.DataFrame) -> list[Components]:
    """Return, for each series, what the levels add to the variance of its seconds per example.

    Parameters
    ----------
    runs
        Counted runs; columns of `SERIES`, `environment_id`, `campaign_id`, `heat_id`, `run_id`, `status`. Only
        completed runs count, disturbed ones and the control too: what disturbs is part of what varies.
    epochs
        Columns `run_id`, `train_s`, `examples`.
    """
    completed = runs.loc[runs["status"] == "completed", [*SERIES, *list(COLUMNS.values())[:4]]]
    series = completed.groupby(list(SERIES), sort=False, dropna=False).ngroup().to_numpy(dtype=np.int64)
    place = pd.Index(completed["run_id"]).get_indexer(epochs["run_id"])
    known = (place >= 0) & (epochs["train_s"].to_numpy() > 0) & (epochs["examples"].to_numpy() > 0)
    rows = place[known]
    if rows.size == 0:
        return []
    values = np.log(epochs["train_s"].to_numpy(dtype=float)[known] / epochs["examples"].to_numpy(dtype=float)[known])
    groups = [series[rows]]
    for column in list(COLUMNS.values())[:4]:
        codes = pd.factorize(completed[column])[0].astype(np.int64)
        groups.append(_nested(groups[-1], codes[rows]))
    groups.append(np.arange(rows.size, dtype=np.int64))
    found = nested_variances(values, groups)
    keys = completed.iloc[pd.Series(series).drop_duplicates().index][list(SERIES)].to_dict("records")
    present = pd.unique(groups[0])
    return [Components(key={str(k): v for k, v in keys[at].items()}, levels=_levels(found, at)) for at in present]


@dataclass(frozen=True, slots=True)
class Nested:
    """Estimates of all series: one row per level, one column per series."""

    variances: Floats
    freedom: Floats
    groups: Floats


def nested_variances(values: Floats, groups: Sequence[Codes]) -> Nested:
    """Return the variance components of nested groups, by equating sums of squares to their expectations.

    Parameters
    ----------
    values
        One per observation.
    groups
        Codes from 0 of each observation: first its series, then each level from the widest to the narrowest, each
        nested in the one before; last the observation itself.

    Notes
    -----
    With n_g observations in group g and levels l = 1 … L inside a series, SS_l = Σ_g n_g (mean_g - mean of g's
    parent)² has the expectation Σ_{m ≥ l} c_{l,m} σ²_m, where c_{l,m} = Σ_h n_h² (1 / n of h's group at level l -
    1 / n of its group at level l - 1) over the groups h of level m. Solved from the narrowest level up; an estimate
    below 0 is cut there.
    """
    series, count = groups[0], int(groups[0].max()) + 1
    sizes = [np.bincount(codes).astype(float) for codes in groups]
    means = [np.bincount(codes, values) / np.maximum(size, 1) for codes, size in zip(groups, sizes, strict=True)]
    first = [_first(codes, size.size) for codes, size in zip(groups, sizes, strict=True)]
    depth = len(groups) - 1
    squares, freedom, number = (np.zeros((depth, count)) for _ in range(3))
    weights = np.zeros((depth, depth, count))
    for level in range(1, depth + 1):
        home, parent = series[first[level]], groups[level - 1][first[level]]
        deviation = means[level] - means[level - 1][parent]
        squares[level - 1] = np.bincount(home, sizes[level] * deviation**2, count)
        number[level - 1] = np.bincount(home, minlength=count)
        freedom[level - 1] = number[level - 1] - np.bincount(series[first[level - 1]], minlength=count)
        for above in range(1, level + 1):
            at, over = groups[above][first[level]], groups[above - 1][first[level]]
            share = sizes[level] ** 2 * (1 / sizes[above][at] - 1 / sizes[above - 1][over])
            weights[above - 1, level - 1] = np.bincount(home, share, count)
    return Nested(_solved(squares, weights), freedom, number)


def cheapest_repetitions(variances: Sequence[float], costs_s: Sequence[float]) -> list[int]:
    """Return how often to repeat each level but the widest inside one of the next (Kalibera & Jones 2013, eq. 3).

    r_i = ceil(√(c_{i+1} / c_i · T²_i / T²_{i+1})), from the narrowest level to the widest but one. The widest takes
    what is left of the time. Where the wider level does not vary, repeating the narrower one is all that helps:
    infinite, given as 0.

    Parameters
    ----------
    variances
        From the narrowest level to the widest.
    costs_s
        What one more repetition on each level costs, without what is inside it.

    >>> cheapest_repetitions([0.04, 0.01], [1.0, 9.0])
    [6]
    """
    pairs = zip(variances[:-1], variances[1:], costs_s[:-1], costs_s[1:], strict=True)
    return [
        math.ceil(round(math.sqrt(outer_s / inner_s * inner / outer), 9)) if outer > 0 else 0
        for inner, outer, inner_s, outer_s in pairs
    ]


def false_positives(p_values: Sequence[float], alpha: float = 0.05) -> tuple[int, int, Interval]:
    """Return how many A/A tests of a campaign reject, of how many, and the exact interval of their share.

    Clopper & Pearson (1934). A share whose interval lies above alpha says that the pairs are not independent, or that
    the second run of the baseline is not like the first.

    >>> false_positives([0.5, 0.01, 0.2, 0.9])[:2]
    (1, 4)
    """
    number, hits = len(p_values), sum(p < alpha for p in p_values)
    if number == 0:
        return 0, 0, Interval(0.0, 1.0)
    low = float(stats.beta.ppf(0.025, hits, number - hits + 1)) if hits else 0.0
    high = float(stats.beta.ppf(0.975, hits + 1, number - hits)) if hits < number else 1.0
    return hits, number, Interval(low, high)


def _solved(squares: Floats, weights: Floats) -> Floats:
    """Return σ² of each level and series: from the narrowest up, what is left of its squares by its own weight."""
    found = np.zeros_like(squares)
    for level in range(len(squares) - 1, -1, -1):
        left = squares[level] - (weights[level] * found).sum(axis=0)
        own = weights[level, level]
        found[level] = np.divide(left, own, out=np.zeros_like(left), where=own > 1e-12)
        # A level without freedom has squares and weights of 0, up to rounding.
    return np.maximum(found, 0.0)


def _levels(found: Nested, at: int) -> tuple[Level, ...]:
    return tuple(
        Level(
            name=name,
            groups=int(found.groups[level, at]),
            degrees_of_freedom=int(found.freedom[level, at]),
            variance=float(found.variances[level, at]),
        )
        for level, name in enumerate(LEVELS)
    )


def _nested(outer: Codes, inner: Codes) -> Codes:
    """Return codes of the pairs, so that the same name in two groups is two things."""
    pairs = outer * (int(inner.max()) + 1) + inner
    return np.asarray(np.unique(pairs, return_inverse=True)[1], dtype=np.int64)


def _first(codes: Codes, size: int) -> Codes:
    """Return the place of some observation of each group."""
    place = np.zeros(size, dtype=np.int64)
    place[codes] = np.arange(codes.size)
    return place


@dataclass(frozen=True, slots=True, kw_only=True)
class SeedEffect:
    """What the seed of a heat (weights, order, dropout) does to the seconds, seen in campaigns that repeat it.

    Within one campaign the seed and the heat are one; a second campaign of the same suite has the same seeds.
    """

    campaigns: int
    seeds: int
    variance: float  # of the log seconds; cut at 0
    p_value: float  # of "no effect"


def seed_effect(runs: pd.DataFrame, clock: str) -> SeedEffect | None:
    """Return the effect of the seed on one entry's runs: two-way analysis of variance, campaign and seed.

    σ²_seed = (MS_seed - MS_rest) / campaigns, tested by F = MS_seed / MS_rest (Searle, Casella & McCulloch 1992,
    4.3). Only seeds that completed in every campaign count; none without two campaigns and two seeds.

    Parameters
    ----------
    runs
        Runs of one entry in cells that differ in the campaign alone, the control left out; columns `campaign_id`,
        `seed`, `status` and the clock.
    """
    known = runs[(runs["status"] == "completed") & (runs[clock] > 0)]
    logs = known.assign(log_s=np.log(known[clock].to_numpy(dtype=float)))
    means = logs.pivot_table(index="campaign_id", columns="seed", values="log_s")
    table = means.dropna(axis=1).to_numpy(dtype=float)
    campaigns, seeds = table.shape
    if campaigns < 2 or seeds < 2:
        return None
    by_seed = table.mean(axis=0, keepdims=True)
    rest = table - by_seed - table.mean(axis=1, keepdims=True) + table.mean()
    of_seed = campaigns * float(((by_seed - table.mean()) ** 2).sum()) / (seeds - 1)
    of_rest = float((rest**2).sum()) / ((campaigns - 1) * (seeds - 1))
    variance = max(0.0, (of_seed - of_rest) / campaigns)
    p = float(stats.f.sf(of_seed / of_rest, seeds - 1, (campaigns - 1) * (seeds - 1))) if of_rest > 0 else 1.0
    return SeedEffect(campaigns=campaigns, seeds=seeds, variance=variance, p_value=p)
