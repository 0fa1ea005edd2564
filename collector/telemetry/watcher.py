"""The sampler of one run, as the collector sees it: started beforehand, told what to do, and asked how it ended."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Collection
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Self

from collector.telemetry.choice import RunTarget
from collector.telemetry.sampler import PERIOD_S

READY_TIMEOUT_S, END_TIMEOUT_S = 10.0, 5.0


class Watcher:
    """Runs a sampler beside a run; use as a context manager.

    Nothing that happens to the sampler reaches the run: what went wrong is in `fault` after `stop`.

    Parameters
    ----------
    file
        Where the readings are kept, one JSON object per line.
    apart_from
        The cores of the runner: the sampler stays off them where there are others.
    period_s
        Seconds between two readings.
    """

    def __init__(self, file: Path, apart_from: Collection[int] = (), period_s: float = PERIOD_S) -> None:
        available = os.sched_getaffinity(0)
        cores = ",".join(map(str, sorted(available - set(apart_from) or available)))
        sampler = [sys.executable, "-m", "collector.telemetry.sampler", str(file), str(period_s)]
        self._command = ["taskset", "--cpu-list", cores, *sampler]
        self._process: subprocess.Popen[bytes] | None = None
        self.fault = ""

    @property
    def pid(self) -> int | None:
        """The sampler's process id; None before it is started and where it could not be."""
        return self._process.pid if self._process else None

    def __enter__(self) -> Self:
        try:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                process_group=0,  # Ctrl-C is for the collector alone
            )
        except OSError as reason:
            self.fault = f"the sampler could not be started: {reason}"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def wait_until_ready(self) -> None:
        """Return when the sampler has started, so that its start does not fall into the run."""
        if self._process is not None and self._process.stdout is not None:
            select.select([self._process.stdout], [], [], READY_TIMEOUT_S)

    def watch(self, target: RunTarget) -> None:
        """Begin reading."""
        self._tell({"watch": asdict(target)})

    def note_edge(self, kind: str) -> None:
        """Have everything read once more, because a phase has ended."""
        self._tell({"edge": kind})

    def stop(self) -> None:
        """Take a last reading and end the sampler."""
        process, self._process = self._process, None
        if process is None:
            return
        try:
            said, _ = process.communicate(timeout=END_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            self.fault = f"the sampler hung: it did not end within {END_TIMEOUT_S:g} s; readings may be missing"
            return
        if process.returncode:
            self.fault = _fault(process.returncode, said.decode("utf-8", errors="replace"))

    def _tell(self, command: object) -> None:
        if self._process is None or self._process.stdin is None:
            return
        with contextlib.suppress(OSError):  # it is gone, or hangs: stop() says so
            os.set_blocking(self._process.stdin.fileno(), False)
            os.write(self._process.stdin.fileno(), json.dumps(command).encode() + b"\n")


def _fault(exit_code: int, said: str) -> str:
    if exit_code < 0:
        return f"the sampler was killed by {signal.Signals(-exit_code).name}; readings may be missing"
    last = next((line for line in reversed(said.splitlines()) if line != "ready"), "")
    return f"the sampler ended with exit code {exit_code}: {last or 'it said nothing'}"
