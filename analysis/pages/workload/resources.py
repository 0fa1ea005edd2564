"""What runs used in each phase, and the best known time to a target (pure but for the file of records)."""

from __future__ import annotations

import functools
import tomllib
from pathlib import Path
from typing import Any

from analysis.rendering import tables
from analysis.rendering.tables import Table
from analysis.rendering.wording import seconds
from analysis.results.cell_results import CellResults
from analysis.statistics.resource_use import energy_to_target, phase_resources
from store.records import PHASES

RECORDS = Path(__file__).parent / "records.toml"


def resources_table(mine: CellResults) -> Table:
    """Return the medians over completed runs of what each entry used in each phase of which anything was read."""
    phases = mine.phases[mine.phases["run_id"].isin(mine.completed["run_id"])]
    used = phase_resources(phases, mine.aligned).merge(mine.completed[["run_id", "entry"]], on="run_id")
    columns = ["duration_s", "cores", "memory_peak_bytes", "memory_mean_bytes", "memory_gib_s", "energy_j"]
    medians = used.groupby(["entry", "phase"])[columns].median().dropna(subset=columns[1:], how="all").to_dict("index")
    rows = [
        _row(mine.label(entry), phase, medians[entry, phase])
        for entry in mine.entries
        for phase in PHASES
        if (entry, phase) in medians
    ]
    names = ("entry", "phase", "seconds", "cores kept busy", "peak memory", "mean memory", "GiB·s", "joules")
    caption = "What each phase used: medians over completed runs; joules of devices and CPU packages where they count"
    return Table(caption=caption, columns=names, rows=rows, numeric=names[2:])


def device_memory_table(mine: CellResults) -> Table:
    """Return the medians of the devices' memory in use and reserved, of entries whose runtime counts them."""
    marks = ["device_bytes_used", "device_bytes_reserved"]
    counted = mine.completed.dropna(subset=marks, how="all")
    typed = counted.assign(**{name: counted[name].astype(float) for name in marks})
    medians = typed.groupby("entry")[marks].median().to_dict("index")
    rows = [
        (mine.label(entry), *(tables.memory(medians[entry][name]) for name in marks))
        for entry in mine.entries
        if entry in medians
    ]
    columns = ("entry", "peak in use", "peak reserved")
    caption = (
        "Memory of the device: medians of the runtimes' own high-water marks; nobody else can have what is reserved"
    )
    return Table(caption=caption, columns=columns, rows=rows, numeric=columns[1:])


def energy_words(mine: CellResults, epochs_to_target: float | None) -> list[str]:
    """Return the joules to the target of each entry whose energy was read; nothing where none was."""
    if epochs_to_target is None:
        return []
    phases = mine.phases[mine.phases["run_id"].isin(mine.completed["run_id"])]
    joules = energy_to_target(phases, float(mine.cell.epochs), epochs_to_target).rename("joules")
    runs = mine.completed.join(joules, on="run_id").dropna(subset=["joules"])
    medians = runs.groupby("entry")["joules"].median()
    return [
        f"{mine.label(entry)} used {tables.number(float(medians[entry]))} J to the target (median)."
        for entry in mine.entries
        if entry in medians.index
    ]


def best_known(workload: str, target: float | None) -> str:
    """Return the fastest known training to at least that accuracy on the workload's data; empty where none is listed.

    >>> best_known("mnist_mlp", 0.98)
    ''
    """
    known = [r for r in _records() if workload.startswith(r["dataset"]) and target and r["accuracy"] >= target]
    if not known:
        return ""
    best = min(known, key=lambda record: float(record["seconds"]))
    return (
        f"The best known time to {tables.percent(best['accuracy'], 0)} on these data is {seconds(best['seconds'])} on "
        f"one {best['device']} ({best['who']}, {best['year']}), with another network and every trick: no entry "
        f"here could reach it. Source: {best['source']}"
    )


@functools.cache
def _records() -> list[dict[str, Any]]:
    return list(tomllib.loads(RECORDS.read_text(encoding="utf-8"))["record"])


def _row(label: str, phase: str, used: dict[Any, Any]) -> tuple[object, ...]:
    return (
        label,
        phase,
        seconds(used["duration_s"]),
        tables.number(used["cores"]),
        tables.memory(used["memory_peak_bytes"]),
        tables.memory(used["memory_mean_bytes"]),
        tables.number(used["memory_gib_s"]),
        tables.number(used["energy_j"]),
    )
