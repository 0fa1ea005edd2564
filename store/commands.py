"""Commands that look into the store."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from store import view
from store.database import Rows, Store, StoreError
from store.definition import person_path
from store.metrics import METRICS
from store.output import Format, json_text, records, write_rows, write_table
from store.parquet import columns
from store.records import STATUSES, TABLES
from store.snapshot import SNAPSHOTS, read_snapshots

app = typer.Typer(no_args_is_help=True, help="Look into the store.")

StorePath = Annotated[
    Path,
    typer.Option("--store", envvar="DEADHEAT_STORE", metavar="PATH", parser=person_path, help="The store's folder."),
]
FormatOption = Annotated[Format, typer.Option("--format", help="How the answer is written.")]
DEFAULT_STORE = Path("results")
PARTS = {
    "runs": "SELECT * FROM runs WHERE run_id = $1",
    "environments": "FROM environments SEMI JOIN (SELECT * FROM runs WHERE run_id = $1) USING (environment_id)",
    "phases": "SELECT * EXCLUDE (run_id) FROM phases WHERE run_id = $1 ORDER BY start_s",
    "epochs": "SELECT * EXCLUDE (run_id) FROM epochs WHERE run_id = $1 ORDER BY epoch",
    "measurements": "SELECT metric, value FROM measurements WHERE run_id = $1 ORDER BY metric",
}
VIEWS_LIKE = {"counted_runs": "runs", "latest_gates": "gates"}
LIST_RUNS = """
SELECT run_id, started_at, workload, runner || ':' || variant AS entry, status, train_clock_s, e2e_clock_s, message
FROM runs
WHERE coalesce(workload = $1, true) AND coalesce(runner = $2, true) AND coalesce(status = $3, true)
ORDER BY started_at DESC, run_id
LIMIT $4
"""


@app.command()
def sql(
    query: Annotated[str, typer.Argument(help="One SELECT over the views; `deadheat schema` lists them.")],
    form: FormatOption = Format.TABLE,
    store: StorePath = DEFAULT_STORE,
) -> None:
    """Answer one SELECT.

    Example: deadheat sql "select runner, count(*) from runs group by 1"
    """
    write_rows(open_store(store).rows(query), form)


@app.command()
def runs(
    workload: Annotated[str | None, typer.Option(help="Only this workload.")] = None,
    runner: Annotated[str | None, typer.Option(help="Only this runner.")] = None,
    status: Annotated[str | None, typer.Option(help=f"Only this ending: {', '.join(STATUSES)}.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many, the newest first.")] = 20,
    form: FormatOption = Format.TABLE,
    store: StorePath = DEFAULT_STORE,
) -> None:
    """List runs, the newest first.

    Example: deadheat runs --workload mnist_mlp --status completed
    """
    if status is not None and status not in STATUSES:
        raise StoreError(f"--status: got {status!r}; expected one of {', '.join(STATUSES)}. Correct the name.")
    opened = open_store(store)
    found = opened.rows(LIST_RUNS, [workload, runner, status, limit])
    if found.values or form is not Format.TABLE:
        write_rows(found, form)
    elif not opened.is_empty():
        typer.echo("No run matches.")


@app.command()
def show(
    run: Annotated[str, typer.Argument(help="A run's id, or how it begins.")],
    form: Annotated[Format, typer.Option("--format", help="table or json.")] = Format.TABLE,
    store: StorePath = DEFAULT_STORE,
) -> None:
    """Show everything about one run.

    Example: deadheat show 3f9c
    """
    if form is Format.CSV:
        raise StoreError("--format: got csv; expected table or json, because a run is several tables. Choose one.")
    opened = open_store(store)
    run_id = find_run(opened, run)
    parts = {name: opened.rows(question, [run_id]) for name, question in PARTS.items()}
    raw = opened.raw_folder(records(parts["runs"])[0]["campaign_id"], run_id)
    if form is Format.JSON:
        content = {name: records(rows) for name, rows in parts.items()}
        sys.stdout.write(json_text({**content, "raw_folder": str(raw), "raw_files": _files(raw)}))
        return
    for name, rows in parts.items():
        _write_part(name, rows)
    typer.echo("\n".join([f"raw files in {raw}:", *(f"  {name}" for name in _files(raw) or ["none"])]))


@app.command()
def schema(
    table: Annotated[str | None, typer.Argument(help="A table, a view, or 'metrics'.")] = None,
    form: FormatOption = Format.TABLE,
) -> None:
    """List the tables and views, or the columns of one with their units.

    Example: deadheat schema runs
    """
    write_rows(_overview() if table is None else _columns(table), form)


@app.command()
def check(store: StorePath = DEFAULT_STORE) -> None:
    """Look for damaged files and for records that contradict each other; exit code 1 with findings.

    Example: deadheat check --store results
    """
    opened = open_store(store)
    problems = opened.check()
    for problem in problems:
        typer.echo(f"{problem.place}: {problem.text}")
    if problems:
        typer.echo(f"{len(problems)} findings in {store}.", err=True)
        raise typer.Exit(1)
    if not opened.is_empty():
        typer.echo(f"No findings in {store}.")


@app.command()
def export(
    folder: Annotated[Path, typer.Argument(help="A new folder; its name is the snapshot's.")],
    title: Annotated[str, typer.Option(help="What was measured, in words.")],
    campaign: Annotated[list[str] | None, typer.Option(help="Only this campaign; may be repeated.")] = None,
    store: StorePath = DEFAULT_STORE,
) -> None:
    """Write a small copy of a store for others: no raw files, no machine's name, fewer readings.

    Example: deadheat export store/snapshots/laptop --title "Julia, Elixir and Python on a laptop" --store results
    """
    from store.export import export as write_export

    about = write_export(open_store(store), folder, title=title, campaigns=campaign or [])
    size_bytes = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    typer.echo(f"{folder}: {about.runs} runs of {', '.join(about.campaigns)}, {size_bytes / 1e6:.2f} MB")
    typer.echo(f"Left out: {'; '.join(about.left_out)}. Look at it: deadheat runs --store {folder}")


def find_run(store: Store, beginning: str) -> str:
    """Return the id of the one run whose id begins so.

    Raises
    ------
    StoreError
        If no run does, or several do.
    """
    question = "SELECT run_id FROM runs WHERE starts_with(run_id, $1) ORDER BY run_id = $1 DESC, run_id LIMIT 6"
    found = [run_id for (run_id,) in store.rows(question, [beginning]).values]
    if len(found) == 1 or beginning in found:
        return str(found[0])
    if not found:
        raise StoreError(f"{store.path}: no run begins with {beginning!r}. 'deadheat runs' lists the runs.")
    listed = ", ".join(found[:5]) + (" ..." if len(found) > 5 else "")
    raise StoreError(f"{store.path}: several runs begin with {beginning!r}: {listed}. Give more of the id.")


def open_store(path: Path) -> Store:
    """Return the store, and say so where it is empty, with what can be looked at meanwhile."""
    store = Store(path)
    if store.is_empty():
        typer.echo(f"The store {path} holds no records yet: 'deadheat run' fills it.", err=True)
        for snapshot in read_snapshots():
            typer.echo(f"Measured elsewhere ({snapshot.title}): --store {SNAPSHOTS / snapshot.name}", err=True)
    return store


def _files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def _write_part(name: str, rows: Rows) -> None:
    """Write the rows about a run; those of one row, which are wide, as one line per column."""
    if name not in ("runs", "environments"):
        write_table(rows, name)
        return
    units = {column.name: column.unit for column in columns(name)}
    for row in records(rows):
        lines = [(key, value, units[key]) for key, value in row.items() if value not in (None, "")]
        write_table(Rows(["column", "value", "unit"], lines), name)


def _overview() -> Rows:
    tables = [(name, "table", _first_line(kind.__doc__ or "")) for name, kind in TABLES.items()]
    views = [(name, "view", _first_line(text)) for name, text in view.VIEWS.items() if name in VIEWS_LIKE]
    return Rows(["name", "kind", "description"], [*tables, *views, ("metrics", "list", "The names in measurements.")])


def _first_line(text: str) -> str:
    return text.strip().splitlines()[0].removeprefix("-- ")


def _columns(name: str) -> Rows:
    """Return the documented columns of a table, or the metrics."""
    if name == "metrics":
        lines = [(metric, m.unit, m.better, m.description) for metric, m in METRICS.items()]
        return Rows(["metric", "unit", "better", "description"], lines)
    table = VIEWS_LIKE.get(name, name)
    if table not in TABLES:
        known = ", ".join([*TABLES, *VIEWS_LIKE, "metrics"])
        raise StoreError(f"schema: got {name!r}; expected one of {known}. Correct the name.")
    return Rows(
        ["column", "type", "unit", "description"],
        [(c.name, c.type.__name__ + (" or null" if c.optional else ""), c.unit, c.doc) for c in columns(table)],
    )
