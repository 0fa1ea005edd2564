"""Where the readings of `deadheat monitor` go: CSV, JSON lines, Parquet, or the format of UnixStats."""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import json
import sys
from collections.abc import Callable, Iterator
from enum import StrEnum
from pathlib import Path
from typing import IO, Protocol

from collector.monitor.target import MonitorError
from collector.monitor.unixstats import (
    ROWS_PER_S,
    VIDEO_RAM_MIB,
    Point,
    format_point,
    read_cpu_since_boot_percent,
    read_ram_percent,
)
from collector.monitor.watch import Tick
from collector.run.normalise import reading_rows
from collector.telemetry import Reading
from store.records import ReadingRow

COLUMNS = [f.name for f in dataclasses.fields(ReadingRow)]
MIB_BYTES = 1024**2


class Form(StrEnum):
    """How the readings are written."""

    PRETTY = "pretty"
    CSV = "csv"
    JSONL = "jsonl"
    PARQUET = "parquet"


class Writer(Protocol):
    """Something that keeps ticks."""

    def add(self, tick: Tick) -> None:
        """Keep one tick."""
        ...

    def close(self) -> None:
        """Write what is not written yet."""
        ...


class Rows:
    """The ticks as rows of the table `readings`: of the process tree alone, or of every source."""

    def __init__(self, run_id: str, start_ns: int, *, everything: bool) -> None:
        self._run_id, self._start_ns, self._everything = run_id, start_ns, everything
        self._told: set[tuple[str, str]] = set()

    def of(self, tick: Tick) -> list[ReadingRow]:
        """Return the rows of one tick; why a source is unavailable is said once."""
        run = [tick.run] if tick.run else []
        others = [r for r in tick.readings if r.scope != "run" or r.quality == "unavailable"]
        kept = [*run, *filter(self._is_news, others)] if self._everything else run
        return reading_rows(self._run_id, kept, self._start_ns)

    def _is_news(self, reading: Reading) -> bool:
        if reading.quality != "unavailable":
            return True
        key = (reading.source, reading.reason)
        is_news = key not in self._told
        self._told.add(key)
        return is_news


class LineWriter:
    """Writes CSV or JSON lines, each at once: what is written stays, whatever happens next."""

    def __init__(self, rows: Rows, file: IO[str], form: Form) -> None:
        self._rows, self._file = rows, file
        self._csv = csv.DictWriter(file, COLUMNS, lineterminator="\n") if form is Form.CSV else None
        if self._csv:
            self._csv.writeheader()

    def add(self, tick: Tick) -> None:
        """Write the rows of one tick."""
        for row in self._rows.of(tick):
            content = dataclasses.asdict(row)
            if self._csv:
                self._csv.writerow(content)
            else:
                self._file.write(json.dumps(content) + "\n")
        self._file.flush()

    def close(self) -> None:
        """Nothing is left to write."""


class ParquetWriter:
    """Keeps the rows and writes them as one file at the end: Parquet has its index there."""

    def __init__(self, rows: Rows, path: Path) -> None:
        self._rows, self._path = rows, path
        self._kept: list[ReadingRow] = []

    def add(self, tick: Tick) -> None:
        """Keep the rows of one tick."""
        self._kept += self._rows.of(tick)

    def close(self) -> None:
        """Write them."""
        import pyarrow.parquet

        from store.parquet import arrow_table

        pyarrow.parquet.write_table(arrow_table("readings", self._kept), self._path)


class UnixStatsWriter:
    """Writes what UnixStats would have written, average since boot and nominal clock included."""

    def __init__(
        self,
        file: IO[str],
        read_cpu: Callable[[], float] = read_cpu_since_boot_percent,
        read_ram: Callable[[], float] = read_ram_percent,
    ) -> None:
        self._file, self._read_cpu, self._read_ram = file, read_cpu, read_ram

    def add(self, tick: Tick) -> None:
        """Write one line; the one at the end of the process has no place in the schedule, and is left out."""
        if tick.run is None or tick.run.edge:
            return
        first = next(iter(tick.devices), None)
        point = Point(
            line=tick.number + 2,
            elapsed_s=tick.number / ROWS_PER_S,
            cpu_percent=self._read_cpu(),
            ram_percent=self._read_ram(),
            # The tool writes 0 for a device that is not there, and the format has no other word for it.
            gpu_percent=100 * (first.utilization_ratio or 0.0) if first else 0.0,
            video_ram_percent=100 * (first.run_memory_bytes or 0) / MIB_BYTES / VIDEO_RAM_MIB if first else 0.0,
        )
        self._file.write(format_point(point))
        self._file.flush()

    def close(self) -> None:
        """Nothing is left to write: the last line has no newline."""


class Keeper:
    """A writer that a full disk stops, while the watching goes on."""

    def __init__(self, writer: Writer, lost: list[str]) -> None:
        self._writer, self._lost = writer, lost
        self._works = True

    def add(self, tick: Tick) -> None:
        """Give the writer one tick, as long as it works."""
        self._attempt(lambda: self._writer.add(tick))

    def close(self) -> None:
        """Let the writer finish."""
        self._attempt(self._writer.close)

    def _attempt(self, write: Callable[[], None]) -> None:
        if not self._works:
            return
        try:
            write()
        except BrokenPipeError:
            raise  # nobody reads standard output any more: there is nothing to go on for
        except OSError as reason:
            self._works = False
            self._lost.append(
                f"{reason.filename or 'the readings'}: could not be written to the end ({reason.strerror}); expected a "
                "disk with room. What was written before is there."
            )


@contextlib.contextmanager
def opened(path: Path | None) -> Iterator[IO[str]]:
    """Open a file to be written, or standard output where there is none.

    Raises
    ------
    MonitorError
        If the file cannot be written.
    """
    if path is None:
        yield sys.stdout
        return
    try:
        file = path.open("w", encoding="utf-8", newline="")
    except OSError as reason:
        raise MonitorError(
            f"{path}: cannot be written ({reason.strerror}); expected a file in a folder that exists. Correct the path."
        ) from None
    try:
        yield file
    finally:
        with contextlib.suppress(OSError):  # a line that had no room has been told of
            file.close()


def form_of(form: Form | None, output: Path | None) -> Form:
    """Return the format asked for, or the one that the file's name says.

    Raises
    ------
    MonitorError
        If format and file do not go together.
    """
    named = output.suffix.removeprefix(".") if output else ""
    machine_forms = [known.value for known in Form if known is not Form.PRETTY]
    if form is None and output:
        if named not in machine_forms:
            raise MonitorError(
                f"--output {output}: '.{named}' says no format; expected .{', .'.join(machine_forms)}. "
                "Give --format, or another name."
            )
        return Form(named)
    if form is Form.PRETTY and output:
        raise MonitorError(
            f"--output {output}: pretty is for people; expected --format {' or '.join(machine_forms)}. Choose one."
        )
    if form is Form.PARQUET and not output:
        raise MonitorError("--format parquet: is no text; expected --output FILE beside it. Give a file.")
    return form or Form.PRETTY
