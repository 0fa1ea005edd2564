"""The one command line: mounts the commands of the three packages; nothing else."""

from __future__ import annotations

import errno
import io
import sys
import warnings
from typing import TextIO

import typer
from rich.console import Console

from analysis.commands import app as analysis_app
from collector.cli.main import app as collector_app
from collector.run.launch import InterruptedCollectionError
from store.commands import app as store_app
from store.errors import DeadheatError, StoreWarning

app = typer.Typer(
    name="deadheat",
    help="How fast does the same network train in Julia, Elixir and Python? Start with: deadheat run demo",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
for part in (collector_app, store_app, analysis_app):
    app.registered_commands += part.registered_commands
    app.registered_groups += part.registered_groups


def main() -> None:
    """Run the command line. Wrong input ends with 2, an interruption with 130, both without a traceback."""
    warnings.showwarning = _show_warning
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal that has no "×" shows another sign in its place
    try:
        app()
    except DeadheatError as mistake:  # any other is a mistake of the program: the traceback is wanted
        _end(f"error: {mistake}", 2)
    except (KeyboardInterrupt, InterruptedCollectionError):
        _end("interrupted; what was complete is stored. The same command goes on where it stopped.", 130)
    except OSError as reason:
        if reason.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        _end(f"error: {reason.filename or 'disk'}: the disk is full; what was complete is stored. Make room, then "
             "run the same command again.", 2)  # fmt: skip


def _end(message: str, code: int) -> None:
    Console(stderr=True).print(message, highlight=False, markup=False, soft_wrap=True)
    sys.exit(code)


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    if issubclass(category, StoreWarning):
        Console(stderr=True).print(f"warning: {message}", highlight=False, markup=False, soft_wrap=True)


if __name__ == "__main__":
    main()
