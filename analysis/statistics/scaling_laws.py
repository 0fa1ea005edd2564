"""How speed grows with threads, loader workers or batch size: speed-up, efficiency, laws, crossovers (pure).

Two laws: Amdahl's, 1967, and Gunther's universal law of scalability (N. Gunther, *A General Theory of Computational
Scalability Based on Rational Functions*, 2008, arXiv:0808.1431, and *Guerrilla Capacity Planning*, 2007).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import optimize, stats

from analysis.statistics.paired import Floats, Interval, Numbers, StatisticsError, positive

FEWEST_PLACES_OF_AMDAHL = 3


@dataclass(frozen=True, slots=True)
class Law:
    """Amdahl's law (1967) fitted to seconds: seconds with n = seconds of one · (serial + (1 - serial) / n)."""

    seconds_of_one: float
    serial: float  # the share that more of them do not make faster
    serial_interval: Interval  # 95 %
    runs: int
    squares: float = 0.0  # of the residuals of the log seconds

    def speed_up(self, n: float) -> float:
        """Return how many times as fast n are as one.

        >>> round(Law(1.0, 0.1, Interval(0.1, 0.1), 3).speed_up(4), 3)
        3.077
        """
        return 1 / (self.serial + (1 - self.serial) / n)

    @property
    def limit(self) -> float:
        """What no number of them exceeds: 1 / serial; infinite where nothing is serial."""
        return 1 / self.serial if self.serial > 0 else math.inf


@dataclass(frozen=True, slots=True)
class Crossover:
    """Where one entry overtakes another along an axis: between two places, at `at` if the lines are straight there."""

    low: float
    high: float
    at: float


def speed_ups(places: Sequence[float], seconds: Sequence[float]) -> Floats:
    """Return seconds at the first place / seconds at each.

    >>> speed_ups([1, 2, 4], [8.0, 4.0, 2.5]).tolist()
    [1.0, 2.0, 3.2]
    """
    x = positive(seconds, "seconds")
    if len(places) != x.size or list(places) != sorted(set(places)):
        raise StatisticsError(f"places: got {list(places)}; expected {x.size} rising numbers. Sort them first.")
    return np.asarray(x[0] / x)


def efficiencies(places: Sequence[float], seconds: Sequence[float]) -> Floats:
    """Return the speed-up per unit added: 1 where twice the threads take half the time.

    >>> efficiencies([1, 2, 4], [8.0, 4.0, 2.5]).tolist()
    [1.0, 1.0, 0.8]
    """
    return np.asarray(speed_ups(places, seconds) * places[0] / np.asarray(places, dtype=float))


def amdahl(places: Sequence[float], seconds: Sequence[float]) -> Law | None:
    """Return Amdahl's law fitted by least squares to the log seconds of runs; none from fewer than three places.

    log seconds = a + log(c + (1 - c) / n): the serial share c lies in [0, 1]. Its interval is that of the profile:
    every c whose sum of squares an F test at 5 % does not tell from the best (Bates & Watts 1988, chapter 6).

    Parameters
    ----------
    places
        Threads or workers of each run, from 1.
    seconds
        Of each run; several runs may have the same place.
    """
    n, y = positive(places, "places"), np.log(positive(seconds, "seconds"))
    if np.unique(n).size < FEWEST_PLACES_OF_AMDAHL or n.size <= FEWEST_PLACES_OF_AMDAHL:
        return None

    def squares(share: float) -> float:
        left = y - np.log(share + (1 - share) / n)
        return float(((left - left.mean()) ** 2).sum())

    best = least(squares)
    freedom = n.size - 2
    allowed = squares(best) * (1 + float(stats.f.ppf(0.95, 1, freedom)) / freedom) + 1e-15
    interval = Interval(edge(squares, best, 0.0, allowed), edge(squares, best, 1.0, allowed))
    seconds_of_one = math.exp(float((y - np.log(best + (1 - best) / n)).mean()))
    return Law(seconds_of_one, best, interval, n.size, squares(best))


def crossovers(places: Sequence[float], ours: Sequence[float], theirs: Sequence[float]) -> list[Crossover]:
    """Return where the order of two entries turns, by the sign of the difference of their logs between places.

    Straight lines in log-log; the true crossing may lie anywhere from `low` to `high`.

    >>> [round(c.at, 2) for c in crossovers([1, 4, 16], [1.0, 2.0, 4.0], [2.0, 2.0, 2.0])]
    [4.0]
    """
    x, gap = np.log(positive(places, "places")), np.log(positive(ours, "ours")) - np.log(positive(theirs, "theirs"))
    found = []
    for i in range(gap.size - 1):
        if gap[i] != 0 and gap[i] * gap[i + 1] <= 0:
            share = gap[i] / (gap[i] - gap[i + 1])
            at = math.exp(float(x[i] + share * (x[i + 1] - x[i])))
            found.append(Crossover(float(places[i]), float(places[i + 1]), at))
    return found


def least(squares: Callable[[float], float], most: float = 1.0) -> float:
    """Return the value in [0, most] with the least squares, to ten digits of `most`.

    >>> round(least(lambda x: (x - 0.25) ** 2), 6)
    0.25
    """
    found = optimize.minimize_scalar(squares, bounds=(0.0, most), method="bounded", options={"xatol": 1e-10 * most})
    candidates = (float(found.x), 0.0, most)
    return min(candidates, key=squares)


def edge(squares: Callable[[float], float], best: float, end: float, allowed: float) -> float:
    """Return where the sum of squares reaches `allowed` between the best value and an end of its range.

    >>> round(edge(lambda x: (x - 0.25) ** 2, 0.25, 1.0, 0.01), 6)
    0.35
    """
    if squares(end) <= allowed:
        return end
    low, high = sorted((best, end))
    return float(optimize.brentq(lambda value: squares(value) - allowed, low, high, xtol=1e-10))


FEWEST_PLACES = 4  # one more than it has parameters, so that there is something left to be wrong about
MOST_COHERENCY = 1.0  # two would then take twice as long as one: nothing that is worth a fit


@dataclass(frozen=True, slots=True, kw_only=True)
class UniversalLaw:
    """Seconds with n = seconds of one · (1 + σ (n - 1) + κ n (n - 1)) / n.

    σ is what all wait for in turn, Amdahl's serial share; κ what each must agree on with every other. With κ = 0 it is
    Amdahl's law; with κ > 0 there is a number from which on more of them take longer.
    """

    seconds_of_one: float
    contention: float  # σ
    contention_interval: Interval  # 95 %
    coherency: float  # κ
    coherency_interval: Interval  # 95 %
    runs: int
    squares: float  # of the residuals of the log seconds

    def speed_up(self, n: float) -> float:
        """Return how many times as fast n are as one."""
        return n / (1 + self.contention * (n - 1) + self.coherency * n * (n - 1))

    @property
    def fastest(self) -> float:
        """The number with the largest speed-up, √((1 - σ) / κ); infinite where κ is 0."""
        return max(1.0, math.sqrt((1 - self.contention) / self.coherency)) if self.coherency > 0 else math.inf


def universal_law(places: Numbers, seconds: Numbers) -> UniversalLaw | None:
    """Return the law fitted by least squares to the log seconds of runs; none from fewer than four places.

    σ lies in [0, 1], κ is at least 0. The interval of each is that of its profile: every value whose least sum of
    squares over the other an F test at 5 % does not tell from the best (Bates & Watts 1988, chapter 6).

    Parameters
    ----------
    places
        Threads or workers of each run, from 1.
    seconds
        Of each run; several runs may have the same place.
    """
    n, y = positive(places, "places"), np.log(positive(seconds, "seconds"))
    if np.unique(n).size < FEWEST_PLACES or n.size <= FEWEST_PLACES:
        return None

    def squares(contention: float, coherency: float) -> float:
        left = _left(n, y, contention, coherency)
        return float((left**2).sum())

    def of_contention(value: float) -> float:
        return squares(value, least(lambda other: squares(value, other), MOST_COHERENCY))

    def of_coherency(value: float) -> float:
        return squares(least(lambda other: squares(other, value)), value)

    contention, coherency = _best(n, y)
    freedom = n.size - 3
    found = squares(contention, coherency)
    allowed = found * (1 + float(stats.f.ppf(0.95, 1, freedom)) / freedom) + 1e-15
    shape = _shape(n, contention, coherency)
    return UniversalLaw(
        seconds_of_one=math.exp(float((y - np.log(shape)).mean())),
        contention=contention,
        contention_interval=Interval(
            edge(of_contention, contention, 0.0, allowed), edge(of_contention, contention, 1.0, allowed)
        ),
        coherency=coherency,
        coherency_interval=Interval(
            edge(of_coherency, coherency, 0.0, allowed), edge(of_coherency, coherency, MOST_COHERENCY, allowed)
        ),
        runs=n.size,
        squares=found,
    )


def corrected_information(squares: float, runs: int, parameters: int) -> float:
    """Return Akaike's criterion for few runs: n log(squares / n) + 2 k + 2 k (k + 1) / (n - k - 1).

    Hurvich & Tsai 1989; k counts the variance too. The smaller one describes better; infinite where n ≤ k + 1.

    >>> round(corrected_information(1.0, 10, 2), 3)
    -13.026
    """
    k = parameters + 1
    if runs <= k + 1:
        return math.inf
    return runs * math.log(max(squares, 1e-300) / runs) + 2 * k + 2 * k * (k + 1) / (runs - k - 1)


def preference(amdahl: Law, universal: UniversalLaw) -> float:
    """Return by how much the universal law's criterion is smaller than Amdahl's: above 0 it describes better."""
    return corrected_information(amdahl.squares, amdahl.runs, 2) - corrected_information(
        universal.squares, universal.runs, 3
    )


def _shape(n: Floats, contention: float, coherency: float) -> Floats:
    """Return the seconds with n, in those of one."""
    return np.asarray((1 + contention * (n - 1) + coherency * n * (n - 1)) / n)


def _left(n: Floats, y: Floats, contention: float, coherency: float) -> Floats:
    """Return the residuals, the seconds of one taken out as the mean."""
    left = y - np.log(_shape(n, contention, coherency))
    return np.asarray(left - left.mean())


def _best(n: Floats, y: Floats) -> tuple[float, float]:
    """Return σ and κ with the least squares: the best inside, or on an edge of what they may be."""

    def of(contention: float, coherency: float) -> float:
        return float((_left(n, y, contention, coherency) ** 2).sum())

    def residuals(at: Floats) -> Floats:
        return _left(n, y, float(at[0]), float(at[1]))

    limits = ([0.0, 0.0], [1.0, MOST_COHERENCY])
    inside = optimize.least_squares(residuals, _start(n, y), bounds=limits, xtol=1e-12, ftol=1e-14, gtol=1e-14).x
    edges = [
        (least(lambda contention: of(contention, 0.0)), 0.0),
        (0.0, least(lambda coherency: of(0.0, coherency), MOST_COHERENCY)),
    ]
    contention, coherency = min([*edges, (float(inside[0]), float(inside[1]))], key=lambda at: of(*at))
    return contention, coherency


def _start(n: Floats, y: Floats) -> list[float]:
    """Return σ and κ of the linear fit of n · seconds, each run weighted by its own inverse, a little inside."""
    scale = np.exp(y - y.mean())
    terms = np.column_stack([np.ones_like(n), n - 1, n * (n - 1)]) / (n * scale)[:, None]
    one, by_contention, by_coherency = optimize.nnls(terms, np.ones_like(n))[0]
    if one <= 0:
        return [0.5, 1e-3]
    return [float(np.clip(by_contention / one, 1e-6, 1 - 1e-6)), float(np.clip(by_coherency / one, 1e-9, 0.5))]
