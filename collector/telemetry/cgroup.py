"""One control group per run: the kernel's own account of everything that the run starts, whatever becomes of it.

Machines have one tree (v2), one tree per controller (v1) or both; a run gets a group in each of them that helps,
below the collector's own group, so that every limit on the collector holds for the run too.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import shlex
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from collector.telemetry import Reading
from collector.telemetry.kernel_file import KernelFile
from collector.telemetry.machine import PROCFS, some_pressure_s

CGROUPS = Path("/sys/fs/cgroup")
PREFIX = "deadheat"
COLLECTOR_LEAF = f"{PREFIX}-collector"  # where a collector moves to: a v2 group with controllers has no processes
PRESSURE_PERIOD_S = 0.09  # it is compared with the machine's, which is read ten times a second
REMOVE_TIMEOUT_S = 5.0
RETRY_S = 0.002
_numbers = itertools.count(1)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunGroup:
    """The folders of one run's group, each empty where it could not be had; `reason` says why."""

    v2: str = ""
    cpuacct: str = ""
    memory: str = ""  # of the v1 controller; on v2 the memory controller, if there, is in the one tree
    reason: str = ""

    @property
    def folders(self) -> list[Path]:
        """Every folder there is."""
        return [Path(folder) for folder in (self.v2, self.cpuacct, self.memory) if folder]

    @property
    def cpu_source(self) -> str:
        """Where the CPU seconds come from: cgroup_v1, cgroup_v2, or empty."""
        return "cgroup_v1" if self.cpuacct else "cgroup_v2" if self.v2 else ""

    def enclose(self, command: Sequence[str]) -> list[str]:
        """Return `command` so that it is inside the group before its first instruction, with the same process id."""
        if not self.folders:
            return list(command)
        enter = " && ".join(f"echo $$ > {shlex.quote(str(folder / 'cgroup.procs'))}" for folder in self.folders)
        return ["sh", "-c", f'{enter} && exec "$@"', "sh", *command]

    def read_cpu_s(self) -> float | None:
        """Return the CPU seconds of everything that ever was in the group; None without one."""
        with contextlib.suppress(OSError), contextlib.closing(CgroupSource(self)) as source:
            return next((reading.cpu_s for reading in source.read() if reading.cpu_s is not None), None)
        return None

    def kill(self) -> None:
        """Kill every process in the group, and wait until they are gone."""
        deadline_s = time.monotonic() + REMOVE_TIMEOUT_S
        while (pids := self.read_pids()) and time.monotonic() < deadline_s:
            with contextlib.suppress(OSError):
                (Path(self.v2) / "cgroup.kill").write_text("1", encoding="ascii")
            for pid in pids - {0, os.getpid()}:  # 0: a process of another namespace
                with contextlib.suppress(OSError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(RETRY_S)

    def read_pids(self) -> set[int]:
        """Return the processes that are in the group now."""
        pids: set[int] = set()
        for folder in self.folders:
            with contextlib.suppress(OSError):
                pids.update(map(int, (folder / "cgroup.procs").read_text(encoding="ascii").split()))
        return pids

    def remove(self) -> None:
        """Remove the group; what cannot be removed now is left to the next collector."""
        deadline_s = time.monotonic() + REMOVE_TIMEOUT_S
        for folder in self.folders:
            while folder.exists() and time.monotonic() < deadline_s:
                try:
                    folder.rmdir()
                except OSError:  # EBUSY: the kernel has not yet let go of the last process
                    time.sleep(RETRY_S)


@contextlib.contextmanager
def run_group(cgroups: Path = CGROUPS, procfs: Path = PROCFS) -> Iterator[RunGroup]:
    """Make the group of one run, as far as the machine allows; at the end whatever is in it is killed."""
    group = _make_group(cgroups, procfs)
    try:
        yield group
    finally:
        group.kill()
        group.remove()


class CgroupSource:
    """Reads the group of a run: one reading per tree, through descriptors that stay open."""

    def __init__(self, group: RunGroup) -> None:
        v2 = Path(group.v2) if group.v2 else None
        self._usage = KernelFile(Path(group.cpuacct) / "cpuacct.usage") if group.cpuacct else None
        self._memory = KernelFile(Path(group.memory) / "memory.stat") if group.memory else None
        self._v2_cpu = KernelFile(v2 / "cpu.stat") if v2 and not group.cpuacct else None  # one source per quantity
        self._v2_pressure = KernelFile(v2 / "cpu.pressure") if v2 else None
        self._pressure_due_ns = 0
        v2_memory = v2 / "memory.stat" if v2 and not group.memory else None
        self._v2_memory = KernelFile(v2_memory) if v2_memory and v2_memory.exists() else None

    @property
    def has_memory(self) -> bool:
        """Whether the group accounts for memory."""
        return self._memory is not None or self._v2_memory is not None

    def read(self, edge: str = "") -> Iterator[Reading]:
        """Take down what the kernel says, and return a reading per tree; none when the group is gone.

        The readings are made when they are asked for, which may be when the run no longer computes.
        """
        at_ns = time.monotonic_ns()
        with_pressure = bool(edge) or at_ns >= self._pressure_due_ns
        if with_pressure:
            self._pressure_due_ns = at_ns + round(PRESSURE_PERIOD_S * 1e9)
        files = [file for file in self._files if with_pressure or file is not self._v2_pressure]
        return self._readings(at_ns, edge, {file: file.read() for file in files})

    def close(self) -> None:
        """Close every file."""
        for file in self._files:
            file.close()

    @property
    def _files(self) -> list[KernelFile]:
        files = (self._usage, self._memory, self._v2_cpu, self._v2_pressure, self._v2_memory)
        return [file for file in files if file is not None]

    def _readings(self, at_ns: int, edge: str, said: Mapping[KernelFile | None, str | None]) -> Iterator[Reading]:
        usage, stat = said.get(self._usage), said.get(self._memory)
        if usage is not None or stat is not None:
            yield Reading(
                at_ns=at_ns,
                source="cgroup_v1",
                scope="run",
                quality="exact",
                edge=edge,
                cpu_s=int(usage) / 1e9 if usage else None,
                memory_bytes=_sum_of(stat, "total_rss", "total_shmem"),
            )
        cpu, pressure = said.get(self._v2_cpu), said.get(self._v2_pressure)
        if cpu is not None or pressure is not None:
            usage_us, throttled_us = _number("usage_usec", cpu), _number("throttled_usec", cpu)
            yield Reading(
                at_ns=at_ns,
                source="cgroup_v2",
                scope="run",
                quality="exact",
                edge=edge,
                cpu_s=None if usage_us is None else usage_us / 1e6,
                memory_bytes=_sum_of(said.get(self._v2_memory), "anon", "shmem"),
                cpu_pressure_s=some_pressure_s(pressure),
                throttled_s=None if throttled_us is None else throttled_us / 1e6,
            )


def _sum_of(stat: str | None, *names: str) -> int | None:
    """Return what is held; None where it is not told, or nothing is counted yet: no process lives on nothing."""
    values = [_number(name, stat) for name in names]
    return None if None in values else sum(filter(None, values)) or None


def _number(name: str, stat: str | None) -> int | None:
    """Return the number after `name` at the beginning of a line; a plain search is a quarter of a pattern's cost."""
    _, _, after = f"\n{stat or ''}".partition(f"\n{name} ")
    return int(after.partition("\n")[0]) if after else None


def _make_group(cgroups: Path, procfs: Path) -> RunGroup:
    """Make a folder in each tree that helps; CPU seconds and memory of v1 are of no use where v2 has them."""
    own = _own_groups(cgroups, procfs)
    name = f"{PREFIX}-{os.getpid()}-{_started(procfs, os.getpid())}-{next(_numbers)}"
    made, reasons = {}, []
    for tree, base in own.items():
        try:
            _remove_stale_groups(base, procfs)
            made[tree] = str(_make_folder(with_memory(base) if tree == "v2" else base, name))
        except OSError as reason:
            reasons.append(f"{base}: {reason.strerror or reason}")
    return RunGroup(**made, reason="; ".join(reasons) or ("" if own else f"{cgroups}: holds no control groups"))


def _own_groups(cgroups: Path, procfs: Path) -> dict[str, Path]:
    """Return the collector's own group in each tree: v2, cpuacct and memory, as far as they are there.

    The lines of /proc/self/cgroup are number:controllers:path; the v2 tree has no controllers.
    """
    try:
        lines = (procfs / "self" / "cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:
        return {}
    own = {}
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if not controllers:
            tree, mounts = "v2", (cgroups / "unified", cgroups)
        else:
            tree = next((known for known in ("cpuacct", "memory") if known in controllers.split(",")), "")
            mounts = (cgroups / controllers, cgroups / tree)
        mount = next((mount for mount in mounts if (mount / "cgroup.procs").exists()), None)
        if tree and mount:
            own[tree] = mount / path.lstrip("/")
    return own


def _make_folder(base: Path, name: str) -> Path:
    folder = base / name
    folder.mkdir()
    if fault := _entry_fault(folder, base):
        folder.rmdir()
        raise OSError(fault)
    return folder


_faults: dict[Path, str] = {}


def _entry_fault(folder: Path, base: Path) -> str:
    """Return why a process may not enter `folder`, or an empty string; tried once for all groups below `base`."""
    if base not in _faults:
        enter = ["sh", "-c", 'echo $$ > "$0"', str(folder / "cgroup.procs")]
        tried = subprocess.run(enter, capture_output=True, text=True, check=False)
        _faults[base] = tried.stderr.strip() if tried.returncode else ""
    return _faults[base]


def with_memory(own: Path) -> Path:
    """Return the v2 group to make groups below, after trying to have the memory controller in them.

    A v2 group that passes controllers on may hold no processes itself, so a collector that is alone in its group
    moves into a leaf of it. One that is not alone goes without: moving others is not its business.
    """
    base = own.parent if own.name == COLLECTOR_LEAF else own
    control = base / "cgroup.subtree_control"
    with contextlib.suppress(OSError):
        if "memory" not in _read_words(base / "cgroup.controllers") or "memory" in _read_words(control):
            return base
        if _read_words(base / "cgroup.procs") == [str(os.getpid())]:
            (base / COLLECTOR_LEAF).mkdir(exist_ok=True)
            (base / COLLECTOR_LEAF / "cgroup.procs").write_text(str(os.getpid()), encoding="ascii")
        control.write_text("+memory", encoding="ascii")
    return base


def _read_words(file: Path) -> list[str]:
    return file.read_text(encoding="ascii").split()


def _remove_stale_groups(base: Path, procfs: Path) -> None:
    """Remove what collectors that were killed have left behind."""
    for folder in base.glob(f"{PREFIX}-*-*-*"):
        pid, started = folder.name.split("-")[1:3]
        if _started(procfs, int(pid)) != started:
            stale = RunGroup(v2=str(folder))
            stale.kill()
            stale.remove()


def _started(procfs: Path, pid: int) -> str:
    """Return when the process was started, in the kernel's ticks; a process id alone may be somebody else's by now."""
    try:
        return (procfs / str(pid) / "stat").read_text(encoding="utf-8").rpartition(")")[2].split()[19]
    except OSError:
        return ""
