"""Times of which some are only known to be later: Kaplan and Meier's curve, its median, its restricted mean (pure).

Methods, formulas and sources: docs/explanation/statistics.md.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from analysis.statistics.paired import Effect, Floats, Interval, Numbers, StatisticsError, finite


@dataclass(frozen=True, slots=True)
class Survival:
    """The share that has not yet arrived, after each time at which somebody did (Kaplan & Meier 1958)."""

    times: Floats  # rising
    shares: Floats
    greenwood: Floats  # Greenwood's sum up to each time: Σ d / (n (n - d)); infinite where everybody has arrived
    arrived: Floats  # how many at each time
    at_risk: Floats
    number: int  # of those that were watched

    def median(self) -> float | None:
        """Return the first time at which at most half have not arrived; none if more than half never did."""
        # A product of fractions such as 2/3 × 3/4 may miss one half by its last digit.
        fallen = np.flatnonzero(self.shares <= 0.5 + 1e-12)
        return float(self.times[fallen[0]]) if fallen.size else None

    def median_interval(self, level: float = 0.95) -> Interval:
        """Return the times whose share is not told from one half (Brookmeyer & Crowley 1982, on the log-log scale).

        The high end is infinite where the curve does not fall far enough.
        """
        inside = (self.shares > 0) & (self.shares < 1)
        score = np.full(self.times.size, -math.inf)
        with np.errstate(divide="ignore", invalid="ignore"):
            log_share = np.log(self.shares, where=self.shares > 0, out=np.full(self.shares.size, -math.inf))
            distance = np.log(-log_share) - math.log(math.log(2))
            score[inside] = (-distance * np.abs(log_share) / np.sqrt(self.greenwood))[inside]
        score[self.shares >= 1] = math.inf
        limit = float(stats.norm.ppf(0.5 + level / 2))
        low, high = np.flatnonzero(score <= limit), np.flatnonzero(score < -limit)
        return Interval(
            float(self.times[low[0]]) if low.size else math.inf,
            float(self.times[high[0]]) if high.size else math.inf,
        )

    def restricted_mean(self, horizon: float) -> Effect:
        """Return the mean of min(time, horizon), with its standard error (Irwin 1949; Klein & Moeschberger, 4.5).

        The area under the curve up to the horizon; its variance is Σ area(t)² · d / (n (n - d)), area(t) what lies
        beyond t.
        """
        until = self.times < horizon
        edges = np.concatenate([[0.0], self.times[until], [horizon]])
        heights = np.concatenate([[1.0], self.shares[until]])
        areas = heights * np.diff(edges)
        beyond = areas[::-1].cumsum()[::-1][1:]
        arrived, left = self.arrived[until], (self.at_risk - self.arrived)[until]
        terms = np.where(left > 0, beyond**2 * arrived / (self.at_risk[until] * np.maximum(left, 1)), 0.0)
        error = math.sqrt(float(terms.sum()))
        return Effect(float(areas.sum()), error, self.number - 1, self.number)


def kaplan_meier(reached: Numbers, unreached: Numbers) -> Survival:
    """Return the curve of those that arrived at `reached`, and of those that had not after `unreached`.

    Raises
    ------
    StatisticsError
        If nothing was given, or a time is not finite or below 0.

    >>> kaplan_meier([1.0, 2.0], [2.0, 3.0]).shares.tolist()
    [0.75, 0.5]
    """
    ends = finite(np.concatenate([np.asarray(reached, dtype=float), np.asarray(unreached, dtype=float)]), "times")
    if (ends < 0).any():
        raise StatisticsError(f"times: got {ends.min():g}; expected no time below 0. Look at the runs' clocks.")
    times, arrived = np.unique(np.asarray(reached, dtype=float), return_counts=True)
    at_risk = ends.size - np.searchsorted(np.sort(ends), times, side="left").astype(float)
    left = at_risk - arrived
    with np.errstate(divide="ignore"):
        greenwood = np.cumsum(arrived / (at_risk * left))
    return Survival(times, np.cumprod(left / at_risk), greenwood, arrived.astype(float), at_risk, ends.size)


def share_interval(hits: float, number: int, level: float = 0.95) -> Interval:
    """Return Wilson's interval of a share (1927): it is right for few and for extreme counts.

    >>> interval = share_interval(9, 10)
    >>> round(interval.low, 3), round(interval.high, 3)
    (0.596, 0.982)
    """
    if number < 1:
        return Interval(0.0, 1.0)
    z = float(stats.norm.ppf(0.5 + level / 2))
    share, squared = hits / number, z**2 / number
    middle = (share + squared / 2) / (1 + squared)
    half = z / (1 + squared) * math.sqrt(share * (1 - share) / number + squared / number / 4)
    return Interval(max(0.0, middle - half), min(1.0, middle + half))


def probability_first(ours: Sequence[float | None], theirs: Sequence[float | None]) -> tuple[float, Interval] | None:
    """Return how often ours arrived before theirs in the same heat, ties counted half, with Wilson's interval.

    None of a pair: never arrived, so later than anything that did. None without pairs.

    >>> probability_first([1.0, 2.0, None, 1.0], [2.0, 2.0, 3.0, None])[0]
    0.625
    """
    if not len(ours):
        return None
    mine, other = (np.array([math.inf if t is None else t for t in times]) for times in (ours, theirs))
    wins = float((mine < other).sum() + (mine == other).sum() / 2)
    return wins / mine.size, share_interval(wins, mine.size)
