"""How long training takes to reach the target accuracy: observed, and with the epochs of all entries pooled.

The epoch in which one run crosses the target is mostly chance (weights changed by 1e-7 move it by whole epochs),
and it is the same chance for everyone whose mathematics is the same. So the headline takes each run's own
seconds and all gated runs' epochs; what was observed stands beside it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from analysis.statistics import Effect, mean_effect

TRAINED = ("completed", "diverged")  # endings that say something about accuracy; a crash or a timeout does not


@dataclass(frozen=True, slots=True)
class PooledEpochs:
    """Epochs until the target, or until the end of the plan where that came first, over the gated runs of a cell.

    Every run of a cell has the same planned epochs, so this restricted mean (Irwin 1949) needs no model of
    what would have happened later, and becomes the whole timed work where no run reaches the target.
    Runs of one heat share weights and order, so its uncertainty is that of the means of heats.
    """

    epochs: Effect  # mean over heats, with its standard error
    runs: int
    hits: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeToAccuracy:
    """What was observed of one entry: how many runs reached the target, and when.

    The medians are Kaplan and Meier's: runs that never reached the target count as "later than they lasted".
    None: fewer than half of the runs reached it.
    """

    entry: str
    runs: int
    hits: int
    median_epochs: float | None
    median_train_s: float | None
    median_e2e_s: float | None
    fastest_epochs: float | None
    slowest_epochs: float | None

    @property
    def hit_ratio(self) -> float:
        """The share of runs that reached the target."""
        return self.hits / self.runs


def crossings(epochs: pd.DataFrame, target_accuracy: float) -> pd.DataFrame:
    """Return where each run met the target: at the first of two consecutive evaluations at or above it.

    Parameters
    ----------
    epochs
        Columns `run_id`, `epoch`, `test_accuracy` (a fraction), `train_clock_s`, `e2e_clock_s`.

    Returns
    -------
    DataFrame
        Indexed by `run_id`, columns `epoch`, `train_clock_s`, `e2e_clock_s`. Runs that did not meet it are absent:
        the last evaluation alone does not meet a target, nothing confirms it.
    """
    evaluated = epochs[epochs["test_accuracy"].notna()].sort_values(["run_id", "epoch"])
    above = evaluated["test_accuracy"].astype(float) >= target_accuracy
    confirmed = above & above.groupby(evaluated["run_id"]).shift(-1, fill_value=False)
    met = evaluated[confirmed].drop_duplicates("run_id")
    return met.set_index("run_id")[["epoch", "train_clock_s", "e2e_clock_s"]].astype(float)


def run_costs(epochs: pd.DataFrame) -> pd.DataFrame:
    """Return what each run paid once and what it paid per epoch.

    Fixed costs are the e2e clock when the first epoch starts. An epoch costs the mean of all epochs: training on
    the train clock; training, evaluation and what lies between on the e2e clock. So fixed + per epoch × the
    epochs trained is the clock at the last evaluation, exactly.

    Parameters
    ----------
    epochs
        Columns `run_id`, `epoch`, `train_s`, `eval_s`, `train_clock_s`, `e2e_clock_s`.

    Returns
    -------
    DataFrame
        Indexed by `run_id`, columns `fixed_s`, `train_s_per_epoch`, `e2e_s_per_epoch`.
    """
    ordered = epochs.sort_values(["run_id", "epoch"])
    first = ordered.drop_duplicates("run_id", keep="first").set_index("run_id")
    last = ordered.drop_duplicates("run_id", keep="last").set_index("run_id")
    evaluated_s = first["eval_s"].astype(float).fillna(0.0)
    fixed_s = first["e2e_clock_s"] - first["train_s"] - evaluated_s
    return pd.DataFrame(
        {
            "fixed_s": fixed_s.astype(float),
            "train_s_per_epoch": (last["train_clock_s"] / last["epoch"]).astype(float),
            "e2e_s_per_epoch": ((last["e2e_clock_s"] - fixed_s) / last["epoch"]).astype(float),
        }
    )


def pooled_epochs(runs: pd.DataFrame, met: pd.DataFrame) -> PooledEpochs | None:
    """Return the mean epochs to the target over gated runs; none without any.

    Runs of the control are left out: they repeat the baseline's weights, order and dropout masks, and on a
    deterministic machine its very losses, so they would only weigh the baseline twice. The baseline counts once.

    Parameters
    ----------
    runs
        Gated runs of one cell; columns `run_id`, `heat_id`, `status`, `control`, `epochs` (planned).
    met
        What `crossings` returned.
    """
    pool = runs[runs["status"].isin(TRAINED) & ~runs["control"].astype(bool)]
    if pool.empty:
        return None
    reached = met["epoch"].reindex(pool["run_id"]).to_numpy(dtype=float)
    spent = np.where(np.isnan(reached), pool["epochs"].to_numpy(dtype=float), reached)
    heat_means = pd.Series(spent).groupby(pool["heat_id"].to_numpy()).mean()
    hits = int(np.count_nonzero(~np.isnan(reached)))
    return PooledEpochs(mean_effect(list(heat_means)), len(pool), hits)


def kaplan_meier_median(reached: Sequence[float], unreached: Sequence[float]) -> float | None:
    """Return when half have reached the target, by Kaplan's and Meier's estimate (1958).

    Parameters
    ----------
    reached
        When the target was met.
    unreached
        How long the others lasted without meeting it.

    Returns
    -------
    float or None
        None when the estimate never falls to one half, or nothing was given.

    Examples
    --------
    >>> kaplan_meier_median([1.0, 2.0, 3.0], [])
    2.0
    >>> kaplan_meier_median([1.0, 2.0], [3.0, 3.0, 3.0]) is None
    True
    """
    if not len(reached):
        return None
    survival = stats.ecdf(stats.CensoredData(uncensored=list(reached), right=list(unreached))).sf
    # A product of fractions such as 2/3 × 3/4 may miss one half by its last digit.
    fallen = np.flatnonzero(survival.probabilities <= 0.5 + 1e-12)
    return float(survival.quantiles[fallen[0]]) if fallen.size else None


def observed_times(runs: pd.DataFrame, epochs: pd.DataFrame, target_accuracy: float) -> list[TimeToAccuracy]:
    """Return one row per entry of a cell, in the order of their names; control runs are left out.

    Parameters
    ----------
    runs
        Runs of one cell; columns `run_id`, `entry`, `status`, `control`.
    epochs
        Columns of the view `epochs`.
    """
    counted = runs[runs["status"].isin(TRAINED) & ~runs["control"].astype(bool)]
    mine = epochs[epochs["run_id"].isin(counted["run_id"])]
    met = crossings(mine, target_accuracy)
    lasted = mine.groupby("run_id")[["epoch", "train_clock_s", "e2e_clock_s"]].max().astype(float)
    return [
        _observed(str(entry), list(group["run_id"]), met, lasted)
        for entry, group in counted.groupby("entry", sort=True)
    ]


def _observed(entry: str, run_ids: list[str], met: pd.DataFrame, lasted: pd.DataFrame) -> TimeToAccuracy:
    reached = met.reindex(run_ids).dropna()
    # A run that diverged before its first evaluation lasted 0 epochs.
    unreached = lasted.reindex([run_id for run_id in run_ids if run_id not in met.index]).fillna(0.0)
    medians = {clock: kaplan_meier_median(list(reached[clock]), list(unreached[clock])) for clock in met.columns}
    return TimeToAccuracy(
        entry=entry,
        runs=len(run_ids),
        hits=len(reached),
        median_epochs=medians["epoch"],
        median_train_s=medians["train_clock_s"],
        median_e2e_s=medians["e2e_clock_s"],
        fastest_epochs=_known(reached["epoch"].min()),
        slowest_epochs=_known(reached["epoch"].max()),
    )


def _known(value: float) -> float | None:
    return None if math.isnan(value) else float(value)
