"""What belongs to one cell, picked from all results (pure)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from analysis.findings.comparison import Verdict
from analysis.findings.finding import COMPARED_TRACKS, Cell, Finding, entry_name
from analysis.frames.columns import Parts
from analysis.results.results import Results
from analysis.statistics.variance import pauses_s
from store.snapshot import Snapshot

MOST_POINTS = 4000  # of thin lines in one chart: about 300 kB
CLOCK_NAMES = {"train": "train clock", "e2e": "e2e clock"}
CELL_FIELDS = [field.name for field in fields(Cell)]
MODES = ("train", "steps", "infer")
NUMBERS = (
    "train_s_per_epoch",
    "examples_per_s",
    "limit_ratio",
    "data_wait_s",
    "published_window_s",
    "is_steady",
    "steady_after_s",
    "steady_step_s",
    "infer_latency_p50_s",
    "infer_latency_p95_s",
    "infer_examples_per_s",
    "final_test_accuracy",
)


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
    aligned: pd.DataFrame  # CPU and memory of each run on its grid
    numbers: pd.DataFrame  # of each run, indexed by its id: a column per name in NUMBERS
    findings: Sequence[Finding]
    elsewhere: Snapshot | None = None  # what it comes from, where it was not measured by the owner of the store

    @cached_property
    def completed(self) -> pd.DataFrame:
        """The completed runs, without the control's."""
        return self.runs[(self.runs["status"] == "completed") & ~self.runs["control"].astype(bool)]

    @cached_property
    def measured(self) -> pd.DataFrame:
        """The completed runs with their numbers."""
        return self.completed.join(self.numbers, on="run_id")

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
    """Return every cell that was tried, in the order in which they were run: the newest campaign's first.

    Campaigns that were measured elsewhere stand after all of the store's own.
    """
    tried = results.runs[results.runs["heat_id"] != ""].sort_values(["started_at", "run_id"])
    started = tried.groupby("campaign_id")["started_at"].max()
    groups = {_cell(key): rows for key, rows in tried.groupby(CELL_FIELDS, sort=False, dropna=False)}
    numbers = {run_id: number for number, rows in enumerate(groups.values()) for run_id in rows["run_id"]}
    elsewhere = results.elsewhere()
    parts = _Parts.of(results, numbers)
    absent = {_cell(key): rows for key, rows in results.measured.unavailable.groupby(CELL_FIELDS, sort=False)}
    findings: dict[Cell, list[Finding]] = {}
    for finding in results.findings:
        findings.setdefault(finding.cell, []).append(finding)
    found = [
        CellResults(
            cell=cell,
            baseline=str(attempts["baseline"].iloc[-1]),
            attempts=attempts,
            runs=parts.runs.of(number),
            unavailable=absent.get(cell, results.measured.unavailable.iloc[:0]),
            epochs=parts.epochs.of(number),
            phases=parts.phases.of(number),
            aligned=parts.aligned.of(number),
            numbers=parts.numbers.of(number).set_index("run_id"),
            findings=findings.get(cell, []),
            elsewhere=elsewhere.get(cell.campaign_id),
        )
        for number, (cell, attempts) in enumerate(groups.items())
    ]
    return sorted(found, key=lambda mine: (mine.elsewhere is None, started[mine.cell.campaign_id]), reverse=True)


def compared(cells: Sequence[CellResults]) -> list[CellResults]:
    """Return the cells in which entries are compared: all but the recipes of studies."""
    return [mine for mine in cells if mine.cell.track in COMPARED_TRACKS]


def headline_cell(cells: Sequence[CellResults]) -> CellResults | None:
    """Return the cell that the front page is about: of the newest campaign, trained to a target, with the most heats.

    Given weights and order come before the loaders' own. Nothing about its result enters the choice.
    """
    may = compared(cells)
    newest = [mine for mine in may if mine.cell.campaign_id == may[0].cell.campaign_id]
    return max(
        newest, key=lambda mine: (mine.cell.track == "closed", mine.cell.mode == "train", mine.heats), default=None
    )


def page_order(cells: Sequence[CellResults]) -> list[CellResults]:
    """Return the cells of a workload in the order of its page: given weights and order first, inference last."""

    def place(mine: CellResults) -> tuple[bool, int, int]:
        cell = mine.cell
        return cell.mode == "infer", COMPARED_TRACKS.index(cell.track), MODES.index(cell.mode)

    return sorted(cells, key=place)


def placed(cells: Sequence[CellResults]) -> list[tuple[CellResults, str]]:
    """Return the cells of one workload in the order of its page, each with its anchor there."""
    return [
        (mine, "inference" if mine.cell.mode == "infer" else f"cell-{number}")
        for number, mine in enumerate(page_order(cells), start=1)
    ]


def verdict_counts(mine: CellResults) -> str:
    """Return how many verdicts of each kind a cell has on both clocks."""
    verdicts = [finding.verdict for finding in mine.findings]
    return ", ".join(f"{verdicts.count(v)} {v}" for v in Verdict if v in verdicts) or "nothing to compare"


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


@dataclass(frozen=True, slots=True)
class _Parts:
    """The frames of all results, split by cell."""

    runs: Parts
    epochs: Parts
    phases: Parts
    aligned: Parts
    numbers: Parts

    @classmethod
    def of(cls, results: Results, numbers: Mapping[str, int]) -> _Parts:
        named = results.measurements[results.measurements["metric"].isin(NUMBERS)]
        wide = named.pivot(index="run_id", columns="metric", values="value").reindex(columns=list(NUMBERS))
        measured = results.measured
        pauses = pauses_s(results.runs).reindex(measured.runs["run_id"]).to_numpy()
        runs = measured.runs.assign(pause_s=pauses)
        frames = (runs, measured.epochs, results.phases, results.aligned, wide.reset_index())
        return cls(*(Parts(frame, numbers) for frame in frames))


def _cell(key: Any) -> Cell:  # noqa: ANN401 - a tuple of whatever types the columns have
    values = [value.item() if isinstance(value, np.generic) else value for value in key]
    return Cell(**dict(zip(CELL_FIELDS, values, strict=True)))
