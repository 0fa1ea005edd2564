"""Answers on standard output: a table to look at, CSV or JSON to compute with."""

from __future__ import annotations

import csv
import io
import itertools
import json
import math
import sys
from collections.abc import Sequence
from datetime import date, datetime, time
from decimal import Decimal
from enum import StrEnum
from typing import Any, Literal

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from store.database import Rows

PIPE_WIDTH = 100_000  # wider than any table: without a terminal nothing is wrapped or cut
ESCAPE = {0x1B: "\N{SYMBOL FOR ESCAPE}"}


class Format(StrEnum):
    """How an answer is written."""

    TABLE = "table"
    CSV = "csv"
    JSON = "json"


def write_rows(rows: Rows, form: Format, title: str = "") -> None:
    """Write an answer; CSV and JSON hold the exact values, a table six digits."""
    if form is Format.TABLE:
        write_table(rows, title)
    else:
        sys.stdout.write(csv_text(rows) if form is Format.CSV else json_text(records(rows)))


def write_table(rows: Rows, title: str = "", *, break_words: bool = True) -> None:
    """Write an answer as a table as wide as it needs; on a terminal long cells are folded, within words or not."""
    console = Console() if sys.stdout.isatty() else Console(width=PIPE_WIDTH)
    table = Table(title=title or None, title_justify="left", header_style="bold", box=SIMPLE_HEAD)
    table.padding, table.pad_edge = (0, 2 if break_words else 1, 0, 0), False
    for index, name in enumerate(rows.columns):
        numeric = all(isinstance(row[index], (int, float, Decimal, type(None))) for row in rows.values)
        justify: Literal["right", "left"] = "right" if numeric and rows.values else "left"
        texts = [name, *(cell_text(row[index]) for row in rows.values)] if not break_words else []
        longest = max((len(word) for text in texts for word in text.split()), default=None)
        table.add_column(Text(name), justify=justify, overflow="fold", min_width=longest)
    for row in rows.values:
        table.add_row(*(Text(cell_text(value).translate(ESCAPE)) for value in row))
    console.print(table)


def cell_text(value: object) -> str:
    """Return a value as a person reads it."""
    if isinstance(value, datetime):
        return value.isoformat(sep=" ", timespec="seconds").replace("+00:00", "Z")
    if isinstance(value, float):
        return f"{value:.6g}"
    return plain_text(value)


def plain_text(value: object) -> str:
    """Return a value as text that loses nothing; a None is empty."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (list, dict)):
        return json.dumps(_plain(value), ensure_ascii=False)
    return value.isoformat() if isinstance(value, (datetime, date, time)) else str(value)


def csv_text(rows: Rows) -> str:
    """Return an answer as CSV with a header."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(rows.columns)
    writer.writerows([plain_text(value) for value in row] for row in rows.values)
    return buffer.getvalue()


def records(rows: Rows) -> list[dict[str, Any]]:
    """Return an answer as one mapping per row; of columns with one name the later ones are numbered."""
    names = _distinct(rows.columns)
    return [dict(zip(names, row, strict=True)) for row in rows.values]


def _distinct(names: Sequence[str]) -> list[str]:
    """Return names of which no two are equal.

    >>> _distinct(["x", "x", "x_1", "x"])
    ['x', 'x_2', 'x_1', 'x_3']
    """
    found: list[str] = []
    for name in names:
        free = (f"{name}_{number}" for number in itertools.count(1))
        found.append(name if name not in found else next(other for other in free if other not in {*found, *names}))
    return found


def json_text(content: object) -> str:
    """Return JSON; numbers that JSON lacks are texts ('NaN', 'Infinity')."""
    return json.dumps(_plain(content), ensure_ascii=False, indent=2, allow_nan=False) + "\n"


def _plain(value: Any) -> Any:  # noqa: ANN401 - whatever a query returns
    if isinstance(value, dict):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(inner) for inner in value]
    if isinstance(value, Decimal):
        return _number(value)
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else ("Infinity" if value > 0 else "-Infinity")
    return value if isinstance(value, (int, float, str, type(None))) else plain_text(value)


def _number(value: Decimal) -> int | float | str:
    """Return a decimal as a JSON number where that is exact, else as text."""
    if value == value.to_integral_value():
        return int(value)
    return float(value) if Decimal(str(float(value))) == value else str(value)
