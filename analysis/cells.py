"""What belongs to one cell, picked from all results (pure)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from analysis.comparison import Verdict
from analysis.finding import Cell, Finding
from analysis.results import Results
from analysis.sentences import entry_name

MOST_POINTS = 4000  # of thin lines in one chart: about 300 kB
CLOCK_NAMES = {"train": "train clock", "e2e": "e2e clock"}


@dataclass(frozen=True, kw_only=True)
class CellResults:
    """One cell: its runs, what they left behind, and what may be concluded."""

    cell: Cell
    baseline: str
    attempts: pd.DataFrame  # every run, repeated heats and failures too
    runs: pd.DataFrame  # of each heat's last complete attempt
    unavailable: pd.DataFrame
    epochs: pd.DataFrame
    phases: pd.DataFrame
    findings: Sequence[Finding]

    @cached_property
    def completed(self) -> pd.DataFrame:
        """The completed runs, without the control's."""
        return self.runs[(self.runs["status"] == "completed") & ~self.runs["control"].astype(bool)]

    @property
    def heats(self) -> int:
        """The most heats that any candidate shares with the baseline; without candidates, the baseline's runs."""
        return max((f.heats for f in self.findings), default=int((self.completed["entry"] == self.baseline).sum()))

    @cached_property
    def entries(self) -> list[str]:
        """Everyone in the cell: the baseline, then the others as in `on`."""
        known = {*self.attempts["entry"], *self.unavailable["entry"]}
        found = [self.baseline, *(f.candidate for f in self.on("train"))]
        return [*found, *sorted(known - set(found))]

    @cached_property
    def labels(self) -> dict[str, str]:
        """Every entry as people write it."""
        headline = {f.candidate: f.candidate_headline for f in self.findings}
        headline |= dict(zip(self.attempts["entry"], self.attempts["headline"], strict=True))
        return {entry: entry_name(entry, is_headline=bool(headline.get(entry, True))) for entry in self.entries}

    def label(self, entry: str) -> str:
        """Return an entry as people write it."""
        return self.labels[entry]

    def on(self, clock: str) -> list[Finding]:
        """Return the findings on one clock: frameworks first, then bare languages, each in the order of their names."""
        mine = [finding for finding in self.findings if finding.clock == clock]
        return sorted(
            mine, key=lambda f: (f.verdict is Verdict.NOT_RANKED, f.candidate_class != "framework", f.candidate)
        )


def cell_results(results: Results) -> list[CellResults]:
    """Return every cell that was tried, the newest campaign's first, else in the order in which they were run."""
    names = [field.name for field in fields(Cell)]
    tried = results.runs[(results.runs["heat_id"] != "") & (results.runs["track"] == "closed")]
    ordered = tried.sort_values(["started_at", "run_id"])
    started = ordered.groupby("campaign_id")["started_at"].max()
    found = [_of_cell(results, _cell(key), group) for key, group in ordered.groupby([*names], sort=False, dropna=False)]
    return sorted(found, key=lambda mine: started[mine.cell.campaign_id], reverse=True)


def headline_cell(cells: Sequence[CellResults]) -> CellResults | None:
    """Return the cell that the front page is about: of the newest campaign, trained to a target, with the most heats.

    Nothing about its result enters the choice.
    """
    newest = [mine for mine in cells if mine.cell.campaign_id == cells[0].cell.campaign_id]
    return max(newest, key=lambda mine: (mine.cell.mode == "train", mine.heats), default=None)


def median_curve(curves: pd.DataFrame) -> pd.DataFrame:
    """Return the medians over the runs of each entry, one row per evaluation.

    Parameters
    ----------
    curves
        Columns `label`, `epoch`, `clock_s`, `test_accuracy`.
    """
    medians: pd.DataFrame = curves.groupby(["label", "epoch"], as_index=False)[["clock_s", "test_accuracy"]].median()
    return medians


def phase_medians(mine: CellResults) -> pd.DataFrame:
    """Return the median seconds of each phase: columns `label`, `phase`, `duration_s`.

    Phases that occur several times in a run (train, eval) are added up per run first.
    """
    of_runs = mine.phases.merge(mine.completed[["run_id", "entry"]], on="run_id")
    per_run = of_runs.groupby(["entry", "run_id", "phase"], as_index=False)["duration_s"].sum()
    medians = per_run.groupby(["entry", "phase"], as_index=False)["duration_s"].median()
    labels = [mine.label(entry) for entry in medians["entry"]]
    return pd.DataFrame({"label": labels, "phase": medians["phase"], "duration_s": medians["duration_s"]})


def thinned(curves: pd.DataFrame) -> pd.DataFrame:
    """Return the curves of as many runs of each entry as a chart can carry: the first ones, the same number of each."""
    runs = curves.drop_duplicates("run")
    evaluations = curves.groupby("run").size().max() if len(curves) else 1
    each = max(1, MOST_POINTS // (int(evaluations) * max(1, runs["label"].nunique())))
    kept = runs.groupby("label").head(each)["run"]
    return curves[curves["run"].isin(kept)]


def accuracy_curves(mine: CellResults, clock: str) -> pd.DataFrame:
    """Return the evaluations on one clock: columns `run`, `label`, `epoch`, `clock_s`, `test_accuracy`."""
    trained = mine.runs[mine.runs["status"].isin(["completed", "diverged"]) & ~mine.runs["control"].astype(bool)]
    evaluated = mine.epochs[mine.epochs["test_accuracy"].notna()].merge(trained[["run_id", "entry"]], on="run_id")
    return pd.DataFrame(
        {
            "run": evaluated["run_id"],
            "label": evaluated["entry"].map(mine.labels),
            "epoch": evaluated["epoch"].astype(float),
            "clock_s": evaluated[f"{clock}_clock_s"].astype(float),
            "test_accuracy": evaluated["test_accuracy"].astype(float),
        }
    )


def select(frame: pd.DataFrame, cell: Cell) -> pd.DataFrame:
    """Return the rows of a frame of runs that belong to `cell`."""
    mask = np.ones(len(frame), dtype=bool)
    for field in fields(Cell):
        mask &= (frame[field.name] == getattr(cell, field.name)).to_numpy()
    return frame[mask]


def _of_cell(results: Results, cell: Cell, attempts: pd.DataFrame) -> CellResults:
    measured = results.measured
    return CellResults(
        cell=cell,
        baseline=str(attempts["baseline"].iloc[-1]),
        attempts=attempts,
        runs=select(measured.runs, cell),
        unavailable=select(measured.unavailable, cell),
        epochs=measured.epochs[measured.epochs["run_id"].isin(attempts["run_id"])],
        phases=results.phases[results.phases["run_id"].isin(attempts["run_id"])],
        findings=[finding for finding in results.findings if finding.cell == cell],
    )


def _cell(key: Any) -> Cell:  # noqa: ANN401 - a tuple of whatever types the columns have
    values = [value.item() if isinstance(value, np.generic) else value for value in key]
    return Cell(**dict(zip((field.name for field in fields(Cell)), values, strict=True)))
