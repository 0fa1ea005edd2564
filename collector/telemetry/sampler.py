"""The sampler: a process of its own that reads the sources of one run, so that the collector may wait in peace.

    python -m collector.telemetry.sampler telemetry.jsonl 0.1

It says `ready`, and is then told what to do on its standard input, one JSON object per line: `{"watch": {…}}` with
the fields of a RunTarget, then `{"edge": "build_stop"}` at the edges of phases. It reads a last time where its input
ends, so it never outlives the collector. What it says besides `ready` is why the readings ended early.
"""

from __future__ import annotations

import json
import os
import select
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import IO

from collector.telemetry import Reading, Source
from collector.telemetry.cgroup import RunGroup
from collector.telemetry.choice import RunTarget, Unavailable, open_all_sources
from collector.telemetry.machine import MachineSource
from collector.telemetry.nvml import NvmlSource
from collector.telemetry.rapl import RaplSource

PERIOD_S = 0.1  # also of what is not the run's own, however often the run is read
NOT_THE_RUN = (MachineSource, RaplSource, NvmlSource)
FLUSH_S = 1.0  # a kill loses no more than this
LAST_EDGE = "exit"  # of the reading when the run has ended and no process of it is left
_DEFAULTS = {field.name: field.default for field in fields(Reading)}  # what a line need not say


class Sampling:
    """What is read, when, and where it is kept.

    The schedule is absolute on CLOCK_MONOTONIC: a late reading does not shift the ones after it, and periods that
    were missed altogether are left out rather than made up for. While the run computes, as little as can be is done:
    what the kernel said is taken down, and made into readings once a second.
    """

    def __init__(self, file: IO[str], period_s: float) -> None:
        self._file, self._period_ns = file, round(period_s * 1e9)
        self._sources: list[Source] = []
        self._due_ns = self._flush_ns = 0
        self._machine_every = max(1, round(PERIOD_S / period_s))  # of the periods
        self._until_machine = 0
        self._taken: list[tuple[int, Iterable[Reading], float | None]] = []  # place of the source, what it said, late
        self._unavailable: dict[tuple[str, str, int | None], str] = {}

    @property
    def wait_s(self) -> float | None:
        """How long until the next reading is due; None before there is anything to read."""
        return max(0.0, (self._due_ns - time.monotonic_ns()) / 1e9) if self._sources else None

    def watch(self, sources: Sequence[Source]) -> None:
        """Begin the schedule now."""
        self._sources = list(sources)
        self._due_ns = time.monotonic_ns()
        self._flush_ns = self._due_ns + round(FLUSH_S * 1e9)

    def read_due(self) -> None:
        """Read if it is time."""
        now_ns = time.monotonic_ns()
        if not self._sources or now_ns < self._due_ns:
            return
        late_s = (now_ns - self._due_ns) / 1e9
        with_machine = self._until_machine <= 0
        for place, source in enumerate(self._sources):
            if with_machine or not isinstance(source, NOT_THE_RUN):
                self._take(place, late_s=late_s)
        now_ns = time.monotonic_ns()
        periods = (now_ns - self._due_ns) // self._period_ns + 1
        self._due_ns += periods * self._period_ns
        self._until_machine = (self._machine_every if with_machine else self._until_machine) - periods
        if now_ns >= self._flush_ns:
            self.flush()
            self._flush_ns = now_ns + round(FLUSH_S * 1e9)

    def read(self, edge: str) -> None:
        """Read every source once, off the schedule."""
        for place in range(len(self._sources)):
            self._take(place, edge)

    def _take(self, place: int, edge: str = "", late_s: float | None = None) -> None:
        """Take down what the source at `place` says; one that fails is named and left out from then on."""
        try:
            said = self._sources[place].read(edge)
        except Exception as reason:  # whatever it is, the other sources go on
            said = self._give_up(place, reason)
        self._taken.append((place, said, late_s))

    def _give_up(self, place: int, reason: Exception) -> Iterable[Reading]:
        if isinstance(self._sources[place], Unavailable):  # said already
            return ()
        failed = type(self._sources[place]).__name__
        self._sources[place] = Unavailable(failed, f"{failed} gave up: {type(reason).__name__}: {reason}")
        return self._sources[place].read()

    def _is_news(self, reading: Reading) -> bool:
        """Whether to keep it: that something cannot be read is said once, not at every reading."""
        key = (reading.source, reading.scope, reading.device_index)
        reason = reading.reason if reading.quality == "unavailable" else ""
        said, self._unavailable[key] = self._unavailable.get(key, ""), reason
        return not reason or reason != said

    def flush(self) -> None:
        """Write what has been read."""
        taken, self._taken = self._taken, []
        for place, said, late_s in taken:
            try:
                readings = list(said)
            except Exception as reason:  # of a source that tells what it found only when asked
                readings = list(self._give_up(place, reason))
            self._file.writelines(_line(reading, late_s) for reading in readings if self._is_news(reading))
        self._file.flush()

    def close(self) -> None:
        """Read a last time, write, and close the sources."""
        self.read(LAST_EDGE)
        self.flush()
        for source in self._sources:
            source.close()


def main() -> None:
    """Read until the standard input ends."""
    path, period_s = Path(sys.argv[1]), float(sys.argv[2])
    try:
        with path.open("w", encoding="utf-8") as file:
            os.write(1, b"ready\n")
            _obey(Sampling(file, period_s))
    except OSError as reason:
        raise SystemExit(f"{path.name}: the readings ended early: {reason.strerror or reason}") from None


def _obey(sampling: Sampling) -> None:
    rest = b""
    while True:
        if select.select([0], [], [], sampling.wait_s)[0]:
            told = os.read(0, 65_536)
            if not told:
                break
            *lines, rest = (rest + told).split(b"\n")
            for line in lines:
                _obey_one(sampling, json.loads(line))
        sampling.read_due()
    sampling.close()


def _obey_one(sampling: Sampling, command: dict[str, object]) -> None:
    match command:
        case {"watch": {"pid": int(pid), "group": dict(group), "cores": list(cores)}}:
            target = RunTarget(pid=pid, group=RunGroup(**group), cores=tuple(cores))
            sampling.watch(open_all_sources(target, own=(os.getppid(), os.getpid())))
        case {"edge": str(edge)}:
            sampling.read(edge)
        case _:
            raise SystemExit(f"the sampler was told {command}; expected watch or edge")


def _line(reading: Reading, late_s: float | None) -> str:
    known = {name: value for name, default in _DEFAULTS.items() if (value := getattr(reading, name)) != default}
    return json.dumps(known if late_s is None else {**known, "late_s": late_s}) + "\n"


def read_readings(file: Path) -> list[Reading]:
    """Return the readings that a sampler wrote; a line cut off by a kill is left out."""
    lines = file.read_text(encoding="utf-8").split("\n")[:-1] if file.exists() else []
    return [Reading(**json.loads(line)) for line in lines]


if __name__ == "__main__":
    main()
