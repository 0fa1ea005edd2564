"""What the repetitions of each entry used, laid above each other at their first training step (pure)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pandas as pd

from analysis.rendering import queries, tables
from analysis.rendering.render import Chart
from analysis.rendering.run_charts import aligned_rows
from analysis.results.cell_results import CellResults

MOST_BANDS = 60  # of phases in one row; beyond, training with its evaluations is one band
HEADROOM = 1.1


@dataclass(frozen=True, slots=True)
class Quantity:
    """What is averaged, and how people write it."""

    field: str
    deviation: str
    name: str
    words: Callable[[float], str]


QUANTITIES = (
    Quantity("cores", "cores_sd", "CPU cores busy", lambda cores: f"{cores:.2f} cores"),
    Quantity("memory_bytes", "memory_sd_bytes", "Memory", tables.memory),
)


def aligned_charts(mine: CellResults, name: str) -> list[Chart]:
    """Return a chart of each quantity; none where nothing was read often enough."""
    means = aligned_means(mine)
    if means.empty:
        return []
    bands = aligned_phases(mine)
    return [
        _chart(mine, means, bands, quantity, f"{name}-aligned-{quantity.name.split()[0]}") for quantity in QUANTITIES
    ]


def aligned_means(mine: CellResults) -> pd.DataFrame:
    """Return what `queries.aligned_means` gives, and the label of each entry."""
    read = mine.aligned.merge(_compared(mine), on="run_id")
    steps = read.dropna(subset=["since_training_s", "cores", "memory_bytes"])
    if steps.empty:
        return pd.DataFrame()
    runs = read.groupby("entry")["run_id"].nunique()
    groups = steps.groupby(["entry", "since_training_s"])
    means = groups.agg(
        runs=("run_id", "count"),
        cores=("cores", "mean"),
        cores_sd=("cores", "std"),
        memory_bytes=("memory_bytes", "mean"),
        memory_sd_bytes=("memory_bytes", "std"),
    ).reset_index()
    kept = means[2 * means["runs"] >= means["entry"].map(runs)]
    return kept.assign(label=kept["entry"].map(mine.labels)).reset_index(drop=True)


def aligned_phases(mine: CellResults) -> pd.DataFrame:
    """Return the median start and stop of each phase of each entry since its first training step."""
    phases = mine.phases.merge(_compared(mine), on="run_id")
    began_s = phases[phases["phase"] == "train"].groupby("run_id")["start_s"].min()
    start_s = phases["start_s"] - phases["run_id"].map(began_s)
    placed = phases.assign(start_s=start_s, stop_s=start_s + phases["duration_s"])
    medians = placed.groupby(["entry", "phase", "index"], as_index=False)[["start_s", "stop_s"]].median()
    many = medians.groupby("entry")["phase"].transform("size") > MOST_BANDS
    joined = medians[many & medians["phase"].isin(["train", "eval"])]
    whole = joined.groupby("entry", as_index=False).agg(start_s=("start_s", "min"), stop_s=("stop_s", "max"))
    found = pd.concat([medians.drop(joined.index), whole.assign(phase="train", index=0)])
    return found.assign(label=found["entry"].map(mine.labels)).dropna(subset=["start_s", "stop_s"])


def _compared(mine: CellResults) -> pd.DataFrame:
    """Return the runs that are averaged: completed, undisturbed, without the control's."""
    return mine.completed.loc[~mine.completed["contaminated"].eq(True), ["run_id", "entry"]]


def _chart(mine: CellResults, means: pd.DataFrame, bands: pd.DataFrame, quantity: Quantity, name: str) -> Chart:
    field, words = quantity.field, quantity.words
    entries = [label for entry in mine.entries if (label := mine.label(entry)) in set(means["label"])]
    top = float((means[field] + means[quantity.deviation].fillna(0.0)).max()) * HEADROOM or 1.0
    spec = aligned_rows(
        means.assign(words=means[field].map(words)),
        bands[bands["label"].isin(entries)],
        entries,
        field=field,
        deviation=quantity.deviation,
        top=top,
    )
    training = means[means["since_training_s"] >= 0].groupby("label")[field].mean()
    told = [f"{label}: {words(training[label])}." for label in entries if label in training]
    alt = f"{quantity.name} since the first training step. On average from then on: " + " ".join(told)
    runs = int(means["runs"].max())
    band = "in a band of one standard deviation over the runs" if runs > 1 else "of one run, so there is no band"
    caption = (
        f"{quantity.name} over the phases, each run laid at its first training step: the mean of up to "
        f"{tables.count(runs, 'run')} per entry, {band}. Each row is full at {words(top)}."
    )
    return Chart(
        name=name, spec=spec | {"description": alt}, alt=alt, caption=caption, query=queries.aligned_means(mine.cell)
    )
