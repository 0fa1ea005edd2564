"""What the whole machine does: CPU seconds of everything, pressure, memory, swap and clocks."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Collection, Sequence
from pathlib import Path
from statistics import mean

from collector.telemetry import Reading
from collector.telemetry.kernel_file import KernelFile

PROCFS, SYSFS = Path("/proc"), Path("/sys")
TICK_S = 1 / os.sysconf("SC_CLK_TCK")
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
# Of the first line of /proc/stat: user, nice, system, irq, softirq. Guests are part of user, waiting is none.
BUSY, STEAL = (0, 1, 2, 5, 6), 7


class MachineSource:
    """Reads the kernel's counters of the whole machine, and beside them those of deadheat's own processes.

    Parameters
    ----------
    procfs, sysfs
        Where procfs and sysfs are mounted.
    own
        Process ids of the collector and its sampler: what they use is no disturbance by others. They are read as a
        reading of their own, of scope `collector`; none without any.
    cores
        The cores that the run is pinned to, whose CPU seconds are told apart; none: they are not.
    """

    def __init__(
        self, procfs: Path = PROCFS, sysfs: Path = SYSFS, own: Collection[int] = (), cores: Collection[int] = ()
    ) -> None:
        self._cores = cores
        self._stat = KernelFile(procfs / "stat")
        self._pressure = KernelFile(procfs / "pressure" / "cpu")
        self._load = KernelFile(procfs / "loadavg")
        self._memory = KernelFile(procfs / "meminfo")
        self._swap = KernelFile(procfs / "vmstat")
        policies = sorted((sysfs / "devices/system/cpu/cpufreq").glob("policy*"))
        self._clocks = [KernelFile(policy / "scaling_cur_freq") for policy in policies]
        self._governors = [KernelFile(policy / "scaling_governor") for policy in policies]
        self._own = {pid: KernelFile(procfs / str(pid) / "stat") for pid in own}
        self._own_cpu_s: dict[int, float] = {}
        self._knows_governor = False

    def read(self, edge: str = "") -> Sequence[Reading]:
        """Return one reading of the machine and, where process ids were given, one of deadheat itself."""
        machine = self._read_machine(edge)
        own = self._read_own(edge) if self._own else None
        return (machine, own) if own else (machine,)

    def close(self) -> None:
        """Close every file."""
        for file in (*self._counters, *self._clocks, *self._governors, *self._own.values()):
            file.close()

    @property
    def _counters(self) -> tuple[KernelFile, ...]:
        return self._stat, self._pressure, self._load, self._memory, self._swap

    def _read_machine(self, edge: str) -> Reading:
        at_ns = time.monotonic_ns()
        stat, memory, swap = self._stat.read(), self._memory.read(), self._swap.read()
        cpu_s, steal_s = cpu_and_steal_s(stat) if stat else (None, None)
        available = value_of("MemAvailable:", memory)
        total = value_of("MemTotal:", memory)
        pages_out = value_of("pswpout", swap)
        return Reading(
            at_ns=at_ns,
            source="machine",
            scope="machine",
            quality="unavailable" if cpu_s is None else "exact",
            edge=edge,
            cpu_s=cpu_s,
            run_cores_cpu_s=cores_cpu_s(stat, self._cores) if stat else None,
            steal_s=steal_s,
            cpu_pressure_s=some_pressure_s(self._pressure.read()),
            load_1min=_load_1min(self._load.read()),
            available_memory_bytes=None if available is None else available * 1024,
            memory_bytes=None if available is None or total is None else (total - available) * 1024,
            swapped_bytes=None if pages_out is None else pages_out * PAGE_BYTES,
            clock_hz=_mean_clock_hz(self._clocks),
            governor=self._read_governors(edge),
            reason=self._missing(),
        )

    def _read_governors(self, edge: str) -> str | None:
        """Return the governors at the first reading and at edges: they change seldom, and there is one per core."""
        if self._knows_governor and not edge:
            return None
        self._knows_governor = True
        return ",".join(sorted({text.strip() for file in self._governors if (text := file.read())})) or None

    def _missing(self) -> str:
        reasons = [file.reason for file in (*self._counters, *self._clocks[:1]) if file.reason]
        return "; ".join(reasons if self._clocks else [*reasons, "the kernel shows no clocks (no cpufreq)"])

    def _read_own(self, edge: str) -> Reading:
        at_ns = time.monotonic_ns()
        for pid, file in self._own.items():
            if (text := file.read()) is not None:  # one that has ended keeps what it had used
                self._own_cpu_s[pid] = process_cpu_s(text)
        known = len(self._own_cpu_s) == len(self._own)
        return Reading(
            at_ns=at_ns,
            source="machine",
            scope="collector",
            quality="exact" if known else "unavailable",
            edge=edge,
            cpu_s=sum(self._own_cpu_s.values()) if known else None,
            processes=len(self._own_cpu_s),
            reason="; ".join(file.reason for file in self._own.values() if file.reason),
        )


def cpu_and_steal_s(stat: str) -> tuple[float, float]:
    """Return the busy and the stolen CPU seconds since boot from the text of /proc/stat.

    >>> cpu_and_steal_s("cpu  100 20 30 9999 999 4 6 50 7 0")
    (1.6, 0.5)
    """
    ticks = [int(field) for field in stat.split("\n", 1)[0].split()[1:]]
    return sum(ticks[place] for place in BUSY) * TICK_S, ticks[STEAL] * TICK_S


def cores_cpu_s(stat: str, cores: Collection[int]) -> float | None:
    r"""Return the busy CPU seconds since boot of some cores from the text of /proc/stat; None where one is not there.

    >>> cores_cpu_s("cpu  300 0 0 9\ncpu0 100 0 0 5 5 0 0\ncpu1 200 0 0 4 4 0 0", [1])
    2.0
    """
    wanted = {f"cpu{core}" for core in cores}
    lines = [line.split() for line in stat.split("\n") if line.partition(" ")[0] in wanted]
    if not wanted or len(lines) != len(wanted):
        return None
    return sum(int(fields[1 + place]) for fields in lines for place in BUSY) * TICK_S


def process_cpu_s(stat: str) -> float:
    """Return the CPU seconds that a process itself has used, its children left out, from its `stat`.

    >>> process_cpu_s("7 (a (b) c) S 1 7 7 0 -1 0 0 0 0 0 150 50 999 999 20 0")
    2.0
    """
    fields = stat.rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * TICK_S


def some_pressure_s(pressure: str | None) -> float | None:
    """Return the total time in which some task waited, from the text of a pressure file.

    >>> some_pressure_s("some avg10=0.00 avg60=0.00 avg300=0.00 total=2500000")
    2.5
    """
    found = re.match(r"some .*total=(\d+)", pressure or "")
    return int(found[1]) / 1e6 if found else None


def value_of(name: str, text: str | None) -> int | None:
    """Return the number after `name` at the beginning of a line.

    >>> value_of("MemAvailable:", "MemAvailable:    2048 kB")
    2048
    """
    found = re.search(rf"^{re.escape(name)}\s+(\d+)", text or "", re.MULTILINE)
    return int(found[1]) if found else None


def _load_1min(loadavg: str | None) -> float | None:
    return float(loadavg.split()[0]) if loadavg else None


def _mean_clock_hz(files: Sequence[KernelFile]) -> float | None:
    """Return the mean over the cores; a core that is offline or does not tell (0) is left out."""
    kilohertz = [int(text) for file in files if (text := file.read()) and text.strip().isdigit()]
    known = [value for value in kilohertz if value > 0]
    return mean(known) * 1e3 if known else None
