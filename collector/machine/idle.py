"""Wait before a heat until nothing else is at work on the machine, but not for ever."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from collector.run.contamination import FOREIGN_CPU_RATIO, LOW_MEMORY_RATIO, MIN_CPU_S, STEAL_RATIO
from collector.telemetry.machine import PROCFS, SYSFS, MachineSource, process_cpu_s
from collector.telemetry.nvml import NvmlSource

LOOK_S = 5.0  # MIN_CPU_S is 5 % of a core in it
DEFAULT_LIMIT_S = 300.0
NAMED = 3  # programs that are named, the busiest first


class Watcher(Protocol):
    """Who is told what is waited for."""

    def tell(self, text: str) -> None:
        """Say one line."""
        ...

    def show_waiting(self, text: str) -> None:
        """Show what is waited for."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What others did on this machine for a moment; None where it could not be seen."""

    window_s: float
    foreign_cpu_s: float | None
    steal_s: float | None
    free_memory_ratio: float | None
    device_processes: int | None
    busiest: tuple[tuple[str, float], ...] = ()  # programs and their CPU seconds

    @property
    def disturbance(self) -> str:
        """Why a run would be disturbed now, by the thresholds of a contaminated run on one core; empty: it is calm."""
        texts = []
        if (self.foreign_cpu_s or 0.0) > max(FOREIGN_CPU_RATIO * self.window_s, MIN_CPU_S):
            names = ", ".join(f"{name} {100 * cpu_s / self.window_s:.0f} %" for name, cpu_s in self.busiest)
            share = 100 * (self.foreign_cpu_s or 0.0) / self.window_s
            texts.append(f"other programs use {share:.0f} % of a core{f' ({names})' if names else ''}")
        if (self.steal_s or 0.0) > max(STEAL_RATIO * self.window_s, MIN_CPU_S):
            texts.append(f"the host takes {100 * (self.steal_s or 0.0) / self.window_s:.0f} % of a core")
        if self.free_memory_ratio is not None and self.free_memory_ratio < LOW_MEMORY_RATIO:
            texts.append(f"only {100 * self.free_memory_ratio:.0f} % of the memory is free")
        if self.device_processes:
            texts.append(f"{self.device_processes} {'process' if self.device_processes == 1 else 'processes'} on a GPU")
        return "; ".join(texts)


def look_around(
    window_s: float = LOOK_S,
    procfs: Path = PROCFS,
    sysfs: Path = SYSFS,
    pause: Callable[[float], object] = time.sleep,
) -> Look:
    """Return what others did for `window_s` seconds; what this process used is taken off."""
    source, devices = MachineSource(procfs, sysfs, own=[os.getpid()]), NvmlSource(list, procfs=procfs)
    with contextlib.closing(source), contextlib.closing(devices):
        programs = read_programs(procfs)
        before, own_before = source.read()
        pause(window_s)
        after, own = source.read()
        processes = [reading.foreign_processes for reading in devices.read() if reading.foreign_processes is not None]
    used_s = {
        pid: (name, cpu_s - programs.get(pid, ("", 0.0))[1]) for pid, (name, cpu_s) in read_programs(procfs).items()
    }
    busiest = sorted(
        (program for pid, program in used_s.items() if pid != os.getpid()), key=lambda program: -program[1]
    )
    total = (after.available_memory_bytes or 0) + (after.memory_bytes or 0)
    everything_s, own_s = _grown(before.cpu_s, after.cpu_s), _grown(own_before.cpu_s, own.cpu_s)
    return Look(
        window_s=window_s,
        foreign_cpu_s=None if everything_s is None or own_s is None else everything_s - own_s,
        steal_s=_grown(before.steal_s, after.steal_s),
        free_memory_ratio=(after.available_memory_bytes or 0) / total if total else None,
        device_processes=sum(processes) if processes else None,
        busiest=tuple(program for program in busiest[:NAMED] if program[1] > 0),
    )


def read_programs(procfs: Path) -> dict[int, tuple[str, float]]:
    """Return name and CPU seconds of every process there is, by its id."""
    programs = {}
    for folder in procfs.glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has ended meanwhile
            stat = (folder / "stat").read_text(encoding="utf-8", errors="replace")
            programs[int(folder.name)] = stat[stat.index("(") + 1 : stat.rindex(")")], process_cpu_s(stat)
    return programs


def wait_for_calm(
    report: Watcher,
    limit_s: float,
    look: Callable[[], Look] = look_around,
    clock_s: Callable[[], float] = time.monotonic,
) -> None:
    """Return as soon as one look finds nothing; after `limit_s` say what still disturbs, and go on."""
    began_s = clock_s()
    while disturbance := look().disturbance:
        left_s = limit_s - (clock_s() - began_s)
        if left_s <= 0:
            report.tell(f"not quiet after {limit_s:g} s: {disturbance}. The heat is run all the same.")
            return
        report.show_waiting(f"waiting for a quiet machine, {left_s:.0f} s at most: {disturbance}")


def _grown(before: float | None, after: float | None) -> float | None:
    return None if before is None or after is None else after - before
