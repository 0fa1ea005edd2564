"""The commands `deadheat import`: bring in what others measured, as published records."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from collector.monitor.unixstats import Curves, published_rows, read_curves, suspicions
from store.commands import DEFAULT_STORE, StorePath
from store.database import Store

import_app = typer.Typer(no_args_is_help=True)


@import_app.callback()
def imports() -> None:
    """Bring in what others measured. Example: deadheat import unixstats measurements/*.txt."""


@import_app.command()
def unixstats(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Files that UnixStats wrote.")],
    study: Annotated[str, typer.Option(help="The study that the files belong to.")] = "UnixStats",
    system: Annotated[str, typer.Option(help="What was measured; the process in the file's name when not given.")] = "",
    workload: Annotated[str, typer.Option(help="The study's workload.")] = "",
    skip_damaged: Annotated[
        bool, typer.Option("--skip-damaged", help="Leave out lines that cannot be read, and say so in `suspicion`.")
    ] = False,
    store: StorePath = DEFAULT_STORE,
) -> None:
    """Store the curves of UnixStats files as published records, and point out what is wrong in them.

    A file that is in the store already is recognised by its content.

    Example: deadheat import unixstats --study paper --workload mnist beam_smp_20220423_214830.txt
    """
    records = Store(store.resolve())
    read = [read_curves(file, skip_damaged=skip_damaged) for file in files]  # all of them before one is stored
    for file, curves in zip(files, read, strict=True):
        if place := _place_of(records, curves):
            typer.echo(f"{file}: is in the store already, as {place}; nothing to do")
            continue
        rows = published_rows(curves, study=study, system=system, workload=workload)
        records.append(f"unixstats-{curves.sha256[:16]}", rows, day=datetime.now(UTC).date())
        span_s = curves.points[-1].elapsed_s
        typer.echo(f"{file}: {len(curves.points)} rows until {span_s:g} s, {len(rows)} published numbers stored")
        for text in suspicions(curves).values():
            for doubt in text.split("; "):
                typer.echo(f"  {doubt}")
    typer.echo(f"Records: {store}. Next: deadheat sql \"select * from published where study = '{study}'\"")


def _place_of(store: Store, curves: Curves) -> str:
    """Return where in the store the same content is, or an empty text."""
    found = store.rows("SELECT place FROM published WHERE contains(conditions, $1) LIMIT 1", [curves.sha256]).values
    return str(found[0][0]) if found else ""
