"""Recorded readings behind the Source protocol: what hardware gave once is read again where there is none."""

from __future__ import annotations

import dataclasses
import itertools
import json
import time
from collections.abc import Sequence
from pathlib import Path

from collector.telemetry import Reading


class ReplaySource:
    """Gives back, one reading after another, what a source gave while it was recorded.

    Each read returns the recorded readings of the next moment, as if they were made now: those of several devices
    that were read at once stay together. Nothing is left at the end, as of a run that has ended.

    Parameters
    ----------
    file
        Lines as in `telemetry.jsonl`.
    source
        Only the readings of this source; all of them when empty.
    """

    def __init__(self, file: Path, source: str = "") -> None:
        lines = file.read_text(encoding="utf-8").splitlines()
        readings = [Reading(**json.loads(line)) for line in lines]
        chosen = [reading for reading in readings if reading.source == source or not source]
        self._moments = iter([tuple(moment) for _, moment in itertools.groupby(chosen, lambda reading: reading.at_ns)])

    def read(self, edge: str = "") -> Sequence[Reading]:
        """Return the readings of the next moment, with the present time and `edge`."""
        at_ns = time.monotonic_ns()
        moment = next(self._moments, ())
        return [dataclasses.replace(reading, at_ns=at_ns, edge=edge, late_s=None) for reading in moment]

    def close(self) -> None:
        """Nothing is held open."""
