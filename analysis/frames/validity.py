"""Completed runs whose seconds cannot be: they become failures that say so, before anything is computed (pure)."""

from __future__ import annotations

import numpy as np
import pandas as pd

STATUS = "bad_events"
SLACK_S = 1e-6  # of the edges of intervals, which were rounded one by one
CLOCKS = {"train_clock_s": "train clock", "e2e_clock_s": "e2e clock"}


def marked(runs: pd.DataFrame, epochs: pd.DataFrame) -> pd.DataFrame:
    """Return `runs`; those that completed with seconds that cannot be have the status `bad_events`, and say why.

    A clock that is not above 0, a negative or endless interval, an e2e clock that is shorter than the train clock and
    the evaluation within it. What is missing is not impossible.

    Parameters
    ----------
    runs
        `RunRow` columns.
    epochs
        Columns of the view `epochs`.
    """
    faults = _faults_of_epochs(epochs)
    completed = (runs["status"] == "completed").to_numpy(dtype=bool)
    clocks = {name: runs[name].to_numpy(dtype=float, na_value=np.nan) for name in CLOCKS}
    known = np.isfinite(clocks["train_clock_s"]) & np.isfinite(clocks["e2e_clock_s"])
    wrong = {name: completed & (np.isinf(values) | (values <= 0)) for name, values in clocks.items()}
    shorter = completed & known & (clocks["e2e_clock_s"] < clocks["train_clock_s"] - SLACK_S)
    in_epochs = completed & runs["run_id"].isin(faults.keys()).to_numpy()
    impossible = shorter | in_epochs | np.logical_or.reduce(list(wrong.values()))
    if not impossible.any():
        return runs
    status, message = runs["status"].astype(object).to_numpy().copy(), runs["message"].astype(object).to_numpy().copy()
    for at in np.flatnonzero(impossible):
        said = [f"its {words} is {clocks[name][at]:g} s" for name, words in CLOCKS.items() if wrong[name][at]]
        if shorter[at] and not said:
            said.append(f"its e2e clock, {clocks['e2e_clock_s'][at]:g} s, is shorter than its train clock")
        said = said or [faults[str(runs["run_id"].iloc[at])]]
        status[at], message[at] = STATUS, f"{' and '.join(said)}, which cannot be; 'deadheat check' lists what is wrong"
    return runs.assign(status=status, message=message)


def _faults_of_epochs(epochs: pd.DataFrame) -> dict[str, str]:
    """Return the runs with an evaluation interval that cannot be, each with its first fault."""
    train, evaluation = (epochs[name].to_numpy(dtype=float, na_value=np.nan) for name in ("train_s", "eval_s"))
    clock, e2e = (epochs[name].to_numpy(dtype=float, na_value=np.nan) for name in ("train_clock_s", "e2e_clock_s"))
    kinds = {
        "a training interval of": (train, np.isinf(train) | (train < 0)),
        "an evaluation of": (evaluation, np.isinf(evaluation) | (evaluation < 0)),
        "a train clock of": (clock, np.isinf(clock) | (clock <= 0)),
        "an e2e clock before its own training of": (
            e2e,
            np.isinf(e2e) | (e2e < clock + np.nan_to_num(evaluation) - SLACK_S),
        ),
    }
    found: dict[str, str] = {}
    for words, (values, is_wrong) in kinds.items():
        for at in np.flatnonzero(is_wrong):
            run_id, epoch = str(epochs["run_id"].iloc[at]), float(epochs["epoch"].iloc[at])
            found.setdefault(run_id, f"it has {words} {values[at]:g} s at epoch {epoch:g}")
    return found
