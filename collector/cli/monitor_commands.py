"""The command `deadheat monitor`: what UnixStats and psrecord do, for any process tree."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import IO, Annotated

import typer
from rich.console import Console

from collector.monitor.output import (
    Form,
    Keeper,
    LineWriter,
    ParquetWriter,
    Rows,
    UnixStatsWriter,
    Writer,
    form_of,
    opened,
)
from collector.monitor.plot import Plot
from collector.monitor.target import MonitorError, Watched, find_name, find_pid, watched_command, watched_process
from collector.monitor.unixstats import ROWS_PER_S, VIDEO_RAM_MIB
from collector.monitor.view import Screen
from collector.monitor.watch import Schedule, Tick, Totals, reap, watch
from store.output import PIPE_WIDTH

PERIOD_S = 0.1
STDERR = 2
DRAIN_S = 1.0  # for the last lines of a command; what it left behind may hold its output open
COMPAT_LABEL = (
    f"UnixStats format: elapsed is the number of the row / {ROWS_PER_S}, cpu the machine's average since boot, ram the "
    f"whole machine's memory, gpu the first device's load, video_ram a percentage of {VIDEO_RAM_MIB} MiB whatever the "
    "device has, 0 also where nothing can be read. For what the processes really use: --format csv."
)

monitor_app = typer.Typer()


class Compat(StrEnum):
    """Tools whose files can be written."""

    UNIXSTATS = "unixstats"


class Scope(StrEnum):
    """What the readings that are written are of."""

    RUN = "run"
    ALL = "all"


@monitor_app.command()
def monitor(  # noqa: PLR0913 - one parameter per option
    command: Annotated[
        list[str] | None, typer.Argument(metavar="[-- COMMAND...]", help="Start this and watch it to its end.")
    ] = None,
    *,
    process: Annotated[str, typer.Option("--process", help="Watch the process of this name.")] = "",
    pid: Annotated[int | None, typer.Option("--pid", min=1, help="Watch the process with this id.")] = None,
    duration: Annotated[
        float | None, typer.Option(min=0, help="Seconds to watch; until the process ends when not given.")
    ] = None,
    period: Annotated[float | None, typer.Option(min=0.01, max=3600, help="Seconds between readings; 0.1.")] = None,
    rate: Annotated[float | None, typer.Option(min=0.001, max=100, help="Readings per second; 10.")] = None,
    form: Annotated[Form | None, typer.Option("--format", help="How readings are written; pretty, for people.")] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write the readings to this file.")] = None,
    plot: Annotated[Path | None, typer.Option("--plot", help="Draw the curves to this SVG file at the end.")] = None,
    scope: Annotated[
        Scope, typer.Option(help="Write the readings of the processes alone, or of machine and GPUs too.")
    ] = Scope.RUN,
    compat: Annotated[
        Compat | None, typer.Option(help="Write this tool's format instead, with all that is wrong in it.")
    ] = None,
) -> None:
    """Watch CPU, memory and GPU of a process and all its descendants.

    A command's exit code is passed on; after --duration it runs on, unwatched. Ctrl-C ends both, with exit code 130.

    Example: deadheat monitor --process beam.smp --duration 60

    Example: deadheat monitor --output readings.csv --plot curves.svg -- python train.py
    """
    if plot and plot.suffix != ".svg":
        raise MonitorError(f"--plot {plot}: '{plot.suffix}' is no format of a picture here; expected .svg. Rename it.")
    wanted = Wanted(
        schedule=Schedule(period_s=_period_s(period, rate, compat), duration_s=duration),
        form=_form(form, output, compat),
        output=output,
        plot=plot,
        everything=scope is Scope.ALL,
        compat=compat is not None,
    )
    target = _target(command or [], process, pid)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ended by 'timeout', say: as by Ctrl-C
    exit_code = _monitor(target, wanted, Session.of(wanted, is_command=bool(command)))
    raise typer.Exit(exit_code)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What was asked for, verified."""

    schedule: Schedule
    form: Form
    output: Path | None
    plot: Path | None
    everything: bool
    compat: bool

    @property
    def takes_stdout(self) -> bool:
        """Whether standard output is for readings alone."""
        return self.output is None and (self.compat or self.form is not Form.PRETTY)


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """Where people read along, and where a command's own output goes."""

    console: Console
    live: bool
    child_stdout: int | None
    child_stderr: int | None

    @classmethod
    def of(cls, wanted: Wanted, *, is_command: bool) -> Session:
        """Return the session: a command's output stays its own, so the figures go beside it, to standard error."""
        to_stderr = is_command or wanted.takes_stdout
        on_terminal = (sys.stderr if to_stderr else sys.stdout).isatty()
        live = on_terminal and not wanted.takes_stdout
        piped = subprocess.PIPE if live else None  # else the command would write into the midst of the figures
        return cls(
            console=Console(stderr=to_stderr, width=None if on_terminal else PIPE_WIDTH, highlight=False),
            live=live,
            child_stdout=STDERR if wanted.takes_stdout else piped if sys.stdout.isatty() else None,
            child_stderr=piped if sys.stderr.isatty() else None,
        )


Target = Callable[[Wanted, Session], AbstractContextManager[Watched]]


def _target(command: Sequence[str], process: str, pid: int | None) -> Target:
    """Return what opens the one thing that was asked for."""
    given = [name for name, value in {"--process": process, "--pid": pid, "-- COMMAND": command}.items() if value]
    if len(given) != 1:
        raise MonitorError(
            f"monitor: got {' and '.join(given) or 'nothing to watch'}; expected one of --process, --pid and "
            "-- COMMAND. See deadheat monitor --help."
        )
    if command:
        return lambda wanted, session: watched_command(
            command, machine=wanted.everything, stdout=session.child_stdout, stderr=session.child_stderr
        )
    found = find_name(process) if process else find_pid(pid or 0)
    return lambda wanted, _: watched_process(found, machine=wanted.everything)


def _period_s(period: float | None, rate: float | None, compat: Compat | None) -> float:
    if period is not None and rate is not None:
        raise MonitorError(
            f"monitor: got --period {period:g} and --rate {rate:g}; expected one of them. Leave one out."
        )
    period_s = period or (1 / rate if rate else PERIOD_S)
    if compat and abs(period_s * ROWS_PER_S - 1) > 1e-9:
        raise MonitorError(
            f"--compat {compat}: got a reading every {period_s:g} s; expected {1 / ROWS_PER_S:g} s, because the format "
            "counts rows for a clock. Leave --period and --rate out."
        )
    return period_s


def _form(form: Form | None, output: Path | None, compat: Compat | None) -> Form:
    if compat and form:
        raise MonitorError(f"--compat {compat}: is a format; got --format {form} too. Leave one out.")
    return Form.PRETTY if compat else form_of(form, output)


def _monitor(target: Target, wanted: Wanted, session: Session) -> int:
    """Watch to the end, write what there is, and return the exit code."""
    if wanted.compat:
        session.console.print(COMPAT_LABEL)
    lost: list[str] = []
    with opened(wanted.output) as file, opened(wanted.plot):  # now, so that nothing is measured in vain
        try:
            with target(wanted, session) as watched:
                exit_code = _watch(watched, session, wanted, [Keeper(w, lost) for w in _writers(watched, wanted, file)])
        except KeyboardInterrupt:
            session.console.print("interrupted; what was read until then is written")
            exit_code = 130
    if lost:
        raise MonitorError("; ".join(lost))
    return exit_code


def _writers(watched: Watched, wanted: Wanted, file: IO[str]) -> Iterator[Writer]:
    rows = Rows(f"pid-{watched.pid}", watched.start_ns, everything=wanted.everything)
    if wanted.compat:
        yield UnixStatsWriter(file)
    elif wanted.form is Form.PARQUET and wanted.output:
        yield ParquetWriter(rows, wanted.output)
    elif wanted.form is not Form.PRETTY:
        yield LineWriter(rows, file, wanted.form)
    if wanted.plot:
        yield Plot(wanted.plot, watched.label)


def _watch(watched: Watched, session: Session, wanted: Wanted, keepers: Sequence[Keeper]) -> int:
    totals = Totals()
    if watched.child:
        totals.begin_at_zero()
    screen = Screen(session.console, watched, totals, live=session.live)

    def take(tick: Tick) -> None:
        totals.add(tick)
        screen.add(tick)
        for keeper in keepers:
            keeper.add(tick)

    threads = screen.print_lines_of(watched.child) if watched.child else []
    try:
        with screen.shown():
            watch(watched, wanted.schedule, take)
    finally:
        for keeper in keepers:
            keeper.close()
    return _exit_code(watched.child, threads) if watched.child else 0


def _exit_code(child: subprocess.Popen[bytes], threads: Sequence[threading.Thread]) -> int:
    """Return a command's exit code as a shell gives it; wait for it where the watching ended before."""
    if child.returncode is None:
        reap(child)
    for thread in threads:
        thread.join(timeout=DRAIN_S)
    return child.returncode if child.returncode >= 0 else 128 - child.returncode
