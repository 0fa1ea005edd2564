"""Findings, cells and durations in words (pure).

A finding says what took how much longer than what, how sure that is, and the verdict.

The base of each percentage is named, and both directions are right: 34 % longer one way is 25 % less the other.
Absolute values stand beside every ratio.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from analysis.findings.comparison import Verdict
from analysis.findings.finding import Cell, Finding, entry_name
from analysis.findings.rows import exact_rows
from analysis.frames.columns import is_absent
from analysis.rendering import tables
from analysis.rendering.tables import NOTHING
from analysis.statistics.paired import percent_difference

DIVISIONS = {
    "closed": "closed: given weights and order",
    "open": "open: own loader and order",
    "published": "as published",
}
TIMES_FROM = 3.0  # "200 % longer" is read as "twice as long" by half of its readers: from here on say "3 times"


def sentence(finding: Finding) -> str:
    """Return the whole finding as one sentence."""
    if not finding.clock:
        return _observation(finding)
    candidate, baseline = _names(finding)
    if finding.verdict is Verdict.NOT_RANKED or finding.ratio is None:
        return f"{candidate} is not ranked on the {finding.clock} clock: {finding.reason}."
    took = difference(finding.ratio, baseline, _width(finding))
    return f"{candidate} took {took} {_work(finding)} ({_evidence(finding)}): {_conclusion(finding)}."


def told_rows(findings: Sequence[Finding]) -> tuple[list[str], list[tuple[Any, ...]]]:
    """Return every field of every finding, and the finding as a sentence, for programs."""
    columns, values = exact_rows(findings)
    return [*columns, "sentence"], [(*row, sentence(finding)) for row, finding in zip(values, findings, strict=True)]


def difference(ratio: float, baseline: str, width_ratio: float | None = None) -> str:
    """Return how much longer or less than `baseline` a ratio is, with as many digits as its interval supports.

    >>> difference(1.342, "b", 0.06), difference(1 / 1.342, "b", 0.06), difference(12.3, "b")
    ('34 % longer than b', '25 % less than b', '12.3 times as long as b')
    """
    if ratio >= TIMES_FROM:
        return f"{_times(ratio)} times as long as {baseline}"
    return f"{_percent(ratio, _decimals(ratio, width_ratio))} than {baseline}"


def interval(low: float, high: float, ratio: float) -> str:
    """Return the interval in the same words as its ratio.

    >>> interval(1.31, 1.37, 1.34), interval(0.98, 1.04, 1.01), interval(11.5, 13.0, 12.3)
    ('31 % to 37 % longer', '2.0 % less to 4.0 % longer', '11.5 to 13.0 times')
    """
    if ratio >= TIMES_FROM:
        return f"{_times(low)} to {_times(high)} times"
    decimals = _decimals(ratio, high - low)
    first, last = _percent(low, decimals), _percent(high, decimals)
    if first.split()[-1] == last.split()[-1]:
        nearer, further = sorted((low, high), key=lambda end: abs(end - 1))
        return f"{_percent(nearer, decimals).rsplit(' ', 1)[0]} to {_percent(further, decimals)}"
    return f"{first} to {last}"


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
    words = difference(finding.ratio, "", width).strip()
    return words.removesuffix("than").removesuffix("as").strip().replace(" times as long", " × as long")


def interval_words(finding: Finding) -> str:
    """Return the 95 % interval; a dash below six heats."""
    if finding.ratio is None or finding.ratio_low is None or finding.ratio_high is None:
        return NOTHING
    return interval(finding.ratio_low, finding.ratio_high, finding.ratio)


def seconds(value: float | None) -> str:
    """Return seconds to three digits, without an exponent; a dash where there is none.

    >>> seconds(0.01234), seconds(3.0), seconds(12345.6), seconds(None)
    ('0.0123 s', '3.00 s', '12,346 s', '–')
    """
    if value is None or is_absent(value):
        return NOTHING
    if value >= 100:
        return f"{value:,.0f} s"
    return f"{value:#.3g} s" if value >= 1e-4 else f"{value:.3g} s"


def _times(ratio: float) -> str:
    """Return a ratio to three digits."""
    return f"{ratio:,.{2 if ratio < 10 else 1 if ratio < 100 else 0}f}"


def _percent(ratio: float, decimals: int) -> str:
    percent = percent_difference(ratio)
    return f"{abs(percent):.{decimals}f} % {'less' if percent < 0 else 'longer'}"


def _decimals(ratio: float, width_ratio: float | None) -> int:
    """Return the decimals of a percentage: fewer for wide intervals and large differences."""
    if width_ratio is not None and width_ratio < 0.005:
        return 2
    return 0 if abs(ratio - 1) >= 0.1 and (width_ratio is None or width_ratio >= 0.02) else 1


def _width(finding: Finding) -> float | None:
    if finding.ratio_low is None or finding.ratio_high is None:
        return None
    return finding.ratio_high - finding.ratio_low


def _work(finding: Finding) -> str:
    return f"{'per run' if finding.epochs_to_target is None else 'to the target accuracy'} on the {finding.clock} clock"


def _evidence(finding: Finding) -> str:
    """Return the absolute values, the interval and the number of heats."""
    sure = f"{finding.heats} heat{'s' if finding.heats != 1 else ''}"
    if finding.ratio is not None and finding.ratio_low is not None and finding.ratio_high is not None:
        sure = f"95 % interval {interval(finding.ratio_low, finding.ratio_high, finding.ratio)}, {sure}"
    if finding.candidate_value is None or finding.baseline_value is None:
        return sure
    return f"{seconds(finding.candidate_value)} against {seconds(finding.baseline_value)}; {sure}"


def _observation(finding: Finding) -> str:
    """Return what was seen of another metric than the clocks."""
    if finding.verdict is Verdict.NOT_RANKED:
        return f"{finding.reason}."
    values = [value_words(value, finding.unit) for value in (finding.candidate_value, finding.baseline_value)]
    pair = f"{values[0]} of {finding.candidate} against {values[1]} of {finding.baseline}"
    return f"{finding.metric}: {pair}: {finding.reason}."


def _names(finding: Finding) -> tuple[str, str]:
    return (
        entry_name(finding.candidate, is_headline=finding.candidate_headline),
        entry_name(finding.baseline, is_headline=finding.baseline_headline),
    )


def _conclusion(finding: Finding) -> str:
    if finding.verdict is Verdict.DEAD_HEAT:
        return f"{finding.verdict} within {100 * finding.margin_ratio:g} %"
    return f"{finding.verdict}, {finding.reason}" if finding.reason else str(finding.verdict)
