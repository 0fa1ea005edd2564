"""Splits frames of rows about runs into the parts of each group of runs, once for all of them (pure)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

Record = Mapping[str, Any]


def records(frame: pd.DataFrame) -> list[Record]:
    """Return the rows of a small frame with None where there is no value: many times as fast as pandas does it."""
    names = list(frame.columns)
    columns = [[None if value != value else value for value in frame[name].tolist()] for name in names]  # noqa: PLR0124
    return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]


class Parts:
    """The rows of a frame with `run_id`, by the group of their run."""

    def __init__(self, frame: pd.DataFrame, group_of_run: Mapping[str, int]) -> None:
        """Split `frame`; rows of runs that belong to no group are left out."""
        groups = frame["run_id"].map(group_of_run)
        self._none = frame.iloc[:0]
        self._parts = {int(group): rows for group, rows in frame.groupby(groups, sort=False)}

    def of(self, group: int) -> pd.DataFrame:
        """Return the rows of a group, in the order that they had."""
        return self._parts.get(group, self._none)
