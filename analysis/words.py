"""A cell, a duration, a difference in a few words (pure); `analysis.sentences` has the whole sentences."""

from __future__ import annotations

from analysis import sentences
from analysis.finding import Cell, Finding
from analysis.tables import NOTHING, is_absent


def cell_title(cell: Cell) -> str:
    """Return what a cell is, for people."""
    threads = f"{cell.threads} thread{'s' if cell.threads != 1 else ''}"
    work = f"{cell.steps} steps" if cell.mode == "steps" else f"{cell.epochs} epoch{'s' if cell.epochs != 1 else ''}"
    return f"{cell.workload}: {work}, batch size {cell.batch_size}, {cell.device}, {threads}, {cell.dtype}"


def seconds(value: float | None) -> str:
    """Return seconds to three digits; a dash where there is none."""
    return NOTHING if value is None or is_absent(value) else sentences.seconds(value)


def difference_words(finding: Finding) -> str:
    """Return a difference without the name of the baseline; a dash where there is none.

    "34 % longer", "25 % less", "12.3 × as long".
    """
    if finding.ratio is None:
        return NOTHING
    width = None
    if finding.ratio_low is not None and finding.ratio_high is not None:
        width = finding.ratio_high - finding.ratio_low
    words = sentences.difference(finding.ratio, "", width).strip()
    return words.removesuffix("than").removesuffix("as").strip().replace(" times as long", " × as long")


def interval_words(finding: Finding) -> str:
    """Return the 95 % interval; a dash below six heats."""
    if finding.ratio is None or finding.ratio_low is None or finding.ratio_high is None:
        return NOTHING
    return sentences.interval(finding.ratio_low, finding.ratio_high, finding.ratio)
