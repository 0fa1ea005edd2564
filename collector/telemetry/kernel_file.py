"""A file of procfs or sysfs that is read again and again through one descriptor."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

SIZE = 16_384  # to begin with; the file of a machine with hundreds of cores is longer


class KernelFile:
    """Stays open between readings: half the cost of opening it each time, and one read is one consistent state."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._size = SIZE
        self.reason = ""  # why it could not be opened, or not be read the last time
        try:
            self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as reason:
            self._descriptor = -1
            self.reason = f"{path}: {reason.strerror}"

    def read(self) -> str | None:
        """Return what the file says now; None where it cannot be read, and `reason` says why."""
        if self._descriptor < 0:
            return None
        try:
            while len(content := os.pread(self._descriptor, self._size, 0)) == self._size:
                self._size *= 2  # one read is one consistent state, so all of it is read again
        except OSError as reason:
            self.reason = f"{self._path}: {reason.strerror}"
            return None
        self.reason = ""
        return content.decode("utf-8", errors="replace")

    def close(self) -> None:
        """Give the descriptor back; what is read afterwards is None."""
        with contextlib.suppress(OSError):
            os.close(self._descriptor)
        self._descriptor = -1
