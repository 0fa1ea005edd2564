"""Means, intervals and tests of paired measurements: pure functions of numbers.

A measurement is a positive number, one per run. A comparison works on the logs of ratios, one per heat,
so that "twice" and "half" are equally far from "equal" and the unit of measurement cancels.
Each method has a paragraph, its formula and its source in docs/explanation/statistics.md.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import special, stats

from store.errors import DeadheatError

Floats = npt.NDArray[np.float64]
Numbers = Sequence[float] | Floats


class StatisticsError(DeadheatError):
    """Numbers that cannot be averaged or compared."""


@dataclass(frozen=True, slots=True)
class Interval:
    """The values from `low` to `high`."""

    low: float
    high: float

    def is_inside(self, margin: float) -> bool:
        """Whether the whole interval lies strictly between -margin and +margin.

        >>> Interval(-0.01, 0.02).is_inside(0.03), Interval(0.01, 0.03).is_inside(0.03)
        (True, False)
        """
        return -margin < self.low and self.high < margin

    def excludes(self, value: float) -> bool:
        """Whether `value` lies outside."""
        return value < self.low or self.high < value

    @property
    def furthest(self) -> float:
        """The distance from 0 of the end that is further away."""
        return max(abs(self.low), abs(self.high))

    @property
    def as_ratio(self) -> Interval:
        """The interval of ratios, where this one holds logs."""
        return Interval(_exp(self.low), _exp(self.high))


@dataclass(frozen=True, slots=True)
class Effect:
    """A mean of n differences with its uncertainty.

    One difference says nothing about its own uncertainty: the standard error is infinite, every interval
    covers everything and p is 1. Differences that are all equal have a standard error of 0: every interval
    is the point itself, and p is 0, or 1 where the point is 0.
    """

    estimate: float
    standard_error: float
    degrees_of_freedom: float
    n: int

    def interval(self, level: float = 0.95) -> Interval:
        """Return the t interval (Student 1908): estimate ± t · standard error.

        >>> interval = mean_effect([1.0, 2.0, 3.0]).interval(0.95)
        >>> round(interval.low, 3), round(interval.high, 3)
        (-0.484, 4.484)
        """
        half = self._quantile(0.5 + level / 2) * self.standard_error
        return Interval(self.estimate - half, self.estimate + half)

    @property
    def p_value(self) -> float:
        """The two-sided p of "the true mean is 0"."""
        if self.standard_error == 0:
            return 1.0 if self.estimate == 0 else 0.0
        if math.isinf(self.standard_error):
            return 1.0
        return float(2 * special.stdtr(self.degrees_of_freedom, -abs(self.estimate) / self.standard_error))

    def widened(self, standard_error: float, degrees_of_freedom: float) -> Effect:
        """Return the effect with a second, independent source of uncertainty added.

        Variances add; the degrees of freedom are Welch's and Satterthwaite's (Satterthwaite 1946).

        >>> Effect(0.0, 3.0, 9, 10).widened(4.0, 9).standard_error
        5.0
        """
        ours, theirs = self.standard_error**2, standard_error**2
        if theirs == 0 or math.isinf(ours):
            return self
        if math.isinf(theirs):
            return Effect(self.estimate, math.inf, 0, self.n)
        # Shares, not variances: the square of a tiny variance would underflow.
        share = ours / (ours + theirs)
        spread = share**2 / self.degrees_of_freedom + (1 - share) ** 2 / degrees_of_freedom
        return Effect(self.estimate, math.sqrt(ours + theirs), 1 / spread, self.n)

    def _quantile(self, probability: float) -> float:
        """Return the quantile of t; 1 stands in where the standard error is infinite."""
        return t_quantile(probability, self.degrees_of_freedom) if self.degrees_of_freedom else 1.0


def log_ratios(baseline: Numbers, candidate: Numbers) -> Floats:
    """Return log(candidate / baseline) of each pair.

    Raises
    ------
    StatisticsError
        If the two differ in length, are empty, or hold a number that is not finite and above 0.

    >>> [round(float(x), 3) for x in log_ratios([1.0, 2.0], [2.0, 2.0])]
    [0.693, 0.0]
    """
    before, after = positive(baseline, "baseline"), positive(candidate, "candidate")
    if before.size != after.size:
        raise StatisticsError(
            f"log_ratios: got {before.size} baseline and {after.size} candidate values; expected as many of each. "
            "Pair them by heat first."
        )
    return np.asarray(np.log(after) - np.log(before))


def mean_effect(differences: Numbers) -> Effect:
    """Return the mean difference with its standard error, sd / √n.

    >>> mean_effect([1.0, 2.0, 3.0]).estimate
    2.0
    """
    x = finite(differences, "differences")
    if x.size == 1:
        return Effect(float(x[0]), math.inf, 0, 1)
    return Effect(float(x.mean()), float(x.std(ddof=1)) / math.sqrt(x.size), x.size - 1, x.size)


def is_equivalent(effect: Effect, margin: float, alpha: float = 0.05) -> bool:
    """Whether the interval of level 1 - 2 alpha, as a rule 90 %, lies strictly inside ± margin.

    The same as two one-sided tests at alpha (TOST, Schuirmann 1987).

    >>> is_equivalent(mean_effect([-0.01, 0.0, 0.01]), 0.03), is_equivalent(mean_effect([0.02, 0.03, 0.04]), 0.03)
    (True, False)
    """
    return effect.interval(1 - 2 * alpha).is_inside(margin)


def hodges_lehmann(differences: Numbers) -> float:
    """Return the median of the Walsh averages (Hodges & Lehmann 1963): a mean that an outlier hardly moves.

    >>> hodges_lehmann([1.0, 2.0, 3.0, 4.0, 500.0])
    3.0
    """
    averages = _walsh_averages(finite(differences, "differences"))
    middle = averages.size // 2
    return float(averages[middle] if averages.size % 2 else averages[middle - 1] / 2 + averages[middle] / 2)


def signed_rank_interval(differences: Numbers, level: float = 0.95) -> Interval:
    """Return the interval that Wilcoxon's exact signed-rank test does not reject (Tukey 1949).

    From fewer than 6 differences there is no 95 % interval (5 for 90 %): the answer then covers everything.
    Ties and equal differences make it wider than it need be, never narrower.

    >>> signed_rank_interval([1.0, 2.0, 3.0, 4.0, 5.0, 6.0], 0.95)
    Interval(low=1.0, high=6.0)
    """
    x = finite(differences, "differences")
    cut = _signed_rank_cut(x.size, level)
    if cut == 0:
        return Interval(-math.inf, math.inf)
    averages = _walsh_averages(x)
    return Interval(float(averages[cut - 1]), float(averages[-cut]))


def holm(p_values: Numbers) -> list[float]:
    """Return Holm's adjusted p values, in the order given (Holm 1979).

    Rejecting those below 0.05 keeps the chance of any false rejection in the family at 5 %.

    >>> holm([0.25, 0.01, 0.02])
    [0.25, 0.03, 0.04]
    """
    p = np.asarray(p_values, dtype=float)
    if not ((p >= 0) & (p <= 1)).all():
        raise StatisticsError(f"holm: got {p.tolist()}; expected p values from 0 to 1. Leave out what has none.")
    order = np.argsort(p, kind="stable")
    adjusted = np.empty(p.size)
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(p[order] * np.arange(p.size, 0, -1)))
    return [float(value) for value in adjusted]


def geometric_mean(values: Numbers) -> float:
    """Return exp(mean of the logs): the mean whose ratios are the mean ratios.

    >>> round(geometric_mean([1.0, 100.0]), 9)
    10.0
    """
    return float(np.exp(np.log(positive(values, "values")).mean()))


def coefficient_of_variation(values: Numbers) -> float | None:
    """Return standard deviation / mean of positive values; none from one value.

    >>> coefficient_of_variation([9.0, 10.0, 11.0])
    0.1
    """
    x = positive(values, "values")
    return float(x.std(ddof=1) / x.mean()) if x.size > 1 else None


def standard_deviation_interval(standard_deviation: float, n: int, level: float = 0.95) -> Interval:
    """Return the chi-square interval of a normal standard deviation seen in `n` values.

    From one value nothing is known: 0 to infinity.

    >>> interval = standard_deviation_interval(1.0, 10)
    >>> round(interval.low, 2), round(interval.high, 2)
    (0.69, 1.83)
    """
    if n < 2:
        return Interval(0.0, math.inf)
    low, high = (math.sqrt((n - 1) / _chi_square_quantile(0.5 + side * level / 2, n - 1)) for side in (1, -1))
    return Interval(standard_deviation * low, standard_deviation * high)


def log_margin(margin_ratio: float) -> float:
    """Return the margin on the log scale: 0.03 allows ratios strictly between 1 / 1.03 and 1.03.

    >>> round(math.exp(log_margin(0.03)), 9), round(math.exp(-log_margin(0.03)), 4)
    (1.03, 0.9709)
    """
    return math.log1p(margin_ratio)


def percent_difference(ratio: float) -> float:
    """Return how many percent more than the baseline: above 0 longer, below 0 less.

    34.2 % longer one way is 25.5 % less the other way, never 34.2 %.

    >>> round(percent_difference(1.342), 1), round(percent_difference(1 / 1.342), 1)
    (34.2, -25.5)
    """
    return 100 * (ratio - 1)


def positive(values: Numbers, name: str) -> Floats:
    """Return `values` as an array, refusing what has no log."""
    x = finite(values, name)
    if (x <= 0).any():
        raise StatisticsError(_refusal(name, x, x <= 0, "finite numbers above 0"))
    return x


def finite(values: Numbers, name: str) -> Floats:
    """Return `values` as an array, refusing NaN, infinity and emptiness."""
    x = np.asarray(values, dtype=float)
    if x.ndim != 1 or x.size == 0:
        raise StatisticsError(f"{name}: got shape {x.shape}; expected at least one number. Leave out what has no runs.")
    if not np.isfinite(x).all():
        raise StatisticsError(_refusal(name, x, ~np.isfinite(x), "finite numbers"))
    return x


def _refusal(name: str, x: Floats, bad: npt.NDArray[np.bool_], expected: str) -> str:
    index = int(np.argmax(bad))
    return f"{name}[{index}]: got {x[index]}; expected {expected}. Leave runs without a value out before comparing."


def _walsh_averages(x: Floats) -> Floats:
    """Return the means of all pairs, each with itself included, sorted."""
    first, second = _pairs(x.size)
    # Halves first: the sum of two large numbers would overflow.
    return np.sort(x[first] / 2 + x[second] / 2)


@functools.lru_cache(maxsize=64)
def _pairs(n: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return the places of both of each pair."""
    first, second = np.triu_indices(n)
    return first, second


def t_quantile(probability: float, degrees_of_freedom: float) -> float:
    """Return the quantile of Student's t.

    >>> round(t_quantile(0.975, 9), 6)
    2.262157
    """
    return float(special.stdtrit(degrees_of_freedom, probability))


@functools.lru_cache(maxsize=4096)
def _chi_square_quantile(probability: float, degrees_of_freedom: int) -> float:
    return float(stats.chi2.ppf(probability, degrees_of_freedom))


@functools.cache
def _signed_rank_cut(n: int, level: float) -> int:
    """Return the largest k with P(T ≤ k - 1) ≤ (1 - level) / 2, T being the signed-rank statistic.

    The ends of the interval are the k-th smallest and the k-th largest Walsh average.
    """
    probabilities = np.ones(1)
    for rank in range(1, n + 1):
        # Each rank is in the sum or not, with chances of one half.
        grown = np.zeros(probabilities.size + rank)
        grown[: probabilities.size] += probabilities / 2
        grown[rank:] += probabilities / 2
        probabilities = grown
    # A relative allowance for the rounding of 1 - level, far below the steps of the distribution.
    return int(np.searchsorted(probabilities.cumsum(), (1 - level) / 2 * (1 + 1e-9), side="right"))


def _exp(x: float) -> float:
    """Return e to the x, infinite where that overflows."""
    return math.exp(x) if x < 700 else math.inf
