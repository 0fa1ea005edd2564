"""The page of one run: what it did second by second, whatever became of it (pure)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from analysis.findings.finding import entry_name
from analysis.frames.columns import Record, is_absent
from analysis.pages.addresses import file_name, source
from analysis.pages.run.curves import CurveData, curves_of, sketch_of
from analysis.pages.run.sources import account_words, machine_table, source_words
from analysis.rendering import queries, tables
from analysis.rendering.render import Page, page
from analysis.rendering.repeated_heats import disturbance
from analysis.rendering.tables import Table
from analysis.rendering.wording import seconds

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
    ("memory_peak_bytes", "peak memory"),
    ("device_bytes_used", "peak device memory in use"),
    ("device_bytes_reserved", "peak device memory reserved"),
)
PHASE_COLUMNS = ("phase", "times", "first began after", "duration in all", "CPU seconds", "peak memory")
EPOCH_COLUMNS = (
    "epoch",
    "training",
    "evaluation",
    "training loss",
    "test loss",
    "test accuracy",
    "train clock",
    "e2e clock",
)
DISTURBED_BY = "disturbed by"
ENERGIES = (("device_energy_j", "energy of GPUs"), ("cpu_energy_j", "energy of CPUs"))


@dataclass(frozen=True, slots=True)
class RawFile:
    """A file that the run left behind; `address` is empty where it is too large to be on the site."""

    name: str
    size_bytes: int
    address: str


@dataclass(frozen=True, slots=True)
class RunReadings:
    """What was read while a run was under way."""

    curves: CurveData
    sources: Sequence[Record]  # its rows of `queries.sources_of`


def run_page(
    address: str,
    run: Mapping[str, Any],
    phases: Sequence[Record],
    epochs: Sequence[Record],
    readings: RunReadings,
    raw_files: Sequence[RawFile],
    workload: str,
    repeated: str = "",
    steady: str = "",
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
    readings
        What was read while it was under way.
    raw_files
        What it left behind.
    workload
        The address of the page that its cell stands on, from the root of the site.
    repeated
        What became of its heat, where that was run more than once.
    steady
        Whether it became steady, in words; empty for one that did not complete.
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
        "disturbance": disturbance(run),
        "repeated": repeated,
        "steady": steady,
        "curves": [(mine, sketch_of(mine, readings.curves)) for mine in curves_of(readings.curves)],
        "has_disturbed": any(row["disturbed"] for row in readings.curves["phases"]),
        "sources": source_words(readings.sources),
        "account": account_words(run, phases),
        "machine": machine_table(readings.sources),
        "raw_files": [(raw.name, tables.memory(raw.size_bytes), raw.address) for raw in raw_files],
        "queries": queries.run_parts(run["run_id"]),
    }
    return page(source(address), "run.md.jinja", context)


def facts_table(run: Mapping[str, Any]) -> Table:
    """Return the run's columns that people ask for; those without a value are left out."""
    rows: list[tuple[object, ...]] = [(words, seconds(run[name])) for name, words in DURATIONS if _has(run, name)]
    rows += [(words, tables.memory(run[name])) for name, words in SIZES if _has(run, name)]
    rows += [(words, _plain(name, run[name])) for name, words in FACTS if _has(run, name)]
    return Table(caption="The run in numbers", columns=("what", "value"), rows=rows, numeric=("value",))


def phases_table(phases: Sequence[Record]) -> Table:
    """Return the phases, those that occur several times in one row; energies where any phase has one."""
    found: dict[str, list[Record]] = {}
    for row in phases:
        found.setdefault(row["phase"], []).append(row)
    energies = [(name, words) for name, words in ENERGIES if any(row[name] is not None for row in phases)]
    rows = [
        (
            phase,
            len(mine),
            seconds(min(row["start_s"] for row in mine)),
            seconds(sum(row["duration_s"] for row in mine)),
            _sum_words(mine, "cpu_s", seconds),
            tables.memory(max((size for row in mine if (size := row["memory_peak_bytes"]) is not None), default=None)),
            *(_sum_words(mine, name, _joules) for name, _ in energies),
        )
        for phase, mine in found.items()
    ]
    columns = (*PHASE_COLUMNS, *(words for _, words in energies))
    return Table(caption="Phases", columns=columns, rows=rows, numeric=columns[1:])


def epochs_table(epochs: Sequence[Record]) -> Table:
    """Return the evaluation intervals."""
    rows: list[tuple[object, ...]] = [
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
        for row in epochs
    ]
    columns = EPOCH_COLUMNS
    told = [row["contamination"] for row in epochs]
    if not any(told):
        return Table(caption="Evaluation intervals", columns=columns, rows=rows, numeric=columns)
    rows = [(*row, text or tables.NOTHING) for row, text in zip(rows, told, strict=True)]
    return Table(
        caption="Evaluation intervals",
        columns=(*columns, DISTURBED_BY),
        rows=rows,
        numeric=columns,
        prose=(DISTURBED_BY,),
    )


def run_title(run: Mapping[str, Any]) -> str:
    """Return what a run is, for people."""
    label = entry_name(run["entry"], is_headline=run["headline"])
    return f"{label}, {run['workload']}, heat {run['repetition']}" + (", A/A control" if run["control"] else "")


def _sum_words(rows: Sequence[Record], name: str, words: Callable[[float], str]) -> str:
    """Return the sum of what is known, and of how many where some are not."""
    known = [row[name] for row in rows if row[name] is not None]
    if not known:
        return tables.NOTHING
    return words(sum(known)) + ("" if len(known) == len(rows) else f" ({len(known)} of {len(rows)})")


def _joules(value: float) -> str:
    return f"{value:,.0f} J" if value >= 100 else f"{value:.3g} J"


def _has(run: Mapping[str, Any], name: str) -> bool:
    return not is_absent(run[name]) and run[name] != ""


def _plain(name: str, value: object) -> object:
    if name in ("flushes_subnormals", "contaminated"):
        return "yes" if value else "no"
    if isinstance(value, (int, float)):
        return f"{int(value):,}" if name == "parameters" else f"{value:.10g}"
    return value
