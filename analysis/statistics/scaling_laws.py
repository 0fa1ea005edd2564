"""How speed grows with threads, loader workers or batch size: speed-up, efficiency, laws, crossovers (pure)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import optimize, stats

from analysis.statistics.paired import Floats, Interval, StatisticsError, positive

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
