"""The command `deadheat doctor`: what this machine allows, what is wrong with it, and setting it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import astuple, fields
from typing import Annotated

import typer

from collector.machine.doctor import Fact, Place, examine
from collector.machine.tuning import list_knobs, record_path, restore, tune
from store.commands import FormatOption
from store.database import Rows
from store.output import Format, write_rows

doctor_app = typer.Typer()


@doctor_app.command()
def doctor(
    form: FormatOption = Format.TABLE,
    *,
    tuned: Annotated[
        bool, typer.Option("--tune", help="Set governor, turbo, ASLR and GPUs as far as allowed; root may.")
    ] = False,
    restored: Annotated[bool, typer.Option("--restore", help="Put back what --tune has set.")] = False,
) -> None:
    """Say what this machine allows and what is wrong with it for measuring; exit code 1 with findings.

    Example: deadheat doctor

    Example: sudo deadheat doctor --tune
    """
    if tuned and restored:
        raise typer.BadParameter("give --tune or --restore, not both")
    if tuned or restored:
        knobs, record = list_knobs(), record_path()
        done = _told(restore(knobs, record) if restored else tune(knobs, record))
        if tuned:
            typer.echo(f"what it was: {record}; deadheat doctor --restore puts it back")
        raise typer.Exit(0 if done else 1)
    facts = examine(Place())
    write_rows(Rows([field.name for field in fields(Fact)], [astuple(fact) for fact in facts]), form)
    raise typer.Exit(1 if any(fact.finding for fact in facts) else 0)


def _told(lines: Iterable[tuple[bool, str]]) -> bool:
    """Print each line as it is done, and return whether all could be done."""
    all_done = True
    for done, text in lines:
        typer.echo(text)
        all_done = all_done and done
    return all_done
