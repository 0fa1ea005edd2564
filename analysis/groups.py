"""Splits frames of rows about runs into the parts of each group of runs, once for all of them (pure)."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd


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
