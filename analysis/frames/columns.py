"""Splits frames into the parts of each group, once for all groups (pure)."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

Record = Mapping[str, Any]
Column = npt.NDArray[Any]


def records(frame: pd.DataFrame) -> list[Record]:
    """Return the rows of a small frame with None where there is no value: many times as fast as pandas does it."""
    names = list(frame.columns)
    columns = [[None if value != value else value for value in frame[name].tolist()] for name in names]  # noqa: PLR0124
    return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]


def is_absent(value: object) -> bool:
    """Whether a cell of a frame holds nothing: None, NaN or a missing time."""
    return bool(pd.api.types.is_scalar(value) and pd.isna(value))  # type: ignore[call-overload]


class Columns:
    """Rows as one array per column: for taking many small parts, which frames are slow at."""

    def __init__(self, arrays: Mapping[str, Column]) -> None:
        self._arrays = dict(arrays)

    @classmethod
    def of(cls, frame: pd.DataFrame) -> Columns:
        """Return the rows of a frame; texts become plain objects."""
        return cls({str(name): frame[name].to_numpy() for name in frame.columns})

    def __getitem__(self, name: str) -> Column:
        """Return a column."""
        return self._arrays[name]

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(next(iter(self._arrays.values())))

    def where(self, rows: slice | Column) -> Columns:
        """Return some rows: a slice, their places, or a truth for each."""
        return Columns({name: values[rows] for name, values in self._arrays.items()})

    def assign(self, **arrays: Column) -> Columns:
        """Return the rows with further columns, or others of the same names."""
        return Columns(self._arrays | arrays)

    def first(self, names: Iterable[str]) -> dict[str, Any]:
        """Return some columns of the first row, as plain Python values."""
        found = {name: self._arrays[name][0] for name in names}
        return {name: value.item() if isinstance(value, np.generic) else value for name, value in found.items()}


Table = pd.DataFrame | Columns  # what functions take that only read whole columns


def groups(frame: pd.DataFrame, by: Sequence[str]) -> Iterator[Columns]:
    """Yield the rows that agree in the columns `by`, in the order of each group's first row.

    Rows that lack a value in one of them belong to no group.
    """
    codes = frame.groupby(list(by), sort=False).ngroup().fillna(-1).to_numpy(dtype=int)
    order = np.argsort(codes, kind="stable")
    ordered = Columns.of(frame).where(order)
    edges = np.searchsorted(codes[order], np.arange(codes.max(initial=-1) + 2))
    for start, end in itertools.pairwise(edges):
        yield ordered.where(slice(start, end))


class Parts:
    """The rows of a frame with `run_id`, by the group of their run."""

    def __init__(self, frame: pd.DataFrame, group_of_run: Mapping[str, int]) -> None:
        """Split `frame`; rows of runs that belong to no group are left out."""
        group = frame["run_id"].map(group_of_run)
        self._none = frame.iloc[:0]
        self._parts = {int(number): rows for number, rows in frame.groupby(group, sort=False)}

    def of(self, group: int) -> pd.DataFrame:
        """Return the rows of a group, in the order that they had."""
        return self._parts.get(group, self._none)
