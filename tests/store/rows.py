"""Rows for the tests of the store: every column has a value of its type, the test names what matters."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, TypeVar

from hypothesis import strategies as st

from store.database import Store
from store.delivery import WORDS
from store.parquet import columns
from store.records import TABLES, EnvironmentRow, EpochRow, GateRow, MeasurementRow, PhaseRow, ReadingRow, Row, RunRow

R = TypeVar("R", bound=Row)
DAY = date(2026, 1, 2)
MOMENT = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
TABLE_OF = {kind: table for table, kind in TABLES.items()}
VALUES: dict[type, Any] = {str: "text", int: 1, float: 0.5, bool: True, datetime: MOMENT}
CHILDREN = {"phases": 3, "epochs": 2, "readings": 4, "measurements": 1}  # rows of a whole run
PLAUSIBLE: dict[type, dict[str, Any]] = {
    RunRow: {"status": "completed", "environment_id": "e1", "e2e_clock_s": 5.0, "train_clock_s": 3.0, "heat_size": 2},
    PhaseRow: {"phase": "train"},
    MeasurementRow: {"metric": "cpu_s"},
    EnvironmentRow: {"environment_id": "e1"},
}


def row(kind: type[R], **changes: Any) -> R:
    """Return a row with a value in every column."""
    values = {column.name: VALUES[column.type] for column in columns(TABLE_OF[kind])}
    return kind(**{**values, **PLAUSIBLE.get(kind, {}), **changes})


def whole_run(run_id: str, **changes: Any) -> list[Row]:
    """Return a run with all that belongs to it: 1 environment, 3 phases, 2 epochs, 4 readings, 1 measurement."""
    return [
        row(RunRow, run_id=run_id, **changes),
        *(row(PhaseRow, run_id=run_id, index=index) for index in range(3)),
        *(row(EpochRow, run_id=run_id, epoch=float(epoch)) for epoch in (1, 2)),
        *(row(ReadingRow, run_id=run_id, at_s=at / 10) for at in range(4)),
        row(MeasurementRow, run_id=run_id),
        row(EnvironmentRow),
    ]


def gate(part: str, hour: int, *, gate_id: str = "g1", passed: bool = True, **changes: Any) -> GateRow:
    """Return one result of the gate, at an hour of the day."""
    return row(GateRow, part=part, gated_at=MOMENT.replace(hour=hour), gate_id=gate_id, passed=passed, **changes)


def any_row(kind: type[R], **fixed: st.SearchStrategy[Any]) -> st.SearchStrategy[R]:
    """Return a strategy for rows of one table with every value that a column may have, but for those `fixed`."""
    names = {column.name for column in columns(TABLE_OF[kind])}
    word, words = WORDS.get(kind, ("", ()))
    free = {column.name: _any_value(column.type, column.optional) for column in columns(TABLE_OF[kind])}
    known = {word: st.sampled_from(words)} if word else {}
    return st.builds(kind, **(free | known | {name: value for name, value in fixed.items() if name in names}))


def _any_value(kind: type, optional: bool) -> st.SearchStrategy[Any]:
    plain: dict[type, st.SearchStrategy[Any]] = {
        str: st.text(st.characters(codec="utf-8"), max_size=20),
        int: st.integers(-(2**63), 2**63 - 1),
        float: st.floats(allow_nan=False),
        bool: st.booleans(),
        datetime: st.datetimes(datetime(1970, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001
    }
    return st.none() | plain[kind] if optional else plain[kind]


def file_of(store: Store, table: str, name: str = "r1") -> Path:
    """Return the one file of a table and name."""
    (path,) = (store.path / "records" / table).glob(f"day=*/{name}.parquet")
    return path


def everything(folder: Path) -> dict[str, bytes]:
    """Return every file below a folder with its content."""
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def read_rows(store: Store, table: str) -> list[Row]:
    """Return what a view shows, as rows."""
    answer = store.rows(f"SELECT * FROM {table}")
    return [TABLES[table](**dict(zip(answer.columns, line, strict=True))) for line in answer.values]


def values(store: Store, sql: str) -> list[Any]:
    """Return the first column of an answer."""
    return [value for (value, *_) in store.rows(sql).values]
