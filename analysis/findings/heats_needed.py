"""How many heats were planned, and how many the verdict would need if the differences stay as they are (pure)."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

from analysis.statistics.paired import Floats
from store.repetition import HEATS_FOR_A_VERDICT, LOOKS

MOST_HEATS = 1000  # nobody runs more; a number of heats is looked for up to here


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How often a cell was to be repeated, and how far that has got.

    `planned` is the number of heats that the rule had fixed when the last heat began: of `looks` that of the look;
    none in records made before it was noted, which are taken as they are, and in a pilot.
    """

    rule: str = "fixed"  # fixed, pilot or looks
    planned: int | None = None
    done: int = 0

    @property
    def alpha(self) -> float:
        """The level of each test: stricter where there is more than one look."""
        return dict(LOOKS).get(self.planned or 0, LOOKS[0][1]) if self.rule == "looks" else 0.05

    @property
    def why_too_early(self) -> str:
        """Why no verdict may be read yet, or an empty string."""
        if self.rule == "pilot" and self.planned is None:
            return "the pilot has not yet fixed the number of heats"
        if self.planned is not None and self.done < self.planned:
            what = "the next look is after" if self.rule == "looks" else "the number was fixed in advance at"
            return f"{self.done} heats are done and {what} {self.planned}; a verdict before would be an unplanned look"
        return ""


AS_PLANNED = Plan()


def decides_at(
    estimate: float, deviation: float, floor_estimate: float, floor_deviation: float, margin: float, alpha: float
) -> Callable[[npt.NDArray[np.int64]], npt.NDArray[np.bool_]]:
    """Return for which numbers of heats the rules of the verdict would decide.

    Parameters
    ----------
    estimate, deviation
        Mean and standard deviation of a heat's log ratio.
    floor_estimate, floor_deviation
        Those of the A/A control.
    margin
        Of a dead heat, on the log scale.
    alpha
        Level of the test of "no difference".
    """

    def decides(heats: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
        error = 1 / np.sqrt(heats)
        floor = abs(floor_estimate) + _quantiles(0.975)[heats] * floor_deviation * error
        is_dead_heat = abs(estimate) + _quantiles(0.95)[heats] * deviation * error < margin
        is_shown = abs(estimate) > _quantiles(1 - alpha / 2)[heats] * deviation * error
        is_resolved = (floor < margin) & (is_dead_heat | (is_shown & (abs(estimate) > floor)))
        is_beyond = is_shown & (abs(estimate) - _quantiles(0.975)[heats] * deviation * error > floor)
        return np.asarray(is_resolved | is_beyond, dtype=np.bool_)

    return decides


@functools.cache
def _quantiles(probability: float) -> Floats:
    """Return the quantile of t for each number of heats up to `MOST_HEATS`, by index."""
    return np.asarray(stats.t.ppf(probability, np.maximum(np.arange(MOST_HEATS + 1) - 1, 1)))


def fewest_heats(decides: Callable[[npt.NDArray[np.int64]], npt.NDArray[np.bool_]], *, more_than: int) -> int | None:
    """Return the smallest number of heats that decides; none up to `MOST_HEATS`."""
    heats = np.arange(max(more_than + 1, HEATS_FOR_A_VERDICT), MOST_HEATS + 1)
    found = decides(heats)
    return int(heats[found.argmax()]) if found.any() else None
