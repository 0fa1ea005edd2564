"""The store: Parquet files that are appended and never changed, and DuckDB views over them."""

from __future__ import annotations

import contextlib
import glob
import json
import os
import secrets
import warnings
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import pyarrow as pa

from store import parquet, view
from store.delivery import by_table
from store.errors import StoreWarning
from store.metrics import METRICS
from store.parquet import StoreError
from store.records import PHASES, SCHEMA_VERSION, STATUSES, TABLES, Row

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Problem", "Rows", "Store", "StoreError", "StoreWarning"]

CHECKS = Path(__file__).parent / "checks.sql"
# Errors that no damaged file can cause; any other error makes the query look for one.
MISTAKES = (duckdb.ParserException, duckdb.CatalogException, duckdb.BinderException, duckdb.PermissionException)


@dataclass(frozen=True)
class Problem:
    """One finding of `Store.check`."""

    place: str
    text: str


@dataclass(frozen=True)
class Rows:
    """An answer as exact Python values."""

    columns: list[str]
    values: list[tuple[Any, ...]]


class Store:
    """The records under one folder. Nothing is created until the first append.

    Parameters
    ----------
    path : Path
        The store's folder. It need not exist: a store without files has all the views, empty.
    beside : sequence of Path
        Folders of further stores, which answers are made of as well. They are only read.
    """

    def __init__(self, path: Path, *, beside: Sequence[Path] = ()) -> None:
        self.path = path
        self.beside = tuple(beside)

    def raw_folder(self, campaign_id: str, run_id: str) -> Path:
        """Return where the raw files of a run belong; the folder is not created."""
        return self.path / "raw" / campaign_id / run_id

    def is_empty(self) -> bool:
        """Return whether the store holds no records of its own."""
        return not any(_has_files(self.path, table) for table in TABLES)

    def append(self, name: str, rows: Sequence[Row], *, day: date) -> None:
        """Store `rows`, of any tables, for good: all of them or, whatever happens, none that a reader sees.

        Parameters
        ----------
        name : str
            Name of the files, unique in the store: the run's id, say.
        rows : sequence of Row
            A run with everything about it: phases, epochs, readings and measurements need their run beside them.
        day : date
            The day (UTC) in whose folders the files lie.

        Raises
        ------
        StoreError
            If the name exists, a row does not fit its table or lacks its run, the disk is full, or a newer deadheat
            made the store. Nothing is stored then.
        """
        tables = by_table(name, rows)
        self._require_usable()
        self._require_new(name, tables)
        staged: dict[Path, Path] = {}
        try:
            self._write_version()
            for table, table_rows in tables.items():
                folder = self.path / "records" / table / f"day={day:%Y-%m-%d}"
                staged[parquet.write_temporary(table, table_rows, folder)] = folder / f"{name}.parquet"
            for temporary, final in staged.items():
                parquet.publish(temporary, final)
        except OSError as reason:
            raise StoreError(
                f"{reason.filename or self.path}: '{name}' could not be stored ({reason.strerror or reason}); "
                "expected a writable disk with room. No run of it is in the store: make room and append it again."
            ) from reason
        finally:
            for temporary in staged:
                temporary.unlink(missing_ok=True)
        self._write_views()

    def query(self, sql: str, parameters: Sequence[object] = ()) -> pd.DataFrame:
        """Return the answer to one SELECT over the views.

        Raises
        ------
        StoreError
            If `sql` is not one SELECT or is wrong, or a newer deadheat made the store.

        Warns
        -----
        StoreWarning
            For each damaged file, which the answer leaves out.
        """
        frame: pd.DataFrame = _floats_for_decimals(self.arrow(sql, parameters)).to_pandas()
        return frame

    def arrow(self, sql: str, parameters: Sequence[object] = ()) -> pa.Table:
        """Return the answer as an Arrow table; otherwise like `query`."""
        self._require_usable()
        _require_select(sql)
        skip: dict[Path, str] = {}
        for whole in (None, False, True):
            if whole is not None:  # the first attempt failed, perhaps because of a file
                skip = self._flaws(view.tables_behind(sql), whole=whole)
            try:
                with self._connection(sql, skip=skip) as connection:
                    answer = connection.sql(sql, params=list(parameters)).to_arrow_table()
            except MISTAKES as reason:
                raise _query_error(reason) from None
            except duckdb.Error as reason:
                failure = reason
            else:
                _warn_of(skip)
                return answer
        raise _query_error(failure)

    def rows(self, sql: str, parameters: Sequence[object] = ()) -> Rows:
        """Return the answer as exact Python values; otherwise like `query`."""
        table = self.arrow(sql, parameters)
        return Rows(table.column_names, list(zip(*(_python_values(column) for column in table.columns), strict=True)))

    def check(self) -> list[Problem]:
        """Return what is wrong with the store: damaged files, and records that contradict each other."""
        self._require_usable()
        flaws = self._flaws(TABLES, whole=True)
        problems = [Problem(self._place(path), flaw) for path, flaw in flaws.items()]
        text = CHECKS.read_text(encoding="utf-8")
        with self._connection(text, skip=flaws) as connection:
            for statement in connection.extract_statements(text):
                problems += [Problem(*row) for row in connection.execute(statement).fetchall()]
        return sorted(problems, key=lambda problem: (problem.place, problem.text))

    def _connection(self, sql: str, skip: Collection[Path]) -> duckdb.DuckDBPyConnection:
        """Return an in-memory database with the views that `sql` needs, shut off from everything else."""
        sources = {table: self._sources(table, skip) for table in view.tables_behind(sql)}
        connection = duckdb.connect(config={"python_enable_replacements": False})
        connection.execute("SET TimeZone = 'UTC'; SET autoinstall_known_extensions = false")
        for name, words in {"statuses": STATUSES, "phases": PHASES, "metrics": METRICS}.items():
            connection.execute(f"SET VARIABLE known_{name} = {view.literal(words)}")
        for statement in view.statements(view.needed(sql), sources):
            connection.execute(statement)
        roots = [str(root.resolve()) for root in self._roots()]  # patterns are judged as they are written
        allowed = [f"{written}/records" for root in roots for written in (root, glob.escape(root))]
        connection.execute(f"SET allowed_directories = {view.literal(allowed)}")
        connection.execute("SET enable_external_access = false; SET lock_configuration = true")
        return connection

    def _sources(self, table: str, skip: Collection[Path]) -> list[str]:
        """Return what the view of a table reads: a pattern, or files where some are left out.

        Runs are listed, before any view looks for files: all that belongs to a run in the list is there by then.
        """
        if table == "runs" or any(path.parents[1].name == table for path in skip):
            return [glob.escape(str(path)) for path in self._files(table) if path not in skip]
        return [pattern for root in self._roots() for pattern in _pattern(root, table, f"{root.resolve()}/")]

    def _roots(self) -> tuple[Path, ...]:
        return (self.path, *self.beside)

    def _place(self, path: Path) -> str:
        own = self.path.resolve()
        return str(path.relative_to(own) if path.is_relative_to(own) else path)

    def _files(self, table: str) -> list[Path]:
        folders = [root.resolve() / "records" / table for root in self._roots()]
        return [path for folder in folders for path in sorted(folder.glob("day=*/*.parquet"))]

    def _flaws(self, tables: Iterable[str], *, whole: bool) -> dict[Path, str]:
        found = {path: parquet.flaw(path, table, whole=whole) for table in tables for path in self._files(table)}
        return {path: flaw for path, flaw in found.items() if flaw}

    def _require_new(self, name: str, tables: dict[str, list[Row]]) -> None:
        """Refuse a name that exists, unless a writer was killed before the last table of this very append."""
        last = next(reversed(tables))
        for table, rows in tables.items():
            for found in (self.path / "records" / table).glob(f"day=*/{name}.parquet"):
                if table == last or not parquet.holds(found, table, rows):
                    raise StoreError(
                        f"{found}: exists; expected a name that is new to the store, because records never change. "
                        "Append under another name."
                    )

    def _require_usable(self) -> None:
        for root in self._roots():
            if "\\" in str(root.resolve()):
                raise StoreError(f"{root}: holds a backslash; expected none, because DuckDB takes it for '/'. Move it.")
            version = _version(root)
            if version > SCHEMA_VERSION:
                raise StoreError(
                    f"{root / 'store.json'}: schema_version: got {version}; expected at most {SCHEMA_VERSION}: "
                    "a newer deadheat made this store. Nothing was changed; update deadheat."
                )

    def _write_version(self) -> None:
        if _version(self.path) < SCHEMA_VERSION:
            _write_whole(self.path / "store.json", json.dumps({"schema_version": SCHEMA_VERSION}) + "\n")

    def _write_views(self) -> None:
        """Write views.sql where it is not what it should be; again, where others appended meanwhile."""
        path = self.path / "views.sql"
        with contextlib.suppress(OSError):  # the records are safe, and the next append comes here again
            while (text := view.script({table: _pattern(self.path, table) for table in TABLES})) != _text(path):
                _write_whole(path, text)


def _version(root: Path) -> int:
    """Return the store's schema version, 0 for a store that does not exist."""
    path = root / "store.json"
    try:
        return int(json.loads(path.read_bytes())["schema_version"])
    except FileNotFoundError:
        return 0
    except NotADirectoryError:
        raise StoreError(f"{root}: is a file; expected the folder of a store. Correct the path.") from None
    except (OSError, ValueError, KeyError, TypeError) as reason:
        raise StoreError(
            f'{path}: cannot be read ({reason!r}); expected {{"schema_version": {SCHEMA_VERSION}}}. '
            "Restore it; the records beside it are untouched."
        ) from None


def _pattern(root: Path, table: str, prefix: str = "") -> list[str]:
    """Return the pattern of a table's files, or nothing where there is no file: DuckDB would refuse it."""
    return [f"{glob.escape(prefix)}records/{table}/day=*/*.parquet"] if _has_files(root, table) else []


def _has_files(root: Path, table: str) -> bool:
    return any(True for _ in (root / "records" / table).glob("day=*/*.parquet"))


def _require_select(sql: str) -> None:
    """Refuse all but one SELECT, as DuckDB's own parser sees it: reading is all that a store is asked for."""
    try:
        kinds = [statement.type for statement in duckdb.extract_statements(sql)]
    except duckdb.Error as reason:
        raise _query_error(reason) from None
    if kinds != [duckdb.StatementType.SELECT]:
        found = ", ".join(kind.name for kind in kinds) or "nothing"
        raise StoreError(
            f"query: got {found}; expected one SELECT, because records never change. "
            "Ask with SELECT; write an answer to a file with --format csv or json."
        )


def _floats_for_decimals(table: pa.Table) -> pa.Table:
    """Return sums of integers and decimal literals as floats: pandas would hold them as Python objects."""
    exact = [pa.field(f.name, pa.float64()) if pa.types.is_decimal(f.type) else f for f in table.schema]
    return table.cast(pa.schema(exact))


def _python_values(column: pa.ChunkedArray) -> list[Any]:
    """Return a column as Python values; raise for moments that Python has no date for."""
    try:
        return list(column.to_pylist())
    except (OverflowError, ValueError) as reason:
        raise StoreError(
            f"query: a moment is beyond the years 1 to 9999 ({reason}); expected dates that can be shown. "
            "Ask for it as text: CAST(... AS VARCHAR)."
        ) from None


def _query_error(reason: duckdb.Error) -> StoreError:
    return StoreError(f"query: {reason}\nExpected one SELECT over the views; 'deadheat schema' lists their columns.")


def _warn_of(skipped: dict[Path, str]) -> None:
    for path, flaw in skipped.items():
        message = f"{path}: {flaw}; expected a whole Parquet file. Left out of the answer: 'deadheat check' tells more."
        warnings.warn(message, StoreWarning, stacklevel=2)


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.exists() else ""


def _write_whole(path: Path, text: str) -> None:
    """Write a small file so that nobody ever sees half of it."""
    parquet.make_folder(path.parent)
    temporary = path.with_name(f".{secrets.token_hex(8)}.tmp")
    try:
        with temporary.open("x", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        parquet.publish(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
