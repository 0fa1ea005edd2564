"""The page of one run: what it did second by second, whatever became of it (pure)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from markupsafe import Markup

from analysis import queries, tables
from analysis.addresses import file_name, source
from analysis.render import Page, page
from analysis.sentences import entry_name
from analysis.tables import Table
from analysis.words import seconds

FACTS = (
    ("seed", "seed"),
    ("batch_size", "batch size"),
    ("optimizer", "optimizer"),
    ("learning_rate", "learning rate"),
    ("weight_decay", "weight decay"),
    ("loader", "loader"),
    ("loader_workers", "loader's workers"),
    ("threads", "threads"),
    ("device", "device"),
    ("dtype", "precision"),
    ("family", "family"),
    ("framework_version", "framework's version"),
    ("language_version", "language's version"),
    ("parameters", "trainable parameters"),
    ("flushes_subnormals", "flushes subnormals"),
    ("contaminated", "disturbed while it ran"),
    ("exit_code", "exit code"),
)
DURATIONS = (
    ("train_clock_s", "train clock"),
    ("e2e_clock_s", "e2e clock"),
    ("time_to_first_step_s", "until the first step was done"),
    ("cpu_s", "CPU seconds of all its processes"),
    ("gc_s", "garbage collection, as the runtime says"),
    ("compile_s", "compilation, as the runtime says"),
)
SIZES = (
    ("memory_peak_bytes", "peak resident memory"),
    ("device_bytes_used", "peak device memory in use"),
    ("device_bytes_reserved", "peak device memory reserved"),
)
CURVE_POINTS = 300


@dataclass(frozen=True, slots=True)
class RawFile:
    """A file that the run left behind; `address` is empty where it is too large to be on the site."""

    name: str
    size_bytes: int
    address: str


def run_page(
    address: str,
    run: Mapping[str, Any],
    phases: pd.DataFrame,
    epochs: pd.DataFrame,
    curve: Mapping[str, Any],
    raw_files: Sequence[RawFile],
    workload: str,
) -> Page:
    """Return the page of one run.

    Parameters
    ----------
    address
        Of the page, from the root of the site.
    run
        Its row of `runs`, with `entry`.
    phases, epochs
        Its rows of these tables.
    curve
        What `curve_data` returned.
    raw_files
        What it left behind.
    workload
        The address of the page that its cell stands on, from the root of the site.
    """
    context = {
        "run": run,
        "title": run_title(run),
        "when": tables.moment(run["started_at"]),
        "facts": facts_table(run),
        "phases": phases_table(phases),
        "epochs": epochs_table(epochs),
        "name": file_name(run["run_id"]),
        "workload_address": workload,
        "has_readings": bool(curve["readings"]),
        "sketches": sketches(curve["readings"]),
        "raw_files": [(raw.name, tables.memory(raw.size_bytes), raw.address) for raw in raw_files],
        "queries": queries.run_parts(run["run_id"]),
    }
    return page(source(address), "run.md.jinja", context)


def curve_data(phases: pd.DataFrame, readings: pd.DataFrame) -> dict[str, list[dict[str, Any]]]:
    """Return what the curves of a run are drawn from: at most some hundred readings, and the phases.

    CPU cores busy are CPU seconds per second between two readings. Of readings that are left out, the largest
    memory remains, and the running total of CPU seconds loses nothing.
    """
    return {"readings": _thinned(readings), "phases": _bands(phases)}


def facts_table(run: Mapping[str, Any]) -> Table:
    """Return the run's columns that people ask for; those without a value are left out."""
    rows: list[tuple[object, ...]] = [(words, seconds(run[name])) for name, words in DURATIONS if _has(run, name)]
    rows += [(words, tables.memory(run[name])) for name, words in SIZES if _has(run, name)]
    rows += [(words, _plain(name, run[name])) for name, words in FACTS if _has(run, name)]
    return Table(caption="The run in numbers", columns=("what", "value"), rows=rows, numeric=("value",))


def phases_table(phases: pd.DataFrame) -> Table:
    """Return the phases, those that occur several times in one row."""
    found: dict[str, list[float]] = {}  # times, first start, seconds in all
    for row in phases.to_dict("records"):
        of_phase = found.setdefault(row["phase"], [0, row["start_s"], 0.0])
        of_phase[0] += 1
        of_phase[1] = min(of_phase[1], row["start_s"])
        of_phase[2] += row["duration_s"]
    rows = [(phase, int(times), seconds(first_s), seconds(all_s)) for phase, (times, first_s, all_s) in found.items()]
    columns = ("phase", "times", "first began after", "duration in all")
    return Table(caption="Phases", columns=columns, rows=rows, numeric=columns[1:])


def epochs_table(epochs: pd.DataFrame) -> Table:
    """Return the evaluation intervals."""
    rows = [
        (
            f"{row['epoch']:g}",
            seconds(row["train_s"]),
            seconds(row["eval_s"]),
            tables.number(row["train_loss"], 4),
            tables.number(row["test_loss"], 4),
            tables.percent(row["test_accuracy"], 2),
            seconds(row["train_clock_s"]),
            seconds(row["e2e_clock_s"]),
        )
        for row in epochs.to_dict("records")
    ]
    columns = (
        "epoch",
        "training",
        "evaluation",
        "training loss",
        "test loss",
        "test accuracy",
        "train clock",
        "e2e clock",
    )
    return Table(caption="Evaluation intervals", columns=columns, rows=rows, numeric=columns)


def run_title(run: Mapping[str, Any]) -> str:
    """Return what a run is, for people."""
    label = entry_name(run["entry"], is_headline=run["headline"])
    return f"{label}, {run['workload']}, heat {run['repetition']}" + (", A/A control" if run["control"] else "")


def sketches(readings: Sequence[Mapping[str, Any]]) -> list[tuple[str, Markup]]:
    """Return the curves of a run as small pictures under their names."""
    at_s = [row["at_s"] for row in readings]
    named = (("CPU cores busy", "cores"), ("Resident memory", "memory_bytes"))
    return [(name, sketch(at_s, [row[key] for row in readings])) for name, key in named]


def sketch(xs: Sequence[float], ys: Sequence[float]) -> Markup:
    """Return a curve as a small inline picture, for readers without JavaScript; empty below two points."""
    if len(xs) < 2 or max(ys) <= 0:
        return Markup("")
    span, top = xs[-1] - xs[0] or 1.0, max(ys)
    points = " ".join(f"{720 * (x - xs[0]) / span:.1f},{118 - 112 * y / top:.1f}" for x, y in zip(xs, ys, strict=True))
    return Markup(
        '<svg class="dh-sketch" viewBox="0 0 720 120" preserveAspectRatio="none" aria-hidden="true">'
        '<polyline points="{}"/></svg>'
    ).format(points)


def _thinned(readings: pd.DataFrame) -> list[dict[str, Any]]:
    known = readings.dropna(subset=["cpu_s", "memory_bytes"])
    at_s, cpu_s, memory = (known[name].to_numpy(dtype=float) for name in ("at_s", "cpu_s", "memory_bytes"))
    if len(at_s) < 2:
        return []
    starts = np.unique(np.arange(min(CURVE_POINTS, len(at_s))) * len(at_s) // min(CURVE_POINTS, len(at_s)))
    ends = np.append(starts[1:], len(at_s)) - 1
    elapsed_s = np.diff(at_s[ends])
    cores = np.clip(np.diff(cpu_s[ends]) / np.where(elapsed_s > 0, elapsed_s, np.inf), 0, None)
    peaks = np.maximum.reduceat(memory, starts)[1:]
    return [
        {"at_s": round(float(at), 4), "cores": round(float(busy), 4), "memory_bytes": int(peak)}
        for at, busy, peak in zip(at_s[ends][1:], cores, peaks, strict=True)
    ]


def _bands(phases: pd.DataFrame) -> list[dict[str, Any]]:
    return [
        {
            "phase": row["phase"],
            "start_s": round(row["start_s"], 4),
            "stop_s": round(row["start_s"] + row["duration_s"], 4),
        }
        for row in phases.to_dict("records")
    ]


def _has(run: Mapping[str, Any], name: str) -> bool:
    return not tables.is_absent(run[name]) and run[name] != ""


def _plain(name: str, value: object) -> object:
    if name in ("flushes_subnormals", "contaminated"):
        return "yes" if value else "no"
    if isinstance(value, (int, float)):
        return f"{int(value):,}" if name == "parameters" else f"{int(value)}"
    return value
