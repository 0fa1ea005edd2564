"""Watch a process tree: read it on a schedule until it ends, and keep the sums that a person wants to know."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import select
import subprocess
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from collector.monitor.target import Watched
from collector.telemetry import Reading

NOW_S = 1.0  # "busy now" is over the last second: the kernel counts in hundredths


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    """What was read at one place of the schedule."""

    number: int
    at_s: float
    readings: tuple[Reading, ...]

    @property
    def run(self) -> Reading | None:
        """The process tree as one reading, whichever source each quantity comes from; None where it has ended."""
        return merge([r for r in self.readings if r.scope == "run" and r.quality != "unavailable"])

    @property
    def devices(self) -> list[Reading]:
        """The readings of devices."""
        return [r for r in self.readings if r.scope == "device" and r.quality != "unavailable"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """When to read: every `period_s`, until `duration_s` where there is one."""

    period_s: float
    duration_s: float | None = None


def merge(readings: Sequence[Reading]) -> Reading | None:
    """Return readings of one scope as one: each quantity from the first that has it, the quality of the weakest."""
    if len(readings) < 2:
        return readings[0] if readings else None
    values: dict[str, Any] = dict.fromkeys(f.name for f in dataclasses.fields(Reading))
    for reading in reversed(readings):
        values |= {name: value for name in values if (value := getattr(reading, name)) is not None}
    qualities = [reading.quality for reading in readings]
    weakest = next(quality for quality in ("modelled", "sampled", "exact") if quality in qualities)
    sources = "+".join(dict.fromkeys(reading.source for reading in readings))
    reasons = "; ".join(filter(None, (reading.reason for reading in readings)))
    return Reading(**{**values, "source": sources, "quality": weakest, "reason": reasons})


@dataclass(slots=True)
class Totals:
    """What a person wants to know, from the ticks so far."""

    elapsed_s: float = 0.0
    cpu_s: float | None = None
    memory_bytes: int | None = None
    memory_peak_bytes: int | None = None
    devices: dict[int, Reading] = field(default_factory=dict)
    used: dict[str, tuple[str, str]] = field(default_factory=dict)  # quantity -> source and quality
    refused: dict[str, str] = field(default_factory=dict)  # source -> why it cannot be had
    _first: tuple[float, float] | None = None
    _recent: deque[tuple[float, float]] = field(default_factory=deque)

    def add(self, tick: Tick) -> None:
        """Take in one tick."""
        self.elapsed_s = tick.at_s
        for reading in tick.readings:
            self._note_source(reading)
        self.devices |= {reading.device_index or 0: reading for reading in tick.devices}
        if (run := tick.run) is None:
            return
        if run.cpu_s is not None:
            self._add_cpu(tick.at_s, run.cpu_s)
        if run.memory_bytes is not None:
            self.memory_bytes = run.memory_bytes
            self.memory_peak_bytes = max(self.memory_peak_bytes or 0, run.memory_bytes)

    def begin_at_zero(self) -> None:
        """Count CPU seconds from the spawn, not from the first reading: a command had used none then."""
        self._first = (0.0, 0.0)
        self._recent.append(self._first)

    def _add_cpu(self, at_s: float, cpu_s: float) -> None:
        self.cpu_s = cpu_s
        self._first = self._first or (at_s, cpu_s)
        self._recent.append((at_s, cpu_s))
        while len(self._recent) > 2 and self._recent[1][0] <= at_s - NOW_S:
            self._recent.popleft()

    def _note_source(self, reading: Reading) -> None:
        if reading.quality == "unavailable":
            self.refused.setdefault(reading.source, reading.reason)
            return
        known = {"CPU": reading.cpu_s, "memory": reading.memory_bytes}
        names = [name for name, value in known.items() if value is not None] if reading.scope == "run" else []
        if reading.scope == "device":
            names = [f"GPU {reading.device_index or 0}"]
        for name in names:
            self.used.setdefault(name, (reading.source, reading.quality))

    @property
    def cores_now(self) -> float | None:
        """CPU cores busy during the last second."""
        return _slope(self._recent[0], self._recent[-1]) if self._recent else None

    @property
    def cores_mean(self) -> float | None:
        """CPU cores busy on average since the watching began."""
        return _slope(self._first, self._recent[-1]) if self._first and self._recent else None

    @property
    def cpu_used_s(self) -> float | None:
        """CPU seconds used since the watching began."""
        return None if self.cpu_s is None or self._first is None else self.cpu_s - self._first[1]


def _slope(first: tuple[float, float], last: tuple[float, float]) -> float | None:
    span_s = last[0] - first[0]
    return (last[1] - first[1]) / span_s if span_s > 0 else None


def watch(watched: Watched, schedule: Schedule, take: Callable[[Tick], None]) -> None:
    """Read on an absolute schedule and give each tick to `take`, until the process ends or the duration is over."""
    period_ns = round(schedule.period_s * 1e9)
    number, seen = 0, None
    with _ending_of(watched.pid) as wait_for_end:
        while True:
            due_ns = watched.start_ns + number * period_ns
            tick = _read_tick(watched, number, due_ns)
            if tick.run is None:
                break
            seen = tick.run
            take(tick)
            number = max(number + 1, (time.monotonic_ns() - watched.start_ns) // period_ns + 1)
            if schedule.duration_s is not None and number * schedule.period_s > schedule.duration_s + 1e-9:
                return
            if wait_for_end((watched.start_ns + number * period_ns - time.monotonic_ns()) / 1e9):
                break
    if (last := _read_ending(watched, number, seen)).readings:
        take(last)


def _read_tick(watched: Watched, number: int, due_ns: int) -> Tick:
    now_ns = time.monotonic_ns()
    readings = tuple(reading for source in watched.sources for reading in source.read())
    late_s = max(0.0, (now_ns - due_ns) / 1e9)
    return Tick(
        number=number,
        at_s=(now_ns - watched.start_ns) / 1e9,
        readings=tuple(dataclasses.replace(reading, late_s=late_s) for reading in readings),
    )


def _read_ending(watched: Watched, number: int, seen: Reading | None) -> Tick:
    """Return the last tick: what the sources still say, and of a command the kernel's own account of its CPU time.

    That account lacks descendants that nobody waited for: where `seen`, the last reading, has more, it stands.
    """
    now_ns = time.monotonic_ns()
    readings = [
        reading for source in watched.sources for reading in source.read("exit") if reading.quality != "unavailable"
    ]
    if watched.child is not None:
        account = reap(watched.child)
        if seen is not None and (seen.cpu_s or 0.0) > (account.cpu_s or 0.0):
            account = dataclasses.replace(seen, edge="exit", late_s=None, memory_bytes=None, processes=None)
        readings.append(account)
    return Tick(number=number, at_s=(now_ns - watched.start_ns) / 1e9, readings=tuple(readings))


def reap(child: subprocess.Popen[bytes]) -> Reading:
    """Wait for a command; `wait4` alone tells what it and the children it waited for have used."""
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    return Reading(
        at_ns=time.monotonic_ns(),
        source="wait4",
        scope="run",
        quality="exact",
        edge="exit",
        cpu_s=usage.ru_utime + usage.ru_stime,
    )


def _wait(wait_s: float) -> bool:
    time.sleep(max(0.0, wait_s))
    return False


@contextlib.contextmanager
def _ending_of(pid: int) -> Iterator[Callable[[float], bool]]:
    """Give a function that waits so many seconds and returns whether the process ended, at once when it does."""
    try:
        descriptor = os.pidfd_open(pid)
    except OSError:  # an old kernel, or gone already: each reading tells
        yield _wait
        return
    try:
        yield lambda wait_s: bool(select.select([descriptor], [], [], max(0.0, wait_s))[0])
    finally:
        os.close(descriptor)
