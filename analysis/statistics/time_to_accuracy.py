"""How long training takes to reach the target accuracy: observed, and with the epochs of all entries pooled.

The epoch in which one run crosses the target is mostly chance (weights changed by 1e-7 move it by whole epochs),
and it is the same chance for everyone whose mathematics is the same. So the headline takes each run's own
seconds and all gated runs' epochs; what was observed stands beside it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from analysis.frames.columns import Table
from analysis.statistics.paired import Effect, Interval, mean_effect
from analysis.statistics.survival import kaplan_meier, probability_first, share_interval

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
    hit_interval: Interval  # 95 %, Wilson's
    epochs_interval: Interval | None  # 95 % of the medians, Brookmeyer and Crowley's; an open end is infinite
    train_interval: Interval | None
    e2e_interval: Interval | None
    mean_epochs: Effect | None  # restricted to the plan: a run that never met it counts with the whole plan
    s_per_epoch: Effect | None  # of the logs of training seconds per epoch
    first: float | None = (
        None  # how often it arrived before the baseline in the same heat, e2e; none: it is the baseline
    )
    first_interval: Interval | None = None

    @property
    def hit_ratio(self) -> float:
        """The share of runs that reached the target."""
        return self.hits / self.runs


def crossings(epochs: pd.DataFrame, target_accuracy: float | pd.Series) -> pd.DataFrame:
    """Return where each run met the target: at the first of two consecutive evaluations at or above it.

    Parameters
    ----------
    epochs
        Columns `run_id`, `epoch`, `test_accuracy` (a fraction), `train_clock_s`, `e2e_clock_s`.
    target_accuracy
        One for all runs, or that of each run, indexed by `run_id`; a run without one meets nothing.

    Returns
    -------
    DataFrame
        Indexed by `run_id`, columns `epoch`, `train_clock_s`, `e2e_clock_s`. Runs that did not meet it are absent:
        the last evaluation alone does not meet a target, nothing confirms it.
    """
    evaluated, run = _run_by_run(epochs[epochs["test_accuracy"].notna()])
    target = evaluated["run_id"].map(target_accuracy) if isinstance(target_accuracy, pd.Series) else target_accuracy
    above = evaluated["test_accuracy"].to_numpy(dtype=float) >= np.asarray(target, dtype=float)
    confirmed = np.flatnonzero(above[:-1] & above[1:] & (run[:-1] == run[1:]))
    first = confirmed[np.unique(run[confirmed], return_index=True)[1]]
    met = evaluated.iloc[first]
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
    ordered, run = _run_by_run(epochs)
    first, last = (
        ordered.iloc[np.flatnonzero(edge)].set_index("run_id")
        for edge in (np.diff(run, prepend=-1), np.diff(run, append=-1))
    )
    evaluated_s = first["eval_s"].astype(float).fillna(0.0)
    fixed_s = first["e2e_clock_s"] - first["train_s"] - evaluated_s
    return pd.DataFrame(
        {
            "fixed_s": fixed_s.astype(float),
            "train_s_per_epoch": (last["train_clock_s"] / last["epoch"]).astype(float),
            "e2e_s_per_epoch": ((last["e2e_clock_s"] - fixed_s) / last["epoch"]).astype(float),
        }
    )


def _run_by_run(epochs: pd.DataFrame) -> tuple[pd.DataFrame, npt.NDArray[np.int64]]:
    """Return the rows by run and epoch, and the number of each row's run, from 0."""
    numbers = pd.factorize(epochs["run_id"], sort=True)[0]
    order = np.lexsort((epochs["epoch"].to_numpy(dtype=float), numbers))
    return epochs.iloc[order], numbers[order]


def pooled_epochs(runs: Table) -> PooledEpochs | None:
    """Return the mean epochs to the target over gated runs; none without any.

    Runs of the control are left out: they repeat the baseline's weights, order and dropout masks, and on a
    deterministic machine its very losses, so they would only weigh the baseline twice. The baseline counts once.

    Parameters
    ----------
    runs
        Gated runs of one cell; columns `heat_id`, `status`, `control`, `epochs` (planned), and `target_epoch`: in
        which the run met the target, by `crossings`; missing where it never did.
    """
    counted = np.isin(runs["status"], TRAINED) & ~np.asarray(runs["control"], dtype=bool)
    if not counted.any():
        return None
    reached, planned = (np.asarray(runs[name], dtype=float)[counted] for name in ("target_epoch", "epochs"))
    heat = np.unique(np.asarray(runs["heat_id"], dtype=object)[counted], return_inverse=True)[1]
    heat_means = np.bincount(heat, np.where(np.isnan(reached), planned, reached)) / np.bincount(heat)
    return PooledEpochs(mean_effect(heat_means), reached.size, int(np.count_nonzero(~np.isnan(reached))))


def several_targets(target_accuracy: float) -> tuple[float, ...]:
    """Return the targets that are looked at beside the planned one: those with twice and 1.5 times its errors.

    >>> [round(target, 4) for target in several_targets(0.98)]
    [0.96, 0.97, 0.98]
    """
    return tuple(1 - factor * (1 - target_accuracy) for factor in (2, 1.5, 1))


def observed_times(
    runs: pd.DataFrame, epochs: pd.DataFrame, target_accuracy: float, baseline: str = ""
) -> list[TimeToAccuracy]:
    """Return one row per entry of a cell, in the order of their names; control runs are left out.

    Parameters
    ----------
    runs
        Runs of one cell; columns `run_id`, `heat_id`, `entry`, `status`, `control`, `epochs` (planned).
    epochs
        Columns of the view `epochs`.
    baseline
        The entry that the others are compared with heat by heat; empty: with nobody.
    """
    counted = runs[runs["status"].isin(TRAINED) & ~runs["control"].astype(bool)]
    mine = epochs[epochs["run_id"].isin(counted["run_id"])]
    met = crossings(mine, target_accuracy)
    lasted = mine.groupby("run_id")[["epoch", "train_clock_s", "e2e_clock_s"]].max().astype(float)
    arrivals = counted.assign(at=met["e2e_clock_s"].reindex(counted["run_id"]).to_numpy())
    return [
        replace(_observed(str(entry), group, met, lasted), **_before(arrivals, str(entry), baseline))
        for entry, group in counted.groupby("entry", sort=True)
    ]


def _before(arrivals: pd.DataFrame, entry: str, baseline: str) -> dict[str, Any]:
    """Return how often an entry met the target before the baseline in the same heat."""
    if not baseline or entry == baseline:
        return {}
    ours, theirs = (arrivals[arrivals["entry"] == who].set_index("heat_id")["at"] for who in (entry, baseline))
    shared = ours.index.intersection(theirs.index)
    at = [[None if math.isnan(t) else float(t) for t in side[shared]] for side in (ours, theirs)]
    found = probability_first(*at)
    return {"first": found[0], "first_interval": found[1]} if found else {}


def _observed(entry: str, runs: pd.DataFrame, met: pd.DataFrame, lasted: pd.DataFrame) -> TimeToAccuracy:
    run_ids = list(runs["run_id"])
    reached = met.reindex(run_ids).dropna()
    # A run that diverged before its first evaluation lasted 0 epochs.
    unreached = lasted.reindex([run_id for run_id in run_ids if run_id not in met.index]).fillna(0.0)
    curves = {clock: kaplan_meier(reached[clock].to_numpy(), unreached[clock].to_numpy()) for clock in met.columns}
    intervals = {clock: curve.median_interval() if len(reached) else None for clock, curve in curves.items()}
    # Who diverged counts with the whole plan, as everywhere.
    never = np.full(len(run_ids) - len(reached), float(runs["epochs"].max()))
    return TimeToAccuracy(
        entry=entry,
        runs=len(run_ids),
        hits=len(reached),
        median_epochs=curves["epoch"].median(),
        median_train_s=curves["train_clock_s"].median(),
        median_e2e_s=curves["e2e_clock_s"].median(),
        fastest_epochs=_known(reached["epoch"].min()),
        slowest_epochs=_known(reached["epoch"].max()),
        hit_interval=share_interval(len(reached), len(run_ids)),
        epochs_interval=intervals["epoch"],
        train_interval=intervals["train_clock_s"],
        e2e_interval=intervals["e2e_clock_s"],
        mean_epochs=kaplan_meier(reached["epoch"].to_numpy(), never).restricted_mean(float(runs["epochs"].max())),
        s_per_epoch=_speed(lasted.reindex(run_ids)),
    )


def _speed(lasted: pd.DataFrame) -> Effect | None:
    """Return the mean log of training seconds per epoch over runs that trained at all."""
    trained = lasted[(lasted["epoch"] > 0) & (lasted["train_clock_s"] > 0)]
    return mean_effect(np.log((trained["train_clock_s"] / trained["epoch"]).to_numpy())) if len(trained) else None


def _known(value: float) -> float | None:
    return None if math.isnan(value) else float(value)
