"""Files: values that fit, versions, old and foreign columns, damage."""

from __future__ import annotations

from datetime import timedelta, timezone
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from store.database import Store, StoreError
from store.errors import StoreWarning
from store.parquet import VERSION_KEY, columns
from store.records import SCHEMA_VERSION, PhaseRow, RunRow
from tests.store.rows import DAY, MOMENT, everything, file_of, row, values

DAMAGE = {
    "empty": lambda whole: b"",
    "truncated": lambda whole: whole[:-20],
    "cut in half": lambda whole: whole[: len(whole) // 2],
    "of another kind": lambda whole: b"hello, this is no Parquet file at all",
    "with a broken footer": lambda whole: whole[:-500] + bytes(480) + whole[-20:],
    "with broken pages": lambda whole: whole[:4] + b"\xff" * 2000 + whole[2004:],
}


def test_every_file_says_its_schema_version(filled: Store) -> None:
    """In the key-value metadata, and in store.json."""
    versions = {pq.read_metadata(path).metadata[VERSION_KEY.encode()] for path in filled.path.rglob("*.parquet")}

    assert versions == {str(SCHEMA_VERSION).encode()}
    assert (filled.path / "store.json").read_text() == f'{{"schema_version": {SCHEMA_VERSION}}}\n'


def test_moments_of_other_zones_are_stored_in_utc(store: Store) -> None:
    """The instant is kept."""
    there = MOMENT.astimezone(timezone(timedelta(hours=5)))
    store.append("r1", [row(RunRow, run_id="r1", started_at=there)], day=DAY)

    assert values(store, "SELECT started_at FROM runs") == [MOMENT]
    assert values(store, "SELECT started_at::VARCHAR FROM runs") == ["2026-01-02 03:04:05.678901+00"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"runner": None}, r"runs\.runner: got None; expected str\."),
        ({"seed": "1"}, r"runs\.seed: got '1'; expected int\."),
        ({"seed": True}, r"runs\.seed: got True; expected int\."),
        ({"seed": 2**63}, r"runs\.seed: a value cannot be stored"),
        ({"control": 1}, r"runs\.control: got 1; expected bool\."),
        ({"train_clock_s": "fast"}, r"runs\.train_clock_s: got 'fast'; expected float or None\."),
        ({"message": "\ud800"}, r"runs\.message: a value cannot be stored"),
        ({"started_at": MOMENT.replace(tzinfo=None)}, r"runs\.started_at: .*expected datetime with a time zone"),
        ({"status": "done"}, r"runs\.status: got 'done'; expected one of completed, "),
    ],
)
def test_a_value_that_does_not_fit_is_named_and_nothing_is_stored(
    store: Store, changes: dict[str, Any], message: str
) -> None:
    """Table, column, value, what was expected."""
    with pytest.raises(StoreError, match=message):
        store.append("r1", [row(PhaseRow, run_id="r1"), row(RunRow, run_id="r1", **changes)], day=DAY)

    assert not list(store.path.rglob("*.*")) or everything(store.path).keys() == {str(store.path / "store.json")}


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("table", ["runs", "epochs"])
def test_a_damaged_file_is_left_out_with_a_warning_that_names_it(filled: Store, damage: str, table: str) -> None:
    """The others still answer."""
    path = file_of(filled, table)
    path.write_bytes(DAMAGE[damage](path.read_bytes()) if table == "runs" else DAMAGE["empty"](b""))

    with pytest.warns(StoreWarning, match=r"r1\.parquet: is damaged"):
        answer = filled.query(f"SELECT * FROM {table}")

    assert set(answer.run_id) == {"r2"}


@pytest.mark.parametrize("damage", DAMAGE)
def test_check_reports_a_damaged_file(filled: Store, damage: str) -> None:
    """With its place, relative to the store."""
    path = file_of(filled, "runs")
    path.write_bytes(DAMAGE[damage](path.read_bytes()))

    places = {problem.place for problem in filled.check() if "damaged" in problem.text}

    assert places == {"records/runs/day=2026-01-02/r1.parquet"}


def test_check_finds_a_single_flipped_bit(filled: Store) -> None:
    """Each page has a checksum."""
    path = file_of(filled, "readings")
    content = bytearray(path.read_bytes())
    offset = pq.read_metadata(path).row_group(0).column(1).data_page_offset
    content[offset + 60] ^= 1
    path.write_bytes(content)

    assert [problem.place for problem in filled.check()] == ["records/readings/day=2026-01-02/r1.parquet"]


def test_a_damaged_file_elsewhere_does_not_touch_an_answer(filled: Store) -> None:
    """Only the files that a question needs are read."""
    file_of(filled, "epochs").write_bytes(b"")

    assert len(filled.query("SELECT * FROM phases")) == 6


def test_temporary_files_of_killed_writers_are_ignored(filled: Store) -> None:
    """They match no pattern."""
    (file_of(filled, "runs").parent / ".0123456789abcdef.tmp").write_bytes(b"half a fi")

    assert len(filled.query("SELECT * FROM runs")) == 2
    assert filled.check() == []


def test_a_file_of_an_older_schema_reads_with_nulls(filled: Store) -> None:
    """A column that did not exist yet is NULL, of the right type, beside newer files."""
    path = file_of(filled, "runs")
    _rewrite(path, pq.read_table(path, partitioning=None).drop_columns(["gc_s", "message", "seed"]))

    answer = filled.arrow("SELECT run_id, gc_s, message, seed FROM runs ORDER BY run_id")

    assert answer.to_pylist()[0] == {"run_id": "r1", "gc_s": None, "message": None, "seed": None}
    assert answer.to_pylist()[1]["seed"] == 1
    assert answer.schema.types == [pa.string(), pa.float64(), pa.string(), pa.int64()]


def test_a_column_that_nobody_knows_is_not_shown(filled: Store) -> None:
    """It belongs to another program."""
    path = file_of(filled, "epochs")
    content = pq.read_table(path, partitioning=None)
    _rewrite(path, content.append_column("mood", pa.array(["good"] * content.num_rows)))

    assert filled.rows("SELECT * FROM epochs").columns == [column.name for column in columns("epochs")]


def test_check_reports_files_of_another_schema(filled: Store) -> None:
    """A newer version, and a column of another type."""
    for table, version, change in (("runs", "99", None), ("epochs", "1", "epoch")):
        path = file_of(filled, table)
        content = pq.read_table(path, partitioning=None)
        index = content.schema.get_field_index(change or "run_id")
        column = content.column(index).cast(pa.string())
        _rewrite(path, content.set_column(index, change or "run_id", column), version)

    texts = {problem.place: problem.text for problem in filled.check()}

    assert "schema version 99" in texts["records/runs/day=2026-01-02/r1.parquet"]
    assert texts["records/epochs/day=2026-01-02/r1.parquet"] == "column epoch is string; expected double"


def _rewrite(path: Path, content: pa.Table, version: str = str(SCHEMA_VERSION)) -> None:
    with pq.ParquetWriter(path, content.schema) as writer:
        writer.write_table(content)
        writer.add_key_value_metadata({VERSION_KEY: version})
