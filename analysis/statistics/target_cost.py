"""Seconds to the target of each entry with their own uncertainty, and what they cost at a price per hour (pure)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd

from analysis.statistics.paired import Effect, Interval, mean_effect
from analysis.statistics.time_to_accuracy import run_costs

HOUR_S = 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetSeconds:
    """The end-to-end seconds of one entry for the pooled epochs to the target: a geometric mean over its runs."""

    entry: str
    runs: int
    seconds: float
    interval: Interval | None  # 95 %; none from a single run

    def at(self, per_hour: float, times: int = 1) -> tuple[float, Interval | None]:
        """Return what they cost that many times at a price per hour, with the interval: the price has no uncertainty.

        >>> one = TargetSeconds(entry="a", runs=2, seconds=36.0, interval=Interval(18.0, 72.0))
        >>> one.at(2.0)
        (0.02, Interval(low=0.01, high=0.04))
        """
        rate = times * per_hour / HOUR_S
        ends = Interval(self.interval.low * rate, self.interval.high * rate) if self.interval else None
        return self.seconds * rate, ends


def target_seconds(runs: pd.DataFrame, epochs: pd.DataFrame, pooled: Effect) -> dict[str, TargetSeconds]:
    """Return the seconds to the target of each entry, by its name; the control is left out.

    A run's value is F + s·E with its own fixed costs F and seconds per epoch s, and the pooled epochs E, as everywhere
    (docs/explanation/statistics.md, "Time to a target accuracy"). The interval is that of Student's t on the logs, with
    the variance (mean of s / (F + s·E) · standard error of E)² of the pooled epochs added by the delta method.

    Parameters
    ----------
    runs
        Counted runs of one cell; columns `run_id`, `entry`, `status`, `control`, `contaminated`. Those that completed
        undisturbed count.
    epochs
        Columns of the view `epochs`.
    pooled
        Epochs to the target over the gated entries.
    """
    counted = runs[(runs["status"] == "completed") & ~runs["control"].astype(bool)]
    counted = counted[~counted["contaminated"].isin([True])]
    costs = run_costs(epochs[epochs["run_id"].isin(counted["run_id"])]).reindex(counted["run_id"])
    costs = costs.assign(entry=counted["entry"].to_numpy()).dropna(subset=["fixed_s", "e2e_s_per_epoch"])
    values = costs["fixed_s"] + costs["e2e_s_per_epoch"] * pooled.estimate
    possible = costs[values > 0]
    return {str(entry): of_entry(str(entry), own, pooled) for entry, own in possible.groupby("entry", sort=True)}


def of_entry(entry: str, costs: pd.DataFrame, pooled: Effect) -> TargetSeconds:
    """Return the seconds of one entry, given its runs with columns `fixed_s` and `e2e_s_per_epoch`."""
    per_epoch = costs["e2e_s_per_epoch"].to_numpy(dtype=float)
    values = costs["fixed_s"].to_numpy(dtype=float) + per_epoch * pooled.estimate
    effect = mean_effect(np.log(values))
    slope = float((per_epoch / values).mean())
    widened = effect.widened(slope * pooled.standard_error, pooled.degrees_of_freedom)
    interval = widened.interval(0.95).as_ratio if math.isfinite(widened.standard_error) else None
    return TargetSeconds(entry=entry, runs=values.size, seconds=math.exp(effect.estimate), interval=interval)
