"""What reaching the target costs, in words: of one entry, of two, or why it is not known (pure)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import pandas as pd

from analysis.findings.find import epochs_to_target, gate_passed
from analysis.findings.finding import Cell, Finding
from analysis.frames.prices import PRICES, Price
from analysis.rendering import tables
from analysis.statistics.paired import Interval
from analysis.statistics.target_cost import TargetSeconds, target_seconds

TOO_LITTLE = 0.01  # of a currency: its smallest coin
MANY = 1000


def known_seconds(cell: Cell, runs: pd.DataFrame, epochs: pd.DataFrame) -> dict[str, TargetSeconds]:
    """Return the seconds to the target of each entry of a cell; of nobody where too few runs reached it."""
    if runs.empty:
        return {}
    gates = {str(entry): gate_passed(own) for entry, own in runs.groupby("entry")}
    pooled = epochs_to_target(cell, runs, epochs, gates)
    return target_seconds(runs, epochs, pooled) if pooled else {}


def cost_words(one: TargetSeconds, price: Price, times: int = 1) -> str:
    """Return the cost of one entry, that many times, with its interval in brackets."""
    cost, interval = one.at(price.per_hour, times)
    return f"{with_interval(tables.number(cost), interval, tables.number)} {price.currency}"


def times_told(known: Iterable[TargetSeconds], price: Price) -> int:
    """Return how many trainings to tell the cost of: a thousand where one costs less than a hundredth."""
    cheapest = min((one.at(price.per_hour)[0] for one in known), default=1.0)
    return 1 if cheapest >= TOO_LITTLE else MANY


def no_price(machine: str) -> str:
    """Return why there is no cost."""
    return (
        f"What reaching the target costs is not said: {PRICES} in the store's folder names no price per hour for "
        f"{machine}."
    )


def cost_note(finding: Finding, known: Mapping[str, TargetSeconds], price: Price) -> str:
    """Return what the target costs on both entries of a finding; empty where one of them never got there."""
    if finding.baseline not in known or finding.candidate not in known:
        return ""
    sides = [known[entry] for entry in (finding.baseline, finding.candidate)]
    times = times_told(sides, price)
    theirs, ours = (cost_words(one, price, times) for one in sides)
    what = "reaching the target" if times == 1 else f"reaching the target {times:,} times"
    return (
        f"at {price.words} {what} costs {theirs} on {finding.baseline} and {ours} on {finding.candidate} "
        "(95 % intervals in brackets)"
    )


def with_interval(value: str, interval: Interval | None, shown: Callable[[float], str]) -> str:
    """Return a value with its interval in brackets, where there is one.

    >>> with_interval("2", Interval(1.0, 3.0), str)
    '2 (1.0 to 3.0)'
    """
    return f"{value} ({shown(interval.low)} to {shown(interval.high)})" if interval else value
