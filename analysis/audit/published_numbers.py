"""Published numbers as the rules of the audit see them (pure)."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from functools import cached_property
from typing import Any

import pandas as pd

CLAIM = "claim"
ABOUT = ("axes", "header", "parts", "runs")  # conditions that say what a number is, not how it was measured
TIME_UNITS = ("s", "ms", "min", "h")


class Strength(StrEnum):
    """How sure a suspicion is."""

    IMPOSSIBLE = "cannot be"
    DOUBTFUL = "doubtful"


@dataclass(frozen=True, slots=True, kw_only=True)
class Suspicion:
    """What a rule found: about some numbers, or about the whole study."""

    rule: str
    strength: Strength
    study: str
    place: str
    text: str
    rows: tuple[int, ...] = ()  # of the frame of published numbers; empty: the whole study


@dataclass(frozen=True, kw_only=True)
class Number:
    """One published number."""

    index: int  # its row in the frame
    study: str
    place: str
    system: str
    workload: str
    metric: str
    value: float
    unit: str
    conditions: Mapping[str, Any]

    @cached_property
    def axes(self) -> tuple[str, ...]:
        """The conditions that tell the rows of its table apart."""
        return tuple(self.conditions.get("axes", ()))

    @cached_property
    def key(self) -> tuple[Any, ...]:
        """Its values on the axes."""
        return tuple(self.conditions.get(axis) for axis in self.axes)

    @cached_property
    def parts(self) -> tuple[str, ...]:
        """The metrics of the same row that it covers."""
        return tuple(self.conditions.get("parts", ()))

    @cached_property
    def setting(self) -> tuple[tuple[str, str], ...]:
        """Everything known of how it was measured."""
        return tuple(sorted((name, repr(value)) for name, value in self.conditions.items() if name not in ABOUT))

    @property
    def is_reading(self) -> bool:
        """Whether it is a point of a monitor's curve."""
        return "elapsed_s" in self.conditions

    @property
    def line(self) -> tuple[Any, ...]:
        """What the numbers of one row of a table have in common."""
        return (self.study, self.place, self.system, self.workload, self.key)

    @property
    def order(self) -> tuple[Any, ...]:
        """Its place among the others, however they were read: by table, row and column."""
        key = tuple((isinstance(value, str), value) for value in self.key)
        return (self.place, self.system, self.workload, self.axes, key, self.metric, self.value, self.unit)

    @property
    def column(self) -> tuple[str, str, str]:
        """What the numbers of one column of a table have in common."""
        return (self.study, self.place, self.metric)

    @property
    def is_time(self) -> bool:
        """Whether it is a duration."""
        return self.unit in TIME_UNITS and "time" in self.metric

    def where(self) -> str:
        """Return what of the row the table's place does not say: "Python, batch size 128"."""
        keys = (f"{words(axis)} {value}" for axis, value in zip(self.axes, self.key, strict=True))
        return ", ".join(filter(None, (self.system, self.workload, *keys)))


def numbers_of(published: pd.DataFrame) -> list[Number]:
    """Return the finite numbers of the table `published` (`PublishedRow`), without what studies derive from others."""
    rows = published.to_dict("records")
    made = [
        Number(index=index, conditions=conditions_of(row), **{name: row[name] for name in _COLUMNS})
        for index, row in enumerate(rows)
        if row["value"] is not None and math.isfinite(row["value"])
    ]
    return [number for number in made if "says" not in number.conditions]


_COLUMNS = ("study", "place", "system", "workload", "metric", "value", "unit")


def conditions_of(row: Mapping[Any, Any]) -> dict[str, Any]:
    """Return the conditions of a row; none where they are no JSON object."""
    try:
        found = json.loads(row["conditions"])
    except (TypeError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def decimals(value: float) -> int:
    """Return the digits after the point that a number needs.

    >>> decimals(34.21), decimals(25.0), decimals(1200.0), decimals(5e-05)
    (2, 0, 0, 5)
    """
    exponent = Decimal(repr(value)).normalize().as_tuple().exponent
    return max(0, -exponent) if isinstance(exponent, int) else 0


def significant_digits(value: float) -> int:
    """Return the digits of a number without leading and trailing zeros.

    >>> significant_digits(0.0329), significant_digits(20.0), significant_digits(16.939)
    (3, 1, 5)
    """
    return len(Decimal(repr(value)).normalize().as_tuple().digits) if value else 0


def half_units(numbers: Sequence[Number]) -> dict[tuple[str, str, str], float]:
    """Return how far a number may lie from what was measured, by column: half of the last digit that it shows."""
    most: dict[tuple[str, str, str], int] = {}
    for number in numbers:
        most[number.column] = max(most.get(number.column, 0), decimals(number.value))
    return {column: 0.5 * 10.0**-digits for column, digits in most.items()}


def lines_of(numbers: Iterable[Number]) -> dict[tuple[Any, ...], dict[str, Number]]:
    """Return the rows of tables: each metric's number by what the row is about."""
    found: dict[tuple[Any, ...], dict[str, Number]] = {}
    for number in numbers:
        found.setdefault(number.line, {})[number.metric] = number
    return found


def grouped(numbers: Iterable[Number], *names: str) -> dict[tuple[Any, ...], list[Number]]:
    """Return numbers by some of their attributes, in their order."""
    found: dict[tuple[Any, ...], list[Number]] = {}
    for number in numbers:
        found.setdefault(tuple(getattr(number, name) for name in names), []).append(number)
    return found


def listed(words: Sequence[str], most: int = 4) -> str:
    """Return a few words, and how many more there are.

    >>> listed(["a", "b", "c"], most=2)
    'a, b and 1 more'
    """
    rest = len(words) - most
    return ", ".join(words) if rest <= 0 else f"{', '.join(words[:most])} and {rest} more"


def shown(value: float) -> str:
    """Return a number as it was published.

    >>> shown(20.0), shown(0.0329), shown(70000.0)
    ('20', '0.0329', '70,000')
    """
    return f"{value:,.{decimals(value)}f}"


def words(metric: str) -> str:
    """Return the name of a metric for people.

    >>> words("epoch_training_time")
    'epoch training time'
    """
    return metric.replace("_", " ")
