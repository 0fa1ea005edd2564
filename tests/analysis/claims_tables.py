"""Small published tables for the tests of the claims audit."""

from __future__ import annotations

import json
from typing import Any

import pandas as pd

from store.records import TABLES

COLUMNS = list(TABLES["published"].__dataclass_fields__)


def cell(metric: str = "epoch_time", value: float | None = 1.0, unit: str = "s", **changes: Any) -> dict[str, Any]:
    """Return one published number; what is no column is a condition, and those in `axes` tell rows apart."""
    row: dict[str, Any] = {
        "study": "s", "place": "table 1", "system": "A", "workload": "net", "metric": metric, "value": value,
        "unit": unit, "suspicion": "",
    }  # fmt: skip
    conditions = {name: changes.pop(name) for name in list(changes) if name not in COLUMNS}
    return row | {"conditions": json.dumps(conditions)} | changes


def table(*cells: dict[str, Any]) -> pd.DataFrame:
    """Return the table `published` of some numbers."""
    return pd.DataFrame(list(cells), columns=COLUMNS)


def at(axis: str, key: float, metric: str, value: float, unit: str = "s", **changes: Any) -> dict[str, Any]:
    """Return a number of the row at one value of an axis."""
    return cell(metric, value, unit, axes=[axis], **{axis: key}, **changes)
