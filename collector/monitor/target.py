"""What `deadheat monitor` watches: a process that runs already, found by id or name, or a command that it starts."""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import subprocess
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import psutil

from collector.telemetry import Source
from collector.telemetry.cgroup import run_group
from collector.telemetry.choice import RunTarget, open_sources, pids_of
from collector.telemetry.machine import MachineSource
from collector.telemetry.nvml import NvmlSource
from collector.telemetry.rapl import RaplSource
from store.errors import DeadheatError

GRACE_S = 2.0  # after Ctrl-C, for a command that the terminal has told of it too
END_S = 5.0  # after SIGTERM
COMMAND_WIDTH = 100
CANNOT_READ = "expected one whose /proc entry this user may read. Run it as that user, or as root."


class MonitorError(DeadheatError):
    """Something that cannot be watched, or cannot be watched as asked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """What is watched: a process with its descendants, and the sources that read it."""

    pid: int
    label: str
    sources: Sequence[Source]
    read_pids: Callable[[], Collection[int]]
    start_ns: int  # CLOCK_MONOTONIC when the watching began, or the command was spawned
    child: subprocess.Popen[bytes] | None = None  # of a command


@contextlib.contextmanager
def watched_process(process: psutil.Process, *, machine: bool = False) -> Iterator[Watched]:
    """Open the sources for a process that runs already; those of the whole machine too where `machine` is set."""
    label = command_line(process)
    with _opened(RunTarget(pid=process.pid), machine=machine) as (sources, pids):
        yield Watched(pid=process.pid, label=label, sources=sources, read_pids=pids, start_ns=time.monotonic_ns())


@contextlib.contextmanager
def watched_command(
    command: Sequence[str],
    *,
    machine: bool = False,
    stdout: int | IO[str] | None = None,
    stderr: int | IO[str] | None = None,
) -> Iterator[Watched]:
    """Start a command in a group of its own where the machine allows it, and end what is left of it afterwards.

    Raises
    ------
    MonitorError
        If there is no such program, or it cannot be executed.
    """
    if shutil.which(command[0]) is None:
        raise MonitorError(
            f"{command[0]}: is no program that can be started; expected one on the PATH or a path of one. Correct it."
        )
    with run_group() as group:
        start_ns = time.monotonic_ns()
        try:
            child = subprocess.Popen(group.enclose(command), stdout=stdout, stderr=stderr)
        except OSError as reason:
            raise MonitorError(
                f"{command[0]}: cannot be executed ({reason.strerror}); expected a program, or a script whose first "
                "line names its interpreter. Correct it."
            ) from None
        label = one_line(shlex.join(command))
        try:
            with _opened(RunTarget(pid=child.pid, group=group), machine=machine) as (sources, pids):
                yield Watched(
                    pid=child.pid, label=label, sources=sources, read_pids=pids, start_ns=start_ns, child=child
                )
        finally:
            end_command(child)


@contextlib.contextmanager
def _opened(target: RunTarget, *, machine: bool) -> Iterator[tuple[list[Source], Callable[[], Collection[int]]]]:
    pids = pids_of(target)
    with contextlib.ExitStack() as stack:
        sources = [*open_sources(target), NvmlSource(pids), *((MachineSource(), RaplSource()) if machine else ())]
        for source in sources:
            stack.callback(source.close)
        yield sources, pids


def end_command(child: subprocess.Popen[bytes]) -> None:
    """End a command and its descendants that still run; those that Ctrl-C reached have a moment for it themselves."""
    if child.returncode is not None:
        return
    with contextlib.suppress(psutil.Error):
        family = [psutil.Process(child.pid), *psutil.Process(child.pid).children(recursive=True)]
        for end, patience_s in (("", GRACE_S), ("terminate", END_S), ("kill", END_S)):
            for process in family:
                with contextlib.suppress(psutil.Error):
                    if end:
                        getattr(process, end)()
            _, family = psutil.wait_procs(family, timeout=patience_s)
            if not family:
                break
    child.poll()


def find_pid(pid: int) -> psutil.Process:
    """Return the process with this id.

    Raises
    ------
    MonitorError
        If there is none, it has ended, or it may not be read.
    """
    try:
        process = psutil.Process(pid)
        has_ended = process.status() == psutil.STATUS_ZOMBIE
        process.cpu_times()
    except (psutil.Error, ValueError, OverflowError) as reason:
        if isinstance(reason, psutil.AccessDenied) or _is_hidden(pid):
            raise MonitorError(f"--pid {pid}: may not be read; {CANNOT_READ}") from None
        raise MonitorError(
            f"--pid {pid}: there is no such process; expected one that runs. 'pgrep -a NAME' lists the ids of a name."
        ) from None
    if has_ended:
        raise MonitorError(f"--pid {pid}: has ended, only its exit code is left; expected one that runs. Find it anew.")
    return process


def _is_hidden(pid: int) -> bool:
    """Whether there is a process of somebody else that /proc does not show (its option hidepid)."""
    with contextlib.suppress(ProcessLookupError, OverflowError):
        try:
            os.kill(pid, 0)
        except PermissionError:
            return True
    return False


def find_name(name: str) -> psutil.Process:
    """Return the process of this name, the topmost one where it has children of the same name.

    Raises
    ------
    MonitorError
        If there is none, or several that are not each other's descendants.
    """
    own = {os.getpid(), *(parent.pid for parent in psutil.Process().parents())}
    found = {p.pid: p for p in psutil.process_iter() if p.pid not in own and _is_named(p, name)}
    roots = [process for process in found.values() if not _descends(process, found.keys())]
    if not roots:
        raise MonitorError(
            f"--process {name}: no process has this name; expected one that runs. Start it first, see 'ps -e' for the "
            f"names, or let deadheat start it: deadheat monitor -- {name} ..."
        )
    if len(roots) > 1:
        listed = "".join(f"\n  {process.pid:>8}  {command_line(process)}" for process in roots)
        raise MonitorError(
            f"--process {name}: {len(roots)} processes have this name; expected one, with its descendants. "
            f"Choose by --pid:{listed}"
        )
    return find_pid(roots[0].pid)


def _is_named(process: psutil.Process, name: str) -> bool:
    """Whether this is the process's name, its program's, or the word it was called by (python3.12 for python3)."""
    with contextlib.suppress(psutil.Error):
        if process.status() == psutil.STATUS_ZOMBIE:
            return False
        if process.name() == name or Path((process.cmdline() or [""])[0]).name == name:
            return True
        return Path(process.exe()).name == name
    return False


def _descends(process: psutil.Process, pids: Collection[int]) -> bool:
    with contextlib.suppress(psutil.Error):
        return any(parent.pid in pids for parent in process.parents())
    return False


def command_line(process: psutil.Process) -> str:
    """Return how the process was called, not longer than a line."""
    with contextlib.suppress(psutil.Error):
        return one_line(shlex.join(process.cmdline()) or process.name())
    return "(ended)"


def one_line(command: str) -> str:
    """Return a command without line breaks, and cut where it is long."""
    line = " ".join(command.split())
    return line if len(line) <= COMMAND_WIDTH else line[: COMMAND_WIDTH - 1] + "…"
