"""Heats that were run again, and why (pure)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from analysis.findings.finding import entry_name
from analysis.frames.columns import is_absent

HEAT = ["campaign_id", "heat_id"]
Attempt = tuple[str, str, int]  # campaign, heat, number


@dataclass(frozen=True, slots=True)
class Repeat:
    """Why an attempt of a heat was followed by another one."""

    is_disturbed: bool  # whether something else was at work during one of its runs
    reasons: Mapping[str, str]  # by the run that spoiled it; none: it was interrupted

    def words(self, besides: str = "") -> str:
        """Return the reasons but that of one run."""
        told = "; ".join(reason for run_id, reason in self.reasons.items() if run_id != besides)
        return told or ("" if self.reasons else "it was interrupted")


def repeats(runs: pd.DataFrame) -> dict[Attempt, Repeat]:
    """Return every attempt that was followed by another one, of all runs (`read_runs`)."""
    last = runs.groupby(HEAT)["heat_attempt"].transform("max")
    spoiled = runs[(runs["heat_id"] != "") & (runs["heat_attempt"] < last)]
    attempts = [mine for _, mine in spoiled.groupby([*HEAT, "heat_attempt"])]
    return {attempt_of(mine.iloc[0].to_dict()): _repeat(mine) for mine in attempts}


def attempt_of(run: Mapping[Any, Any]) -> Attempt:
    """Return the attempt that a run belongs to."""
    return run["campaign_id"], run["heat_id"], int(run["heat_attempt"])


def disturbance(run: Mapping[Any, Any]) -> str:
    """Return what disturbed a run; empty: nothing, or nobody could tell."""
    return "" if is_absent(run["contaminated"]) or not run["contaminated"] else str(run["contamination"])


def repeat_words(run: Mapping[Any, Any], known: Mapping[Attempt, Repeat]) -> str:
    """Return what became of a run's heat, where it had several attempts; else an empty string."""
    campaign, heat, number = attempt_of(run)
    if again := known.get((campaign, heat, number)):
        others = again.words(besides=run["run_id"])
        return "This heat was run again, and this attempt is not compared" + (f": {others}." if others else ".")
    before = known.get((campaign, heat, number - 1))
    return f"Attempt {number} of this heat, because in attempt {number - 1} {before.words()}." if before else ""


def repeated_words(runs: pd.DataFrame) -> str:
    """Return how many heats of a cell were run again because of a disturbance; empty where none was disturbed."""
    disturbed = {heat for (_, heat, _), again in repeats(runs).items() if again.is_disturbed}
    last = runs[runs["heat_attempt"] == runs.groupby(HEAT)["heat_attempt"].transform("max")]
    still = set(last.loc[last["contaminated"].eq(True), "heat_id"])
    if not disturbed | still:
        return ""
    total = runs["heat_id"].nunique()
    kept = f"; {len(still)} had a disturbed run in the last attempt too, which is shown and not compared"
    return (
        f"{len(disturbed)} of {total} heats {'was' if len(disturbed) == 1 else 'were'} run again because something "
        f"else was at work during one of their runs{kept if still else ''}."
    )


def _repeat(runs: pd.DataFrame) -> Repeat:
    found = [(row, disturbance(row)) for row in runs.sort_values("position").to_dict("records")]
    reasons = {row["run_id"]: f"{_label(row)} was disturbed ({text})" for row, text in found if text}
    ended = [row for row, text in found if not text and row["status"] not in ("completed", "interrupted")]
    return Repeat(bool(reasons), reasons | {row["run_id"]: f"{_label(row)} {_ending(row)}" for row in ended})


def _label(row: Mapping[Any, Any]) -> str:
    control = " (A/A control)" if row["control"] else ""
    return entry_name(row["entry"], is_headline=bool(row["headline"])) + control


def _ending(row: Mapping[Any, Any]) -> str:
    status = str(row["status"]).replace("_", " ")
    return status if status in ("crashed", "diverged", "timed out") else f"ended: {status}"
