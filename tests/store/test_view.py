"""What the views show: whole runs, once; counted attempts; the last gating."""

from __future__ import annotations

import dataclasses
from datetime import date
from typing import Any

import duckdb
import pytest

from store import view
from store.database import Store
from store.parquet import columns
from store.records import TABLES, PublishedRow, RunRow
from store.study import published_rows, read_studies
from tests.store.rows import CHILDREN, DAY, file_of, gate, row, values, whole_run


@pytest.mark.parametrize("name", [*view.VIEWS, *sorted(view.DELIVERED), view.PACKAGED])
def test_an_empty_store_has_every_view_with_its_columns(store: Store, filled: Store, name: str) -> None:
    """Names and types are those of a store with records."""
    empty = Store(store.path.parent / "other").arrow(f"SELECT * FROM {name}")
    full = filled.arrow(f"SELECT * FROM {name}")

    assert empty.num_rows == (len(published_rows(read_studies())) if name in ("published", view.PACKAGED) else 0)
    assert empty.schema == full.schema


@pytest.mark.parametrize("table", TABLES)
def test_a_view_has_the_columns_of_its_row_type(filled: Store, table: str) -> None:
    """No more, no fewer, in the same order."""
    assert filled.rows(f"SELECT * FROM {table}").columns == [column.name for column in columns(table)]


@pytest.mark.parametrize("table", CHILDREN)
def test_rows_about_a_run_that_does_not_exist_are_not_shown(filled: Store, table: str) -> None:
    """A writer killed before the runs file leaves nothing that a reader sees."""
    file_of(filled, "runs").unlink()

    assert values(filled, f"SELECT run_id FROM {table}") == ["r2"] * CHILDREN[table]


def test_a_run_that_was_delivered_twice_counts_once(store: Store) -> None:
    """The first delivery counts, with the phases, epochs and readings that came with it."""
    store.append("first", whole_run("r1", seed=1), day=DAY)
    store.append("again", whole_run("r1", seed=2), day=date(2026, 1, 3))

    assert values(store, "SELECT seed FROM runs") == [1]
    for table, count in CHILDREN.items():
        assert len(values(store, f"SELECT run_id FROM {table}")) == count
    assert len(values(store, "SELECT environment_id FROM environments")) == 1


def run(run_id: str, *, attempt: int = 1, **changes: Any) -> RunRow:
    """Return a run of heat h1, which has two runs."""
    return row(RunRow, **({"run_id": run_id, "heat_id": "h1", "heat_size": 2, "heat_attempt": attempt} | changes))


@pytest.mark.parametrize(
    ("runs", "counted"),
    [
        ([run("a"), run("b")], "ab"),
        ([run("a")], ""),
        ([run("a"), run("b", status="interrupted")], ""),
        ([run("a"), run("b", status="crashed")], "ab"),
        ([run("a"), run("b"), run("c", attempt=2), run("d", attempt=2)], "cd"),
        ([run("a"), run("b"), run("c", attempt=2)], "ab"),
        ([run("a"), run("b"), run("c", attempt=2), run("d", attempt=2, status="interrupted")], "ab"),
        ([run("a"), run("b", attempt=2), run("c", attempt=2)], "bc"),
        ([run("a"), run("b"), run("c", campaign_id="other")], "ab"),
        ([run("a"), run("b"), run("c", heat_id="h2", heat_size=1)], "abc"),
        ([run("a"), run("b"), run("c", heat_id="", heat_size=0, status="unavailable")], "ab"),
        ([run("a"), run("b", status="unavailable")], "a"),
    ],
)
def test_the_last_complete_attempt_of_each_heat_counts(store: Store, runs: list[RunRow], counted: str) -> None:
    """Interrupted and incomplete attempts do not, nor unavailable runners; failed runs do."""
    for one in runs:
        store.append(one.run_id, [one], day=DAY)

    assert "".join(sorted(values(store, "SELECT run_id FROM counted_runs"))) == counted


@pytest.mark.parametrize(
    ("gates", "latest"),
    [
        ([gate("A", 1), gate("B", 1)], {"A": True, "B": True}),
        ([gate("A", 1), gate("A", 2, passed=False)], {"A": False}),
        ([gate("A", 2), gate("A", 1, passed=False)], {"A": True}),
        ([gate("A", 1), gate("B", 1), gate("A", 2, gate_id="g2")], {"A": True}),
        ([gate("A", 1), gate("run", 2, passed=False)], {"run": False}),
        ([gate("run", 1, passed=False), gate("A", 2)], {"A": True}),
        ([gate("A", 1), gate("A", 1)], {"A": True}),
    ],
)
def test_the_last_gating_of_an_entry_counts(store: Store, gates: list[Any], latest: dict[str, bool]) -> None:
    """Older results of another gate, and of a gating that ended otherwise, do not stay beside newer ones."""
    for index, one in enumerate(gates):
        store.append(f"g{index}", [one], day=DAY)

    assert dict(store.rows("SELECT part, passed FROM latest_gates").values) == latest


def test_the_gates_of_other_entries_are_kept_apart(store: Store) -> None:
    """Variant, workload, device and dtype each make another gating."""
    others = [gate("A", 2, **{key: "other"}) for key in ("runner", "variant", "workload", "device", "dtype")]
    store.append("g", [gate("A", 1, passed=False), *others], day=DAY)

    assert sorted(values(store, "SELECT passed FROM latest_gates")) == [False] + [True] * 5


def test_questions_about_the_catalogue_show_every_view(filled: Store) -> None:
    """SHOW TABLES and DESCRIBE work as in DuckDB."""
    assert set(values(filled, "SHOW TABLES")) >= {*TABLES, "counted_runs", "latest_gates"}
    assert values(filled, "DESCRIBE epochs") == [column.name for column in columns("epochs")]


def test_views_sql_gives_another_duckdb_the_same_answers(filled: Store) -> None:
    """Fed to DuckDB in the store's folder, every view has the same rows, wherever the store was moved to."""
    moved = filled.path.rename(filled.path.with_name("moved"))
    with duckdb.connect() as other:
        other.execute(f"SET file_search_path = '{moved}'")
        other.execute((moved / "views.sql").read_text())
        for name in view.VIEWS:
            question = f"SELECT * FROM {name} ORDER BY ALL"
            assert other.sql(question).to_arrow_table().equals(Store(moved).arrow(question)), name


def test_published_is_what_the_package_brings_and_what_was_imported(store: Store) -> None:
    """To the last bit, each number once, however often the imported ones were delivered."""
    imported = row(PublishedRow, study="mine", value=0.1 + 0.2, conditions='{"it\'s": 1}')
    store.append("p1", [imported], day=DAY)
    store.append("p2", [imported], day=date(2026, 1, 3))

    found = store.rows("SELECT * EXCLUDE (suspicion) FROM published").values

    brought = [dataclasses.astuple(one)[:-1] for one in (imported, *published_rows(read_studies()))]
    assert sorted(map(repr, found)) == sorted(map(repr, brought))


def test_rows_in_a_view_s_own_text_are_what_they_were(store: Store) -> None:
    """Quotes, empty texts and numbers that have no short form; no row where there is none."""
    rows = [
        row(PublishedRow, place="", value=1 / 3, unit="'", suspicion="it's %"),
        row(PublishedRow, value=None, system="\\n"),
        row(PublishedRow, value=1e-300),
    ]

    read = store.rows(view.constant("published", view.text_of("published", rows))).values
    assert read == [dataclasses.astuple(one) for one in rows]
    assert store.rows(view.constant("published", "")).values == []
    with pytest.raises(ValueError, match="holds a tab or a line's end"):
        view.text_of("published", [row(PublishedRow, place="a\nb")])


def test_views_sql_is_remade_when_a_table_gets_its_first_file(filled: Store) -> None:
    """And left alone otherwise."""
    before = (filled.path / "views.sql").stat().st_ino
    filled.append("r3", whole_run("r3"), day=DAY)
    assert (filled.path / "views.sql").stat().st_ino == before
    assert "records/gates" not in (filled.path / "views.sql").read_text()

    filled.append("g1", [gate("A", 1)], day=DAY)

    assert "records/gates" in (filled.path / "views.sql").read_text()
