"""Parquet files of rows: their columns and encodings, written whole or not at all, and judged when read."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import secrets
import types
import typing
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from store.errors import DeadheatError
from store.records import SCHEMA_VERSION, TABLES, Row

VERSION_KEY = "deadheat_schema_version"
ARROW_TYPES: dict[object, pa.DataType] = {
    str: pa.string(),
    int: pa.int64(),
    float: pa.float64(),
    bool: pa.bool_(),
    datetime: pa.timestamp("us", tz="UTC"),
}


class StoreError(DeadheatError):
    """A store, or something asked of it, that cannot be used."""


@dataclasses.dataclass(frozen=True)
class Column:
    """One column of a table, as `store/records.py` declares it."""

    name: str
    type: type
    optional: bool
    unit: str
    doc: str


def columns(table: str) -> list[Column]:
    """Return the columns of `table` in their order."""
    hints = typing.get_type_hints(TABLES[table])
    return [
        Column(f.name, *_plain_type(hints[f.name]), f.metadata["unit"], f.metadata["doc"])
        for f in dataclasses.fields(TABLES[table])
    ]


def _plain_type(hint: object) -> tuple[type, bool]:
    """Return the type without `| None`, and whether None was allowed."""
    inner = [part for part in typing.get_args(hint) if part is not types.NoneType]
    return (inner[0], True) if inner else (typing.cast("type", hint), False)


def arrow_schema(table: str) -> pa.Schema:
    """Return the Arrow schema of `table`."""
    return pa.schema([pa.field(c.name, ARROW_TYPES[c.type]) for c in columns(table)])


def arrow_table(table: str, rows: Sequence[Row]) -> pa.Table:
    """Return `rows`, all of `table`, column by column.

    Raises
    ------
    StoreError
        If a value does not fit its column: a None where a value is needed, another type, a datetime without a zone.
    """
    schema = arrow_schema(table)
    arrays = [_array(table, c, [getattr(row, c.name) for row in rows]) for c in columns(table)]
    return pa.Table.from_arrays(arrays, schema=schema)


def _array(table: str, column: Column, values: list[object]) -> pa.Array:
    for value in values:
        if not _fits(value, column):
            wanted = column.type.__name__ + (" with a time zone" if column.type is datetime else "")
            raise StoreError(
                f"{table}.{column.name}: got {value!r}; expected {wanted}{' or None' if column.optional else ''}. "
                "Correct what made this row."
            )
    try:
        return pa.array(values, ARROW_TYPES[column.type])
    except (pa.ArrowException, OverflowError, UnicodeError) as reason:
        raise StoreError(
            f"{table}.{column.name}: a value cannot be stored ({reason}); expected text that is valid UTF-8 or a "
            "number of 64 bits. Correct what made this row."
        ) from None


def _fits(value: object, column: Column) -> bool:
    if value is None:
        return column.optional
    if isinstance(value, datetime):
        return column.type is datetime and value.utcoffset() is not None
    if column.type is float:
        return isinstance(value, (float, int)) and not isinstance(value, bool)
    return isinstance(value, column.type) and (column.type is bool or not isinstance(value, bool))


def write_temporary(table: str, rows: Sequence[Row], folder: Path) -> Path:
    """Write `rows` under a name that no reader looks at, to the disk itself, and verify the file's footer."""
    content = arrow_table(table, rows)
    make_folder(folder)
    path = folder / f".{secrets.token_hex(8)}.tmp"
    try:
        with path.open("xb") as file:
            _write(content, table, file)
            file.flush()
            os.fsync(file.fileno())
        _verify(path, len(rows))
    except BaseException:
        with contextlib.suppress(OSError):
            path.unlink()
        raise
    return path


def _write(content: pa.Table, table: str, file: typing.BinaryIO) -> None:
    """Write with zstd and, per type, the encoding that was smallest for telemetry and epochs."""
    kinds = {c.name: c.type for c in columns(table)}
    split = {name: "BYTE_STREAM_SPLIT" for name, kind in kinds.items() if kind is float}
    delta = {name: "DELTA_BINARY_PACKED" for name, kind in kinds.items() if kind in (int, datetime)}
    options = {
        "compression": "zstd",
        "compression_level": 3,
        "use_dictionary": [name for name, kind in kinds.items() if kind is str],
        "column_encoding": {**split, **delta},
        # A file of one run is only ever skipped by its id; without the rest a file of one row is half as large.
        "write_statistics": ["run_id"] if "run_id" in kinds else False,
        "store_schema": False,
        "write_page_checksum": True,
    }
    with pq.ParquetWriter(file, content.schema, **options) as writer:
        writer.write_table(content)
        writer.add_key_value_metadata({VERSION_KEY: str(SCHEMA_VERSION)})


def _verify(path: Path, rows: int) -> None:
    found = pq.read_metadata(path).num_rows
    if found != rows:
        raise StoreError(f"{path}: holds {found} rows; expected {rows}. Nothing was stored: append again.")


def publish(temporary: Path, final: Path) -> None:
    """Give a temporary file its name, durably."""
    temporary.rename(final)
    _sync_folder(final.parent)


def make_folder(folder: Path) -> None:
    """Create a folder and those above it, durably."""
    if not folder.is_dir():
        make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        _sync_folder(folder.parent)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def holds(path: Path, table: str, rows: Sequence[Row]) -> bool:
    """Return whether the file has exactly these rows."""
    return not flaw(path, table, whole=True) and bool(
        pq.read_table(path, partitioning=None).equals(arrow_table(table, rows))
    )


def flaw(path: Path, table: str, *, whole: bool) -> str:
    """Return why the file cannot be read as rows of `table`, or an empty text; `whole` reads every page too."""
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            metadata, schema = file.metadata.metadata or {}, file.schema_arrow
            if whole:
                file.read()
    except (pa.ArrowException, OSError, EOFError, ValueError) as reason:
        return f"is damaged ({' '.join(str(reason).split())})"
    return _newer(metadata) or _foreign(schema, table)


def _newer(metadata: dict[bytes, bytes]) -> str:
    text = metadata.get(VERSION_KEY.encode(), b"").decode("ascii", "replace")
    if text.isdecimal() and int(text) <= SCHEMA_VERSION:
        return ""
    return f"has schema version {text or 'none'}; this deadheat knows versions up to {SCHEMA_VERSION}"


def _foreign(schema: pa.Schema, table: str) -> str:
    for wanted in arrow_schema(table):
        index = schema.get_field_index(wanted.name)
        if index >= 0 and schema.field(index).type != wanted.type:
            return f"column {wanted.name} is {schema.field(index).type}; expected {wanted.type}"
    return ""
