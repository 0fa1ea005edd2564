"""One run: start the runner, watch it, end it in time, and say how it ended."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

from collector.protocol.events import EventError, read_events
from collector.run.normalise import PHASE_ENDING_WITH
from collector.telemetry.cgroup import CGROUPS, RunGroup, run_group
from collector.telemetry.choice import RunTarget
from collector.telemetry.orphans import Orphans
from collector.telemetry.sampler import PERIOD_S
from collector.telemetry.watcher import Watcher

POLL_S = 0.005  # how exactly the arrival of an event is known
SAID_FIRST = ("ERROR: ", "** (")  # how Julia and Elixir begin an error, before its stack
# Each of these replaces itself by the next, so the runner keeps the process id. A runner must not outlive a
# collector that is killed (it would disturb the next one), and stays on its cores from its first instruction.
CONFINE = ("setpriv", "--pdeathsig", "KILL", "taskset", "--cpu-list")
# Where the sampler reads outside its schedule: at the ends of phases, and at the first evaluation, off the train clock.
EDGES = {*PHASE_ENDING_WITH, "run_stop"}
EDGE_ONCE = "eval_start"
KIND = re.compile(rb'"kind"\s*:\s*"(\w+)"')
OUT_OF_MEMORY = re.compile(
    r"MemoryError|OutOfMemory|out of memory|[Cc]annot allocate memory|eheap_alloc|RESOURCE_EXHAUSTED|bad_alloc"
)


class InterruptedCollectionError(Exception):
    """The user ended the collection; what was complete is stored."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """What is started: `<command> <trial.json> <events.jsonl>` in `folder`, or with those of several other folders."""

    command: Sequence[str]
    environment: Mapping[str, str]
    folder: Path
    cores: Sequence[int]
    timeout_s: float
    trial_folders: Sequence[Path] = ()  # of trials worked on one after another; none: `folder` itself
    period_s: float = PERIOD_S  # between two readings

    @property
    def arguments(self) -> list[str]:
        """The pairs of trial and events file."""
        folders = self.trial_folders or [self.folder]
        return [str(folder / name) for folder in folders for name in ("trial.json", "events.jsonl")]

    @property
    def events(self) -> Path:
        """The events file that is complete last."""
        return (self.trial_folders or [self.folder])[-1] / "events.jsonl"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How a run ended, and what the collector itself saw of it. Kept as launch.json among the raw files."""

    status: str
    message: str
    exit_code: int | None
    started_at: str  # UTC, ISO 8601
    spawned_unix_ns: int
    spawned_ns: int  # CLOCK_MONOTONIC of the collector
    ended_ns: int
    cpu_s: float  # the kernel's own account, see cpu_source
    arrivals_ns: tuple[int, ...]  # when each line of events.jsonl was seen
    # cgroup_v2 or cgroup_v1: everything that the run ever started; wait4: the process, the children it waited for and
    # orphans that stayed in its session (all orphans where no other run was under way). None before it was noted.
    cpu_source: str | None = None
    telemetry_fault: str = ""  # why readings are missing


def launch_run(launch: Launch, cancelled: threading.Event | None = None, *, cgroups: Path = CGROUPS) -> Ending:
    """Run one process to its end and classify it; every failure is an ending, never an exception.

    Ctrl-C, or `cancelled` where another thread is told of it, ends the runner too and gives the ending `interrupted`.
    `cgroups` is where the control groups are mounted.
    """
    folder = launch.folder
    ooms_before = _read_oom_kills()
    temporary_folder = tempfile.TemporaryDirectory(prefix="deadheat-", ignore_cleanup_errors=True)
    log_file = (folder / "log.txt").open("wb")
    with temporary_folder as temporary, log_file as log, _observers(launch, cgroups) as (group, watcher, orphans):
        started_at = datetime.now(UTC).isoformat()
        spawned_unix_ns, spawned_ns = time.time_ns(), time.monotonic_ns()
        try:
            process = _spawn(launch, group, log, temporary)
        except OSError as reason:
            return _written(_never_started(reason, started_at, spawned_unix_ns, spawned_ns), folder)
        orphans.pid = process.pid
        watcher.watch(RunTarget(pid=process.pid, group=group, cores=tuple(launch.cores)))
        watch = _watch(process, launch, spawned_ns + round(launch.timeout_s * 1e9), cancelled, watcher)
        group.kill()
        orphans_cpu_s = orphans.end()
        watcher.stop()
        group_cpu_s = group.read_cpu_s()
    oom_killed = _read_oom_kills() > ooms_before
    status, message = _classify(watch, launch, oom_killed=oom_killed)
    ending = Ending(
        status=status,
        message=message,
        exit_code=watch.exit_code,
        started_at=started_at,
        spawned_unix_ns=spawned_unix_ns,
        spawned_ns=spawned_ns,
        ended_ns=watch.ended_ns,
        cpu_s=watch.cpu_s + orphans_cpu_s if group_cpu_s is None else group_cpu_s,
        arrivals_ns=tuple(watch.arrivals_ns),
        cpu_source="wait4" if group_cpu_s is None else group.cpu_source,
        telemetry_fault=watcher.fault,
    )
    return _written(ending, folder)


@contextlib.contextmanager
def _observers(launch: Launch, cgroups: Path) -> Iterator[tuple[RunGroup, Watcher, Orphans]]:
    """Have everything ready that observes a run, before it starts."""
    file = launch.folder / "telemetry.jsonl"
    with Watcher(file, launch.cores, launch.period_s) as watcher, run_group(cgroups) as group, Orphans() as orphans:
        watcher.wait_until_ready()
        yield group, watcher, orphans


def _written(ending: Ending, folder: Path) -> Ending:
    (folder / "launch.json").write_text(json.dumps(asdict(ending), indent=1), encoding="utf-8")
    return ending


def read_ending(folder: Path) -> Ending:
    """Return the ending kept in `folder`."""
    content = json.loads((folder / "launch.json").read_text(encoding="utf-8"))
    return Ending(**{**content, "arrivals_ns": tuple(content["arrivals_ns"])})


@dataclass(slots=True)
class _Watch:
    arrivals_ns: list[int]
    exit_code: int = 0
    ended_ns: int = 0
    cpu_s: float = 0.0
    ended_by: str = ""  # "", timed_out or interrupted


def _spawn(launch: Launch, group: RunGroup, log: IO[bytes], temporary: str) -> subprocess.Popen[bytes]:
    """Start the runner; its folder for temporary files is its own, so what it compiled is not there for the next."""
    return subprocess.Popen(
        group.enclose([*CONFINE, ",".join(map(str, launch.cores)), *launch.command, *launch.arguments]),
        env={**launch.environment, "TMPDIR": temporary},
        cwd=launch.folder,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )


def _watch(
    process: subprocess.Popen[bytes],
    launch: Launch,
    deadline_ns: int,
    cancelled: threading.Event | None,
    watcher: Watcher,
) -> _Watch:
    watch = _Watch(arrivals_ns=[])
    tail = _Tail(launch.events, watcher)
    try:
        while not _reap(process, watch):
            tail.note_lines(watch.arrivals_ns)
            if time.monotonic_ns() > deadline_ns:
                watch.ended_by = "timed_out"
                _kill_and_reap(process, watch)
                break
            if cancelled is not None and cancelled.is_set():
                raise KeyboardInterrupt
            time.sleep(POLL_S)
    except KeyboardInterrupt:
        watch.ended_by = "interrupted"
        _kill_and_reap(process, watch)
    tail.note_lines(watch.arrivals_ns)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)  # children that the runner left behind
    return watch


def _reap(process: subprocess.Popen[bytes], watch: _Watch, options: int = os.WNOHANG) -> bool:
    """Whether the process has ended; `wait4` alone tells the kernel's account of its CPU time."""
    pid, status, usage = os.wait4(process.pid, options)
    if pid == 0:
        return False
    watch.ended_ns = time.monotonic_ns()
    watch.exit_code = process.returncode = os.waitstatus_to_exitcode(status)
    watch.cpu_s = usage.ru_utime + usage.ru_stime
    return True


def _kill_and_reap(process: subprocess.Popen[bytes], watch: _Watch) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    if process.returncode is None:
        _reap(process, watch, options=0)


class _Tail:
    """Notes when each whole line of a growing file was first seen, and tells the sampler of the ends of phases."""

    def __init__(self, path: Path, watcher: Watcher) -> None:
        self._path, self._watcher = path, watcher
        self._position = 0
        self._cut_off = b""
        self._edges = {*EDGES, EDGE_ONCE}

    def note_lines(self, arrivals_ns: list[int]) -> None:
        try:
            if self._path.stat().st_size == self._position:
                return
            with self._path.open("rb") as file:
                file.seek(self._position)
                *lines, self._cut_off = (self._cut_off + file.read()).split(b"\n")
                self._position = file.tell()
        except FileNotFoundError:
            return
        arrivals_ns.extend([time.monotonic_ns()] * len(lines))
        for line in lines:
            self._note_edge(line)

    def _note_edge(self, line: bytes) -> None:
        found = KIND.search(line)
        kind = found[1].decode() if found else ""
        if kind in self._edges:
            self._watcher.note_edge(kind)
            self._edges -= {kind} & {EDGE_ONCE}


def _classify(watch: _Watch, launch: Launch, *, oom_killed: bool) -> tuple[str, str]:
    if watch.ended_by == "timed_out":
        return (
            "timed_out",
            f"still running after {launch.timeout_s:g} s; raise timeout_s in the suite or shorten the work",
        )
    if watch.ended_by == "interrupted":
        return "interrupted", "ended by the user; the same command runs its heat again"
    if watch.exit_code != 0:
        return _classify_failure(watch.exit_code, _read_log_end(launch.folder / "log.txt"), oom_killed=oom_killed)
    try:
        last = read_events(launch.events)[-1]
    except EventError as reason:
        return "bad_events", str(reason)
    if last.kind in ("diverged", "unsupported"):
        return last.kind, last.message
    return "completed", ""


def last_words(log_end: str) -> str:
    """Return what a program said last, in one line; Julia and Elixir say the error first and then where it was."""
    lines = log_end.splitlines() or ["log.txt is empty"]
    return next((line for line in reversed(lines) if line.startswith(SAID_FIRST)), lines[-1])


def _classify_failure(exit_code: int, log_end: str, *, oom_killed: bool) -> tuple[str, str]:
    said = last_words(log_end)
    if OUT_OF_MEMORY.search(log_end) or (exit_code == -signal.SIGKILL and oom_killed):
        return "out_of_memory", f"exit code {exit_code}: {said}"
    if exit_code < 0:
        return "crashed", f"killed by {signal.Signals(-exit_code).name}: {said}"
    return "crashed", f"exit code {exit_code}: {said}"


def _never_started(reason: OSError, started_at: str, spawned_unix_ns: int, spawned_ns: int) -> Ending:
    return Ending(
        status="crashed",
        message=f"could not be started: {reason}",
        exit_code=None,
        started_at=started_at,
        spawned_unix_ns=spawned_unix_ns,
        spawned_ns=spawned_ns,
        ended_ns=time.monotonic_ns(),
        cpu_s=0.0,
        arrivals_ns=(),
    )


def _read_log_end(path: Path, size: int = 16_384) -> str:
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - size))
        return file.read().decode("utf-8", errors="replace").strip()


def _read_oom_kills() -> int:
    """Return how many processes the kernel has killed for want of memory; 0 where it does not tell."""
    try:
        lines = Path("/proc/vmstat").read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("oom_kill ")), 0)
