"""The event writer: one flushed JSON line per event, with the monotonic clock in nanoseconds."""

from __future__ import annotations

import json
import time
from pathlib import Path


class EventWriter:
    """Writes events.jsonl; the file is unbuffered, so a line is with the kernel when `write` returns."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("wb", buffering=0)

    def write(self, kind: str, **fields: int | float | bool | str) -> None:
        """Write one event; the clock is read first, so that the writing lies behind the timed edge."""
        at_ns = fields.pop("at_ns", None) or time.monotonic_ns()
        self._file.write(json.dumps({"kind": kind, "at_ns": at_ns, **fields}, allow_nan=False).encode() + b"\n")
