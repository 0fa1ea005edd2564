"""Read a source on an absolute schedule, beside the run, and keep what it gave."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from collector.telemetry import Reading, Source

PERIOD_S = 0.1


class Sampler:
    """Reads `source` every `period_s` in a thread of the collector; use as a context manager.

    The schedule is absolute on CLOCK_MONOTONIC: a late reading does not shift the ones after it,
    and periods that were missed altogether are left out rather than made up for.
    """

    def __init__(self, source: Source, file: Path, period_s: float = PERIOD_S) -> None:
        self._source = source
        self._file = file
        self._period_ns = round(period_s * 1e9)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._read_until_stopped, name="sampler", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()

    def _read_until_stopped(self) -> None:
        # A disk that is full ends the readings here; the run goes on, and who writes its ending meets the disk too.
        with contextlib.suppress(OSError), self._file.open("w", encoding="utf-8") as file:
            start_ns, number = time.monotonic_ns(), 0
            while readings := self._source.read():
                file.writelines(json.dumps(dataclasses.asdict(reading)) + "\n" for reading in readings)
                number = max(number + 1, (time.monotonic_ns() - start_ns) // self._period_ns + 1)
                if self._stop.wait((start_ns + number * self._period_ns - time.monotonic_ns()) / 1e9):
                    return


def read_readings(file: Path) -> list[Reading]:
    """Return the readings that a sampler wrote; a line cut off by a kill is left out."""
    lines = file.read_text(encoding="utf-8").split("\n")[:-1] if file.exists() else []
    return [Reading(**json.loads(line)) for line in lines]
