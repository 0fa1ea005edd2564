"""What a command needs: seconds on the wall, CPU seconds and the peak memory of all that it starts.

    python benchmarks/taken.py LIMIT_S COMMAND …

The command is started by a small process of its own: Linux counts the memory of whoever starts a program as if the
program had used it itself.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Taken:
    """What a command needed, with all that it started."""

    wall_s: float
    cpu_s: float
    peak_mib: float  # of its largest process

    def __str__(self) -> str:
        return f"{self.wall_s:.1f} s wall, {self.cpu_s:.1f} CPU s, {self.peak_mib:,.0f} MiB"


class TakenError(RuntimeError):
    """A command that failed."""


def taken(command: Sequence[str | Path], folder: Path, limit_s: float, log: Path | None = None) -> Taken | None:
    """Return what a command needed; none where it was not done within the limit.

    Parameters
    ----------
    command
        The program with its arguments.
    folder
        Where it is run.
    limit_s
        When it is ended, with all that it started.
    log
        Where its words go; none: where those of this process go.

    Raises
    ------
    TakenError
        If it failed, with the end of what it said.
    """
    with tempfile.NamedTemporaryFile("r") as found, (log or Path(os.devnull)).open("w") as words:
        said = {"stdout": words, "stderr": words} if log else {}
        arguments = [sys.executable, __file__, found.name, f"{limit_s}", *command]
        ended = subprocess.run(arguments, cwd=folder, check=False, **said)
        if ended.returncode:
            end = log.read_text()[-2000:] if log else ""
            raise TakenError(f"{' '.join(map(str, command))}: ended with {ended.returncode}\n{end}")
        answer = json.load(found)
        return Taken(**answer) if answer else None


def watch(answer: Path, limit_s: float, command: Sequence[str]) -> int:
    """Run a command, write what it needed, and return how it ended."""
    start_s = time.perf_counter()
    process = subprocess.Popen(command, start_new_session=True)
    signal.signal(signal.SIGALRM, lambda *_: os.killpg(process.pid, signal.SIGKILL))
    signal.setitimer(signal.ITIMER_REAL, limit_s)
    _, status, usage = os.wait4(process.pid, 0)
    wall_s = time.perf_counter() - start_s
    if wall_s >= limit_s:
        answer.write_text("null")
        return 0
    needed = Taken(wall_s, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)
    answer.write_text(json.dumps(asdict(needed)))
    return os.waitstatus_to_exitcode(status)


if __name__ == "__main__":
    sys.exit(watch(Path(sys.argv[1]), float(sys.argv[2]), sys.argv[3:]))
