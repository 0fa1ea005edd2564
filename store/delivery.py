"""What may be appended at once: whole runs, and words that have a meaning."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from store.metrics import METRICS
from store.parquet import StoreError
from store.records import (
    PHASES,
    STATUSES,
    TABLES,
    EpochRow,
    MeasurementRow,
    PhaseRow,
    ReadingRow,
    Row,
    RunRow,
)

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")
KINDS = {kind: table for table, kind in TABLES.items()}
WRITTEN_ORDER = [*(table for table in TABLES if table != "runs"), "runs"]  # a run exists only whole
WORDS: dict[type[Row], tuple[str, tuple[str, ...]]] = {
    RunRow: ("status", STATUSES),
    PhaseRow: ("phase", PHASES),
    MeasurementRow: ("metric", tuple(METRICS)),
}


def by_table(name: str, rows: Sequence[Row]) -> dict[str, list[Row]]:
    """Return the rows of each table, in the order in which tables are written.

    Raises
    ------
    StoreError
        If the name cannot be a file's, there are no rows, a row has a word that nobody knows, or a row about a run
        comes without its run: nothing reads it, because a run exists only whole.
    """
    if not NAME.fullmatch(name):
        raise StoreError(f"append: name: got {name!r}; expected letters, digits, '.', '_', '-'. Choose another name.")
    if not rows:
        raise StoreError(f"append '{name}': got no rows; expected at least one. Append nothing instead.")
    _require_rows(name, rows)
    _require_runs(name, rows)
    return {table: [row for row in rows if KINDS[type(row)] == table] for table in _tables(rows)}


def _tables(rows: Sequence[Row]) -> list[str]:
    present = {KINDS[type(row)] for row in rows}
    return [table for table in WRITTEN_ORDER if table in present]


def _require_rows(name: str, rows: Sequence[Row]) -> None:
    for row in rows:
        if type(row) not in KINDS:
            raise StoreError(f"append '{name}': got a {type(row).__name__}; expected rows of {', '.join(TABLES)}.")
        column, words = WORDS.get(type(row), ("", ()))
        if column and getattr(row, column) not in words:
            raise StoreError(
                f"append '{name}': {KINDS[type(row)]}.{column}: got {getattr(row, column)!r}; "
                f"expected one of {', '.join(words)}. Correct the row, or add the word to the list."
            )


def _require_runs(name: str, rows: Sequence[Row]) -> None:
    runs = Counter(row.run_id for row in rows if isinstance(row, RunRow))
    for row in rows:
        if isinstance(row, (PhaseRow, EpochRow, ReadingRow, MeasurementRow)) and row.run_id not in runs:
            raise StoreError(
                f"append '{name}': {KINDS[type(row)]}.run_id: got {row.run_id!r}, which is no run of this append; "
                "expected its run beside it, because a run exists only whole. Append all rows of a run at once."
            )
    for run_id, count in runs.items():
        if count > 1:
            raise StoreError(f"append '{name}': runs.run_id: got {run_id!r} {count} times; expected it once.")
