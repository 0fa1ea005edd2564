"""Writes the data of the site: each table as Parquet, the findings as JSON, and the views as SQL."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from analysis.findings.finding import Finding
from analysis.pages.listings import DataFile
from analysis.rendering.wording import told_rows
from store import view
from store.parquet import columns
from store.records import TABLES

if TYPE_CHECKING:
    from store.database import Store

FOLDER = "data"
HEADER = """\
-- The tables of the site for any DuckDB. Beside the downloaded Parquet files: duckdb -init views.sql
SET TimeZone = 'UTC';
"""


def write_downloads(store: Store, findings: Sequence[Finding], docs: Path) -> list[DataFile]:
    """Write everything that can be downloaded below `docs` and return the tables."""
    folder = docs / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "findings.json").write_text(findings_json(findings), encoding="utf-8")
    (folder / "views.sql").write_text(views_sql(), encoding="utf-8")
    return [write_table(table, store.arrow(f"SELECT * FROM {table} ORDER BY ALL"), docs) for table in TABLES]


def write_table(table: str, content: pa.Table, docs: Path) -> DataFile:
    """Write one table as Parquet."""
    address = f"{FOLDER}/{table}.parquet"
    pq.write_table(content, docs / address, compression="zstd")
    documented = [(c.name, c.type.__name__ + (" or null" if c.optional else ""), c.unit, c.doc) for c in columns(table)]
    return DataFile(
        table=table,
        address=address,
        size_bytes=(docs / address).stat().st_size,
        rows=content.num_rows,
        doc=(TABLES[table].__doc__ or "").strip().splitlines()[0],
        columns=documented,
    )


def findings_json(findings: Sequence[Finding]) -> str:
    """Return every field of every finding."""
    names, rows = told_rows(findings)
    return json.dumps([dict(zip(names, row, strict=True)) for row in rows], ensure_ascii=False, indent=1) + "\n"


def views_sql() -> str:
    """Return the views over the downloaded files: the tables as they are, and what the store derives from them."""
    tables = [f"CREATE OR REPLACE VIEW {table} AS FROM read_parquet('{table}.parquet');\n" for table in TABLES]
    derived = [name for name in view.needed(" ".join(view.VIEWS)) if _is_derived(name)]
    made = [f"CREATE OR REPLACE VIEW {name} AS\n{view.VIEWS[name]};\n" for name in derived]
    return "\n".join([HEADER, *tables, *made])


def _is_derived(name: str) -> bool:
    """Whether a view is made of tables alone: those over the store's files have no meaning here."""
    return name in view.VIEWS and name not in TABLES and not view.mentioned(view.VIEWS[name]) & view.DELIVERED
