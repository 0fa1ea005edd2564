"""A cell, a duration, a difference in a few words (pure); `analysis.rendering.wording` has the whole sentences."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from analysis.findings.finding import Cell, Finding
from analysis.rendering import tables, wording
from analysis.rendering.tables import NOTHING, is_absent

DIVISIONS = {
    "closed": "closed: given weights and order",
    "open": "open: own loader and order",
    "published": "as published",
}


def cell_title(cell: Cell) -> str:
    """Return what a cell is, for people, with the workload's name."""
    return f"{cell.workload}: {cell_words(cell)}"


def cell_words(cell: Cell, without: str = "") -> str:
    """Return the work and axes of a cell, one of them left out.

    What nearly all have in common (cpu, fp32, resident data) goes unsaid:
    "3 epochs, batch 512, bf16, 2 threads, stream loader with 4 workers, adam 0.001".
    """
    work = {"steps": tables.count(cell.steps, "step"), "infer": tables.count(cell.steps, "forward pass", "es")}
    workers = "" if without == "loader_workers" else f" with {tables.count(cell.loader_workers, 'worker')}"
    parts = {
        "work": work.get(cell.mode) or tables.count(cell.epochs, "epoch"),
        "batch_size": f"batch {cell.batch_size}",
        "device": cell.device if cell.device != "cpu" else "",
        "dtype": cell.dtype if cell.dtype != "fp32" else "",
        "threads": tables.count(cell.threads, "thread"),
        "loader": f"{cell.loader} loader{workers}" if cell.loader != "resident" else "",
        "optimizer": optimizer_words(cell) if cell.optimizer and cell.mode != "infer" else "",
    }
    return ", ".join(words for key, words in parts.items() if words and key != without)


def optimizer_words(cell: Cell) -> str:
    """Return the optimizer with its rates, as a title has it: "momentum 0.01 decay 0.0005"."""
    decay = f" decay {cell.weight_decay:g}" if cell.weight_decay else ""
    return f"{cell.optimizer} {cell.learning_rate:g}{decay}"


def seconds(value: float | None) -> str:
    """Return seconds to three digits; a dash where there is none."""
    return NOTHING if value is None or is_absent(value) else wording.seconds(value)


def value_words(value: float | None, unit: str) -> str:
    """Return a value of a metric with its unit; a dash where there is none.

    >>> value_words(3.0, "s"), value_words(3 * 2**30, "B"), value_words(1234.5, "1/s"), value_words(None, "s")
    ('3.00 s', '3.00 GiB', '1,234/s', '–')
    """
    if unit == "s":
        return seconds(value)
    if unit == "B":
        return tables.memory(value)
    return tables.number(value) + ("" if unit == "1" or value is None else unit.removeprefix("1"))


def difference_words(finding: Finding) -> str:
    """Return a difference without the name of the baseline; a dash where there is none.

    "34 % longer", "25 % less", "12.3 × as long".
    """
    if finding.ratio is None:
        return NOTHING
    width = None
    if finding.ratio_low is not None and finding.ratio_high is not None:
        width = finding.ratio_high - finding.ratio_low
    words = wording.difference(finding.ratio, "", width).strip()
    return words.removesuffix("than").removesuffix("as").strip().replace(" times as long", " × as long")


def interval_words(finding: Finding) -> str:
    """Return the 95 % interval; a dash below six heats."""
    if finding.ratio is None or finding.ratio_low is None or finding.ratio_high is None:
        return NOTHING
    return wording.interval(finding.ratio_low, finding.ratio_high, finding.ratio)


def near(name: str, known: Iterable[str]) -> str:
    """Return what to do about a name that nobody knows.

    >>> near("mnist_mpl", ["mnist_mlp", "mnist_lenet"])
    "Did you mean 'mnist_mlp'?"
    """
    names = sorted(set(known))
    found = difflib.get_close_matches(name, names, n=1) or [other for other in names if name and name in other]
    return f"Did you mean {found[0]!r}?" if found else "Name one of these."
