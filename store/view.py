"""The SQL of the store's views: `views/*.sql` over one generated view per table. Pure text."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path

from store.parquet import columns
from store.records import TABLES, Row

SQL_TYPES = {str: "VARCHAR", int: "BIGINT", float: "DOUBLE", bool: "BOOLEAN", datetime: "TIMESTAMPTZ"}
CATALOGUE = {"show", "information_schema", "duckdb_views", "duckdb_columns", "duckdb_tables", "sqlite_master"}
VIEWS = {
    path.stem: path.read_text(encoding="utf-8").strip()
    for path in sorted((Path(__file__).parent / "views").glob("*.sql"))
}
DELIVERED = {f"delivered_{table}" for table in TABLES}
PACKAGED = "packaged_published"  # rows that are in every store, also an empty one
PUBLISHED = Path(__file__).parent / "published" / "published.tsv"  # made of the studies' files, see store/study.py
HEADER = """\
-- The views of this store for any DuckDB (made by deadheat, remade when needed):
--     cd into this folder, then: duckdb -init views.sql
SET TimeZone = 'UTC';
"""


def literal(values: Iterable[str]) -> str:
    """Return a SQL list of texts."""
    return "[" + ", ".join("'" + value.replace("'", "''") + "'" for value in values) + "]"


@functools.cache
def mentioned(sql: str) -> frozenset[str]:
    """Return the views whose names occur in `sql`, at least those that it needs; all for the catalogue itself."""
    words = frozenset(re.findall(r"\w+", sql.lower()))
    return frozenset(VIEWS) if words & CATALOGUE else words & (VIEWS.keys() | DELIVERED | {PACKAGED})


def needed(sql: str) -> list[str]:
    """Return the views that `sql` needs, those that others are made of first."""
    ordered: dict[str, None] = {}

    def visit(names: Iterable[str]) -> None:
        for name in sorted(set(names) - ordered.keys()):
            visit(mentioned(VIEWS[name]) - {name} if name in VIEWS else ())
            ordered[name] = None

    visit(mentioned(sql))
    return list(ordered)


def tables_behind(sql: str) -> list[str]:
    """Return the tables whose files an answer to `sql` reads."""
    return [table for table in TABLES if f"delivered_{table}" in needed(sql)]


def statements(names: Iterable[str], sources: Mapping[str, Sequence[str]]) -> list[str]:
    """Return the CREATE VIEW statements of `names`; `sources` are the files or patterns of each table."""
    return [f"CREATE OR REPLACE VIEW {name} AS\n{_select(name, sources)};\n" for name in names]


def script(sources: Mapping[str, Sequence[str]]) -> str:
    """Return `views.sql`: every view, for the DuckDB command line."""
    return "\n".join([HEADER, *statements(needed(" ".join(VIEWS)), sources)])


def _select(name: str, sources: Mapping[str, Sequence[str]]) -> str:
    if name == PACKAGED:
        return _packaged()
    return VIEWS[name] if name in VIEWS else _delivered(name.removeprefix("delivered_"), sources)


@functools.cache
def _packaged() -> str:
    """Return the SELECT of what earlier studies published, as the package brings it."""
    head = "-- What earlier studies published, as the package brings it.\n"
    return head + constant("published", PUBLISHED.read_text(encoding="utf-8"))


def text_of(table: str, rows: Iterable[Row]) -> str:
    """Return rows as text: a line each, tabs between the columns, nothing where there is no value.

    Raises
    ------
    ValueError
        If a text holds a tab or a line's end.
    """
    names = [column.name for column in columns(table)]
    return "".join("\t".join(_field(getattr(row, name)) for name in names) + "\n" for row in rows)


def constant(table: str, text: str) -> str:
    """Return a SELECT of the rows in `text` (see `text_of`), as one literal: thousands would be slow to parse."""
    kinds = {column.name: SQL_TYPES[column.type] for column in columns(table)}
    made = [
        f'fields[{place}] AS "{name}"' if kind == "VARCHAR" else f"nullif(fields[{place}], '')::{kind} AS \"{name}\""
        for place, (name, kind) in enumerate(kinds.items(), start=1)
    ]
    quoted = text.removesuffix("\n").replace("'", "''")
    return (
        f"SELECT {', '.join(made)}\n"
        f"FROM (SELECT string_split(unnest(string_split('{quoted}', chr(10))), chr(9)) AS fields)\n"
        "WHERE len(fields) > 1"
    )


def _field(value: object) -> str:
    text = "" if value is None else str(value)
    if set("\t\n\r") & set(text):
        raise ValueError(f"{text!r} holds a tab or a line's end; expected one line. Correct what made this row.")
    return text


def _delivered(table: str, sources: Mapping[str, Sequence[str]]) -> str:
    """Return the SELECT of a table's rows as they lie in the files."""
    types = {column.name: SQL_TYPES[column.type] for column in columns(table)}
    if not sources.get(table):
        nulls = ", ".join(f'NULL::{kind} AS "{name}"' for name, kind in types.items())
        return f"SELECT {nulls}, NULL::VARCHAR AS file WHERE false"
    # A given schema makes absent columns NULL and opens no file before the rows are asked for.
    schema = ", ".join(
        f"'{name}': {{name: '{name}', type: '{kind}', default_value: NULL}}" for name, kind in types.items()
    )
    return (
        "-- The rows as they lie in the files, repeats included; `file` is the file's day and name.\n"
        "SELECT * EXCLUDE (filename), array_to_string(string_split(filename, '/')[-2:], '/') AS file\n"
        f"FROM read_parquet({literal(sources[table])}, filename = true, hive_partitioning = false,\n"
        f"    schema = MAP {{{schema}}})"
    )
