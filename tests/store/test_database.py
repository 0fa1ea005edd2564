"""The store: what is appended comes back, whole, and only reading is possible."""

from __future__ import annotations

import dataclasses
import tempfile
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from store.database import Store, StoreError
from store.errors import StoreWarning
from store.records import TABLES, EnvironmentRow, EpochRow, Row, RunRow
from tests.store.rows import CHILDREN, DAY, any_row, everything, file_of, read_rows, row, values, whole_run


@settings(max_examples=10, deadline=None)
@given(data=st.data())
def test_what_is_appended_is_what_is_read(data: st.DataObject) -> None:
    """Append-then-read is identity, for every table and every value that a column may have."""
    runs = data.draw(st.lists(any_row(RunRow), min_size=1, max_size=3, unique_by=lambda run: run.run_id))
    others = st.one_of(any_row(kind, run_id=st.sampled_from([run.run_id for run in runs])) for kind in TABLES.values())
    rows = data.draw(st.lists(others.filter(lambda one: not isinstance(one, RunRow)), max_size=12, unique_by=_identity))

    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder))
        store.append("x", [*runs, *rows], day=DAY)
        brought = set(read_rows(Store(Path(folder) / "empty"), "published"))
        read = [one for table in TABLES for one in read_rows(store, table) if one not in brought]

    assert sorted(read, key=repr) == sorted([*runs, *rows], key=repr)


def _identity(one: Row) -> object:
    return one.environment_id if isinstance(one, EnvironmentRow) else one


def test_a_store_is_not_created_by_looking_at_it(store: Store) -> None:
    """Queries and checks leave no trace."""
    store.query("SELECT * FROM runs")
    store.check()

    assert store.is_empty()
    assert not store.path.exists()


def test_a_run_lies_in_one_file_per_table_under_its_day(filled: Store) -> None:
    """The layout that others read: records/<table>/day=YYYY-MM-DD/<name>.parquet."""
    files = {str(path.relative_to(filled.path)) for path in filled.path.rglob("*r1.parquet")}

    tables = ("environments", "runs", *CHILDREN)
    assert files == {f"records/{table}/day=2026-01-02/r1.parquet" for table in tables}


def test_raw_files_have_a_place_that_is_not_created(store: Store) -> None:
    """raw/<campaign>/<run>."""
    assert store.raw_folder("c1", "r1") == store.path / "raw" / "c1" / "r1"
    assert not store.path.exists()


def test_sums_come_as_floats_in_a_frame_and_exactly_as_rows(filled: Store) -> None:
    """DuckDB adds integers in 128 bits, which pandas could only hold as objects."""
    question = "SELECT sum(9007199254740993::BIGINT) AS total, sum(seed) AS seeds FROM runs WHERE run_id = 'r1'"

    assert filled.query(question).dtypes.tolist() == [float, float]
    assert filled.rows(question).values == [(9007199254740993, 1)]


def test_parameters_are_bound(filled: Store) -> None:
    """Positional, never pasted into the text."""
    assert filled.query("SELECT run_id FROM runs WHERE run_id = ?", ["r2"]).run_id.tolist() == ["r2"]
    assert filled.query("SELECT run_id FROM runs WHERE run_id = $1", ["' OR true --"]).empty


@pytest.mark.parametrize("name", ["a b", "it's", "[x]*?", "comma, here", "ünï", "100%"])
def test_a_store_may_lie_anywhere(tmp_path: Path, name: str) -> None:
    """Spaces, quotes and the characters of patterns in the path are only characters."""
    store = Store(tmp_path / name / "results")
    store.append("r1", whole_run("r1"), day=DAY)

    assert values(store, "SELECT run_id FROM runs JOIN epochs USING (run_id)") == ["r1", "r1"]
    file_of(store, "epochs").write_bytes(b"")
    with pytest.warns(StoreWarning, match="damaged"):
        assert values(store, "SELECT run_id FROM epochs") == []


@pytest.mark.parametrize("day", [DAY, date(2026, 5, 6)])
def test_a_name_that_exists_is_refused_on_any_day(filled: Store, day: date) -> None:
    """Records never change."""
    before = everything(filled.path)

    with pytest.raises(StoreError, match=r"r1\.parquet: exists; expected a name that is new to the store"):
        filled.append("r1", whole_run("r1", seed=7), day=day)

    assert everything(filled.path) == before


def test_a_name_without_runs_that_exists_is_refused(store: Store) -> None:
    """The same for environments and gates."""
    store.append("begin", [row(EnvironmentRow)], day=DAY)

    for rows in ([row(EnvironmentRow)], [row(EnvironmentRow, os="other"), row(RunRow)]):
        with pytest.raises(StoreError, match="exists"):
            store.append("begin", rows, day=DAY)


def test_an_append_that_was_killed_before_its_runs_can_be_repeated(filled: Store) -> None:
    """What it left is the beginning of the same append."""
    file_of(filled, "runs").unlink()
    assert values(filled, "SELECT DISTINCT run_id FROM phases") == ["r2"]

    filled.append("r1", whole_run("r1"), day=DAY)

    assert sorted(values(filled, "SELECT DISTINCT run_id FROM phases")) == ["r1", "r2"]


@pytest.mark.parametrize(
    "sql",
    [
        "INSERT INTO runs SELECT * FROM runs",
        "CREATE TABLE x AS SELECT 1",
        "COPY runs TO '{records}/x.parquet'",
        "EXPLAIN ANALYZE COPY runs TO '{records}/x.parquet'",
        "EXPORT DATABASE '{records}'",
        "ATTACH '{records}/x.duckdb'",
        "INSTALL httpfs",
        "LOAD httpfs",
        "SET threads = 1",
        "PRAGMA enable_profiling",
        "DROP VIEW runs",
        "CALL enable_logging()",
        "SELECT 1; COPY runs TO '{records}/x.parquet'",
        "",
    ],
)
def test_nothing_but_one_select_is_answered(filled: Store, sql: str) -> None:
    """The refusal says what it got, and no file appears."""
    before = everything(filled.path)

    with pytest.raises(StoreError, match="query: got .*; expected one SELECT"):
        filled.query(sql.format(records=filled.path / "records"))

    assert everything(filled.path) == before


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM read_text('/etc/hostname')",
        "SELECT * FROM read_csv('{outside}')",
        "SELECT * FROM '{outside}'",
        "SELECT * FROM glob('*')",
        "SELECT * FROM query('COPY (SELECT 1) TO ''{records}/x''')",
        "SELECT * FROM before",
    ],
)
def test_a_select_reaches_nothing_outside_the_records(filled: Store, sql: str) -> None:
    """Neither other files nor the variables of the program."""
    outside = filled.path.parent / "outside.csv"
    outside.write_text("a\n1\n")
    before = everything(filled.path)

    with pytest.raises(StoreError, match="query: "):
        filled.query(sql.format(outside=outside, records=filled.path / "records"))

    assert everything(filled.path) == before


def test_a_wrong_column_is_named_by_the_error(filled: Store) -> None:
    """DuckDB's own words, and where the columns are listed."""
    with pytest.raises(StoreError, match=r'"trian_clock_s" not found(.|\n)*deadheat schema'):
        filled.query("SELECT trian_clock_s FROM runs")


@pytest.mark.parametrize(
    "ask",
    [
        lambda store: store.query("SELECT * FROM runs"),
        lambda store: store.check(),
        lambda store: store.append("r3", whole_run("r3"), day=DAY),
    ],
)
def test_a_newer_store_is_one_clear_error_and_stays_as_it_is(filled: Store, ask: Any) -> None:
    """Reading, checking and appending alike."""
    (filled.path / "store.json").write_text('{"schema_version": 99}')
    before = everything(filled.path)

    with pytest.raises(StoreError, match=r"store\.json: schema_version: got 99; expected at most 1"):
        ask(filled)

    assert everything(filled.path) == before


def test_a_newer_store_beside_is_the_same_error(filled: Store, tmp_path: Path) -> None:
    """It names the store that is newer, not the one that was asked."""
    (filled.path / "store.json").write_text('{"schema_version": 99}')
    own = Store(tmp_path / "own", beside=[filled.path])

    with pytest.raises(StoreError, match=rf"{filled.path}/store\.json: schema_version: got 99; expected at most 1"):
        own.query("SELECT * FROM runs")


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"schema_version": "x"}', '{"schema_version": null}'])
def test_a_damaged_store_json_is_one_clear_error(filled: Store, text: str) -> None:
    """Nothing is guessed."""
    (filled.path / "store.json").write_text(text)

    with pytest.raises(StoreError, match=r"store\.json: cannot be read"):
        filled.query("SELECT 1")


def test_a_file_in_the_place_of_a_store_is_one_clear_error(tmp_path: Path) -> None:
    """A path that was mistyped."""
    (tmp_path / "file").write_text("")

    for ask in (lambda s: s.query("SELECT 1"), lambda s: s.append("r1", whole_run("r1"), day=DAY)):
        with pytest.raises(StoreError, match="is a file; expected the folder of a store"):
            ask(Store(tmp_path / "file"))


def test_a_healthy_store_has_no_findings(filled: Store) -> None:
    """Neither has an empty one."""
    assert filled.check() == []
    assert Store(filled.path / "nowhere").check() == []


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"runs": {"environment_id": "e9"}}, "environment e9 is not in the store"),
        ({"runs": {"train_clock_s": None}}, "is completed without a train clock or without epochs"),
        ({"runs": {"e2e_clock_s": 2.0}}, "e2e clock 2.0 s is shorter than train clock 3.0 s"),
        ({"runs": {"train_clock_s": 0.0}}, "is completed in a train clock of 0.0 s and an e2e clock of"),
        ({"epochs": {"test_accuracy": 96.5}}, "test accuracy is 96.5"),
        ({"epochs": {"train_loss": float("nan")}}, "is negative or not finite"),
        ({"phases": {"duration_s": -1.0}}, "phase train lasts -1.0 s"),
        ({"measurements": {"value": float("inf")}}, "metric cpu_s is inf"),
    ],
)
def test_check_finds_records_that_contradict(store: Store, changes: dict[str, dict[str, Any]], text: str) -> None:
    """One planted contradiction, one finding that says it."""
    kinds = {TABLES[table]: new for table, new in changes.items()}
    rows = [dataclasses.replace(one, **kinds.get(type(one), {})) for one in whole_run("r1")]
    store.append("r1", rows, day=DAY)

    assert any(text in problem.text for problem in store.check())


def test_check_finds_a_run_without_epochs(store: Store) -> None:
    """A completed run has some."""
    store.append("r1", [one for one in whole_run("r1") if not isinstance(one, EpochRow)], day=DAY)

    assert [problem.place for problem in store.check()] == ["runs r1"]


def test_check_finds_deliveries_that_differ_and_heats_that_are_too_large(store: Store) -> None:
    """A repeat with other content, and more runs than planned."""
    store.append("first", whole_run("r1"), day=DAY)
    store.append("again", whole_run("r1", seed=9), day=DAY)
    store.append("r2", [*whole_run("r2"), row(RunRow, run_id="r3")], day=DAY)

    texts = [problem.text for problem in store.check() if "epochs" not in problem.text]

    assert texts == ["3 runs; expected at most 2", "was delivered 2 times with different content; the first counts"]
