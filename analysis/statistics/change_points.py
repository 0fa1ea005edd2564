"""Where a series of campaigns changed its level: a rank test at every campaign, that outliers hardly move (pure).

The method, its sources, and the simulated rates of false alarms and delays are in docs/explanation/statistics.md.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from analysis.statistics.paired import Floats, Interval, Numbers, finite

FEWEST_VALUES = 15  # that can raise an alarm, however large the change: ranks of fewer could be chance
FEWEST_OF_A_LEVEL = 2
MOST_VALUES = 1000  # of a series that are searched, the newest: the search takes a table of this squared
NORMAL_975 = 1.959964


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A change of level, as it was known when the alarm was raised; later values never take it back.

    Places count from 0. `shift` is after - before, with its 95 % interval.
    """

    start: int  # first value of the level before
    first: int  # first value of the new level
    raised: int  # the value that raised the alarm
    shift: float
    interval: Interval


def change_points(values: Numbers) -> list[Change]:
    """Return every change of level of a series, in order.

    At each value the series since the last change is split at every place in turn, and the halves are compared by
    their ranks (Mann & Whitney 1947; Pettitt 1979). Where the largest standardised statistic reaches `thresholds`, an
    alarm is raised: the nonparametric change-point control chart of Hawkins & Deng (2010). The change is placed by
    least absolute deviations (Bai 1995), and the search begins anew at the first value of the new level.

    Parameters
    ----------
    values
        Logs of positive numbers, one per campaign, in the order of time. Only the newest `MOST_VALUES` are searched.

    Raises
    ------
    StatisticsError
        If there is none, or one is not finite.

    >>> [(change.first, change.raised) for change in change_points([0.0, 0.1] * 10 + [1.0, 1.1] * 4)]
    [(20, 24)]
    """
    x = finite(values, "values")
    start = max(0, x.size - MOST_VALUES)
    found: list[Change] = []
    while alarm := _first_alarm(x[start:]):
        first, raised = start + alarm[0], start + alarm[1]
        shift, interval = level_shift(x[start:first], x[first : raised + 1])
        found.append(Change(start=start, first=first, raised=raised, shift=shift, interval=interval))
        start = first
    return found


def level_shift(before: Floats, after: Floats) -> tuple[float, Interval]:
    """Return the median of all differences after - before, and its 95 % interval.

    The estimate is that of Hodges and Lehmann (1963), the interval that of Moses: the differences that the rank test
    does not reject, by its normal approximation. Too few values: the interval covers everything.

    >>> level_shift(np.array([1.0, 2.0, 3.0]), np.array([11.0, 12.0, 13.0]))
    (10.0, Interval(low=-inf, high=inf))
    """
    differences = np.sort((after[:, None] - before[None, :]).ravel())
    pairs, total = differences.size, before.size + after.size
    cut = math.floor(pairs / 2 - NORMAL_975 * math.sqrt(pairs * (total + 1) / 12))
    if cut < 1:
        return float(np.median(differences)), Interval(-math.inf, math.inf)
    return float(np.median(differences)), Interval(float(differences[cut - 1]), float(differences[-cut]))


def noise(values: Numbers) -> float | None:
    """Return the standard deviation of a level: 1.4826 times the median distance from the median; none from one value.

    The factor makes it the standard deviation of normal noise; one campaign far off hardly moves it.

    >>> round(noise([1.0, 2.0, 3.0, 4.0, 500.0]), 3)
    1.483
    """
    x = finite(values, "values")
    return 1.4826 * float(np.median(np.abs(x - np.median(x)))) if x.size > 1 else None


def thresholds(size: int) -> Floats:
    """Return, for each number of values from 1 to `size`, what the largest statistic must reach.

    Fewer than 1 look in 1,000 at a series without a change comes so far, however many values there are: the curve
    lies just above what 150,000 simulated series of 60 values and 40,000 of 250 asked for.

    >>> [round(float(x), 3) for x in thresholds(60)[[14, 29, 59]]]
    [3.23, 3.34, 3.395]
    """
    return np.asarray(3.45 - 3.3 / np.arange(1, size + 1))


def _first_alarm(x: Floats) -> tuple[int, int] | None:
    """Return the first value of the new level and the value that raised the alarm, or none."""
    if x.size < 2:
        return None
    statistic = _statistics(x)
    reached = statistic.max(axis=0) >= thresholds(x.size)
    alarms = np.flatnonzero(reached[FEWEST_VALUES - 1 :]) + FEWEST_VALUES - 1
    if alarms.size == 0:
        return None
    raised = int(alarms[0])
    return _place(x[: raised + 1]), raised


def _place(x: Floats) -> int:
    """Return the first value of the new level: the split that leaves the least absolute distances from two medians.

    Ranks say that there is a change, but not well where: before a large step they take the next best values along.
    """
    splits = range(FEWEST_OF_A_LEVEL, x.size - FEWEST_OF_A_LEVEL + 1)
    distances = [_distance(x[:split]) + _distance(x[split:]) for split in splits]
    return FEWEST_OF_A_LEVEL + int(np.argmin(distances))


def _distance(x: Floats) -> float:
    return float(np.abs(x - np.median(x)).sum())


def _statistics(x: Floats) -> Floats:
    """Return, for a split after value k (row) seen at value n (column), the standardised sum of signs; 0 where k ≥ n.

    The sum over all pairs across the split of sign(before - after) has mean 0 and the variance k(n - k)(n + 1) / 3.
    """
    signs = np.sign(x[:, None] - x[None, :])
    sums = np.triu(signs.cumsum(axis=0), k=1).cumsum(axis=1)
    before, seen = np.arange(1, x.size + 1)[:, None], np.arange(1, x.size + 1)[None, :]
    variance = before * (seen - before) * (seen + 1) / 3
    return np.where(seen > before, np.abs(sums) / np.sqrt(np.maximum(variance, 1)), 0.0)
