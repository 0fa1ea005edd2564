"""The commands that look into the store, as a person types them."""

from __future__ import annotations

import csv
import io
import json
import math
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from store.commands import app
from store.database import Store, StoreError
from store.metrics import METRICS
from store.parquet import columns
from store.records import PHASES, TABLES
from tests.store.rows import DAY, file_of, whole_run


def ask(store: Store, *arguments: str) -> Result:
    """Return what a command did with the store."""
    return CliRunner().invoke(app, [*arguments, "--store", str(store.path)])


def mistake(result: Result) -> str:
    """Return the message of the error that ended a command."""
    assert isinstance(result.exception, StoreError)
    return str(result.exception)


def test_sql_answers_in_every_format(filled: Store) -> None:
    """The same rows as table, CSV and JSON."""
    query = "select run_id, train_clock_s / 7 as share, message, gc_s is null as missing from runs order by 1"

    table, text, content = (ask(filled, "sql", query, "--format", form).stdout for form in ("table", "csv", "json"))

    assert [line.split() for line in table.splitlines() if "r1" in line] == [["r1", "0.428571", "text", "false"]]
    assert text == "run_id,share,message,missing\n" + "".join(f"r{n},{3.0 / 7!r},text,false\n" for n in (1, 2))
    assert json.loads(content)[1] == {"run_id": "r2", "share": 3.0 / 7, "message": "text", "missing": False}


def test_csv_and_json_lose_nothing(filled: Store) -> None:
    """Large integers, all digits of a float, line breaks, quotes, lists, moments, and numbers that JSON lacks."""
    query = """select 9007199254740993 as n, 0.1::double + 0.2::double as f, 'a,"b"
    c' as t, [1, null] as l, max(started_at) as m, 'nan'::double as x, 1.50 as d, sum(170141183460469231731::hugeint)
    as h, null as z from runs"""

    (line,) = csv.DictReader(io.StringIO(ask(filled, "sql", query, "--format", "csv").stdout))
    (row,) = json.loads(ask(filled, "sql", query, "--format", "json").stdout)

    assert (line["n"], line["t"], line["l"]) == ("9007199254740993", 'a,"b"\n    c', "[1, null]")
    assert float(line["f"]) == 0.1 + 0.2
    assert line["m"] == row["m"] == "2026-01-02T03:04:05.678901+00:00"
    assert (row["n"], row["f"], row["l"], row["x"]) == (9007199254740993, 0.1 + 0.2, [1, None], "NaN")
    assert (row["d"], row["h"], row["z"], line["z"]) == (1.5, 2 * 170141183460469231731, None, "")
    assert math.isnan(float(line["x"]))


def test_a_long_table_is_not_cut_when_piped(filled: Store) -> None:
    """Every character of every cell is there, on one line."""
    wide = ask(filled, "sql", "select repeat('x', 500) as a, repeat('y', 500) as b").stdout

    assert any("x" * 500 in line and "y" * 500 in line for line in wide.splitlines())


def test_markup_and_escapes_in_a_cell_are_only_text(filled: Store) -> None:
    """A runner's message cannot colour the terminal."""
    shown = ask(filled, "sql", "select '[red]' || chr(27) || '[2J' as message").stdout

    assert "[red]␛[2J" in shown


def test_sql_refuses_to_write(filled: Store) -> None:
    """An error of ours, which ends the command line with 2."""
    result = ask(filled, "sql", "insert into runs select * from runs")

    assert mistake(result).startswith("query: got INSERT; expected one SELECT")


@pytest.mark.parametrize(
    "arguments", [("sql", "select * from runs"), ("runs",), ("check",), ("sql", "select 1", "--format", "csv")]
)
def test_an_empty_store_is_a_sentence_and_no_failure(store: Store, arguments: tuple[str, ...]) -> None:
    """It says what fills it."""
    result = ask(store, *arguments)

    assert result.exit_code == 0
    assert "holds no records yet: 'deadheat run' fills it" in result.stderr


def test_the_environment_names_the_store(filled: Store) -> None:
    """DEADHEAT_STORE, where --store is not given."""
    arguments = ["sql", "select count(*) as n from runs", "--format", "csv"]

    result = CliRunner().invoke(app, arguments, env={"DEADHEAT_STORE": str(filled.path)})

    assert result.stdout == "n\n2\n"


def test_runs_are_listed_newest_first_and_filtered(store: Store) -> None:
    """By workload, runner and ending; at most as many as asked for."""
    for run_id, runner, status in (("a", "x", "completed"), ("b", "y", "crashed"), ("c", "y", "completed")):
        store.append(run_id, whole_run(run_id, runner=runner, status=status), day=DAY)

    def listed(*arguments: str) -> list[str]:
        return [row["run_id"] for row in json.loads(ask(store, "runs", "--format", "json", *arguments).stdout)]

    assert listed() == ["a", "b", "c"]
    assert listed("--limit", "2") == ["a", "b"]
    assert listed("--runner", "y") == ["b", "c"]
    assert listed("--runner", "y", "--status", "completed") == ["c"]
    assert listed("--workload", "nothing") == []
    assert ask(store, "runs", "--workload", "nothing").stdout == "No run matches.\n"


def test_an_ending_that_does_not_exist_is_named(filled: Store) -> None:
    """With those that do."""
    assert "--status: got 'done'; expected one of completed, " in mistake(ask(filled, "runs", "--status", "done"))


def test_show_tells_everything_about_a_run(filled: Store) -> None:
    """Facts with their units, phases, epochs, measurements, and where the raw files are."""
    raw = filled.raw_folder("text", "r1")
    raw.mkdir(parents=True)
    (raw / "log.txt").write_text("hello")

    text = ask(filled, "show", "r1").stdout
    content = json.loads(ask(filled, "show", "r1", "--format", "json").stdout)

    assert ["train_clock_s", "3", "s"] in [line.split() for line in text.splitlines()]
    assert f"raw files in {raw}:\n  log.txt\n" in text
    assert {name: len(rows) for name, rows in content.items() if isinstance(rows, list)} == {
        "runs": 1,
        "environments": 1,
        "phases": 3,
        "epochs": 2,
        "measurements": 1,
        "raw_files": 1,
    }


def test_show_accepts_the_beginning_of_an_id(store: Store) -> None:
    """If only one run begins so, or one is exactly so."""
    for run_id in ("ab", "abc", "xyz"):
        store.append(run_id, whole_run(run_id), day=DAY)

    def shown(beginning: str) -> str:
        return json.loads(ask(store, "show", beginning, "--format", "json").stdout)["runs"][0]["run_id"]

    assert [shown("x"), shown("abc"), shown("ab")] == ["xyz", "abc", "ab"]
    assert "several runs begin with 'a': ab, abc. Give more of the id." in mistake(ask(store, "show", "a"))
    assert "no run begins with '%'" in mistake(ask(store, "show", "%"))


@pytest.mark.parametrize("table", [*TABLES, "counted_runs", "latest_gates"])
def test_schema_documents_every_column(table: str) -> None:
    """Name, type, unit and a description."""
    rows = json.loads(CliRunner().invoke(app, ["schema", table, "--format", "json"]).stdout)

    base = {"counted_runs": "runs", "latest_gates": "gates"}.get(table, table)
    assert [row["column"] for row in rows] == [column.name for column in columns(base)]
    assert all(row["description"] for row in rows)


def test_schema_lists_tables_views_and_metrics() -> None:
    """Each with a sentence; a name that is none of them is named."""
    rows = json.loads(CliRunner().invoke(app, ["schema", "--format", "json"]).stdout)

    assert {row["name"] for row in rows} == {*TABLES, "counted_runs", "latest_gates", "metrics"}
    assert all(row["description"] and not row["description"].startswith("-") for row in rows)
    result = CliRunner().invoke(app, ["schema", "rnus"])
    assert "schema: got 'rnus'; expected one of environments, runs" in mistake(result)


def test_check_ends_with_1_and_names_what_it_found(filled: Store) -> None:
    """And with 0 when there is nothing."""
    healthy = ask(filled, "check")
    file_of(filled, "epochs").write_bytes(b"")

    damaged = ask(filled, "check")

    assert (healthy.exit_code, damaged.exit_code) == (0, 1)
    assert "records/epochs/day=2026-01-02/r1.parquet: is damaged" in damaged.stdout


@pytest.mark.parametrize("name", METRICS)
def test_the_name_of_a_metric_says_its_unit(name: str) -> None:
    """Rates end in _per_s, durations in _s or _s_per_epoch, sizes in _bytes; all else is a number."""
    units = {"_per_s": "1/s", "_s": "s", "_s_per_epoch": "s", "_bytes": "B"}

    unit = next((unit for ending, unit in units.items() if name.endswith(ending)), "1")

    assert METRICS[name].unit == unit
    assert METRICS[name].description


def test_every_phase_has_a_metric() -> None:
    """So that its duration can be asked for like any other number."""
    assert {f"{phase}_phase_s" for phase in PHASES} <= METRICS.keys()


def test_the_views_file_is_where_the_documentation_says(filled: Store) -> None:
    """Beside the records, for `duckdb -init views.sql`."""
    assert Path(filled.path / "views.sql").read_text().startswith("-- The views of this store for any DuckDB")


@pytest.mark.parametrize("query", ["select 1 as x, 2 as x", "select 1 as x, 2 as x, 3 as x_2"])
def test_no_column_of_an_answer_is_lost(store: Store, query: str) -> None:
    """Of equal names the later ones are numbered."""
    (row,) = json.loads(ask(store, "sql", query, "--format", "json").stdout)

    assert sorted(row.values()) == list(range(1, len(row) + 1))
    assert len(row) == query.count(" as ")


@pytest.mark.parametrize("moment", ["'infinity'::timestamp", "date '290000-01-01'", "'-infinity'::timestamptz"])
def test_a_moment_beyond_python_is_named_with_a_remedy(store: Store, moment: str) -> None:
    """No traceback; as text it is shown."""
    with pytest.raises(StoreError, match="beyond the years 1 to 9999.*CAST"):
        store.rows(f"select {moment} as t")

    assert store.rows(f"select cast({moment} as varchar) as t").values
