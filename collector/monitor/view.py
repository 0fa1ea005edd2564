"""What `deadheat monitor` shows to people: the figures now, and which source each comes from."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from collector.monitor.target import Watched
from collector.monitor.watch import Tick, Totals
from collector.telemetry import Reading

REFRESH_S = 0.25
UNITS = ("B", "kB", "MB", "GB", "TB")


class Screen:
    """Shows the totals: live on a terminal, and once at the end anywhere."""

    def __init__(self, console: Console, watched: Watched, totals: Totals, *, live: bool) -> None:
        self._console, self._watched, self._totals = console, watched, totals
        self._live = Live(console=console, auto_refresh=False, transient=True) if live else None
        self._shown_s = 0.0

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Show the totals meanwhile, and leave the last ones standing."""
        try:
            if self._live is None:
                yield
            else:
                with self._live:
                    yield
        finally:
            self._console.print(totals_table(self._watched.label, self._totals))

    def add(self, tick: Tick) -> None:
        """Show the totals, at most four times a second."""
        if self._live is not None and tick.at_s - self._shown_s >= REFRESH_S:
            self._shown_s = tick.at_s
            processes = len(self._watched.read_pids())
            self._live.update(totals_table(self._watched.label, self._totals, processes), refresh=True)

    def print_lines_of(self, child: subprocess.Popen[bytes]) -> list[threading.Thread]:
        """Print what a command writes to this terminal above the figures, line by line, until it ends."""
        streams = [stream for stream in (child.stdout, child.stderr) if stream is not None]
        threads = [threading.Thread(target=self._print_lines, args=(stream,), daemon=True) for stream in streams]
        for thread in threads:
            thread.start()
        return threads

    def _print_lines(self, stream: IO[bytes]) -> None:
        for line in stream:
            self._console.print(Text.from_ansi(line.decode("utf-8", errors="replace").rstrip("\r\n")), soft_wrap=True)


def totals_table(label: str, totals: Totals, processes: int | None = None) -> Table:
    """Return the figures as a table; one that could not be read is '–', never a zero.

    `processes` is how many there are now; without it the watching is over, and only sums and peaks are shown.
    """
    over = processes is None
    table = Table.grid(padding=(0, 2))
    table.add_row(Text("watched", "bold"), Text(label))
    table.add_row(Text("elapsed", "bold"), Text(f"{totals.elapsed_s:.1f} s"))
    now = "" if over else f"{_number(totals.cores_now)} cores now, "
    used = _number(totals.cpu_used_s)
    table.add_row(Text("CPU", "bold"), Text(f"{now}{_number(totals.cores_mean)} cores mean, {used} CPU seconds"))
    held = "" if over else f"{size_text(totals.memory_bytes)} now, "
    table.add_row(Text("memory", "bold"), Text(f"{held}{size_text(totals.memory_peak_bytes)} peak"))
    if not over:
        table.add_row(Text("processes", "bold"), Text(str(processes)))
    for index, reading in sorted(totals.devices.items()):
        table.add_row(Text(f"GPU {index}", "bold"), Text(device_text(reading)))
    table.add_row(Text("sources", "bold"), Text(sources_text(totals)))
    for source, reason in totals.refused.items():
        table.add_row(Text(""), Text(f"{source}: unavailable: {reason}"))
    return table


def sources_text(totals: Totals) -> str:
    """Return which source each quantity comes from, with its quality."""
    return ", ".join(f"{name}: {source} ({quality})" for name, (source, quality) in totals.used.items()) or "none"


def device_text(reading: Reading) -> str:
    """Return what is known of one device."""
    busy, power = reading.utilization_ratio, reading.power_w
    parts = [
        None if busy is None else f"{busy:.0%} of the time busy",
        None if reading.run_memory_bytes is None else f"{size_text(reading.run_memory_bytes)} of these processes",
        None if reading.memory_bytes is None else f"{size_text(reading.memory_bytes)} of anybody",
        None if power is None else f"{power:.0f} W",
        None if reading.temperature_c is None else f"{reading.temperature_c:.0f} °C",
    ]
    return ", ".join(part for part in parts if part)


def size_text(size_bytes: int | None) -> str:
    """Return a size as a person reads it.

    >>> size_text(1_234_000_000), size_text(512), size_text(None)
    ('1.23 GB', '512 B', '–')
    """
    if size_bytes is None:
        return "–"
    power = min(len(UNITS) - 1, (len(str(abs(size_bytes))) - 1) // 3)
    return f"{size_bytes / 1000**power:.3g} {UNITS[power]}"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"
