"""How long all findings of a large store take, and how much memory: 40,000 runs with 480,000 epoch rows.

    python benchmarks/analysis.py [RUNS]

A store of that size is written first (not timed). Then a fresh process reads it, makes every finding and every
level of variance, and says how long each part took and what its memory came to at most.
"""

from __future__ import annotations

import dataclasses
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(PROJECT))

from analysis.findings import find_all  # noqa: E402
from analysis.frames import read_counted_runs, read_epochs, read_gates, read_unavailable  # noqa: E402
from analysis.levels import variance_components  # noqa: E402
from store.database import Store  # noqa: E402
from store.records import Row  # noqa: E402
from tests.analysis.builders import JAX, JULIA, NUMPY, PYTORCH, START, Campaign  # noqa: E402

RACERS = (PYTORCH, JAX, NUMPY, JULIA)
HEATS = 10
RUNS_PER_CELL = HEATS * (len(RACERS) + 1)
CELLS_PER_CAMPAIGN = 20


def main(runs: int) -> None:
    """Write a store of about `runs` runs and have a fresh process find everything in it."""
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder) / "store")
        for number in range(max(1, runs // (RUNS_PER_CELL * CELLS_PER_CAMPAIGN))):
            store.append(f"campaign-{number}", list(campaign(number)), day=START.date())
        command = [sys.executable, __file__, "--measure", str(store.path)]
        subprocess.run(command, check=True)


def campaign(number: int) -> Iterator[Row]:
    """Yield the rows of one campaign: the same heats at twenty batch sizes."""
    for cell in range(CELLS_PER_CAMPAIGN):
        mark = f"-{number}-{cell}"
        changes: dict[str, Any] = {"campaign_id": f"c-{number}", "batch_size": 8 * (cell + 1)}
        rows = Campaign(racers=RACERS, heats=HEATS, changes=changes, seed=1000 * number + cell).rows()
        for row in rows:
            if hasattr(row, "gate_id"):
                if cell == 0:
                    yield renamed(row, campaign_id=f"c-{number}", gate_id=f"{row.gate_id}{mark}")
            elif hasattr(row, "run_id"):
                heat = {"heat_id": row.heat_id + mark} if hasattr(row, "heat_id") else {}
                yield renamed(row, run_id=row.run_id + mark, **heat)
            elif number == 0 and cell == 0:
                yield row


def renamed(row: Row, **changes: str) -> Row:
    """Return a row with other names."""
    return dataclasses.replace(row, **changes)


def measure(path: Path) -> None:
    """Print what a fresh process needs for each part, and at most."""
    store = Store(path)
    runs, epochs, unavailable, gates = timed(
        "read", lambda: tuple(read(store) for read in (read_counted_runs, read_epochs, read_unavailable, read_gates))
    )
    findings = timed("findings", lambda: find_all(runs, epochs, unavailable, gates))
    levels = timed("variance by level", lambda: variance_components(runs, epochs))
    peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{len(runs):,} runs, {len(epochs):,} epoch rows: {len(findings):,} findings, {len(levels):,} series")
    print(f"process in all: {time.process_time():.1f} CPU s, peak memory {peak_mib:,.0f} MiB")


def timed(name: str, work: Callable[[], Any]) -> Any:  # noqa: ANN401 - whatever the work returns
    """Return the result of `work` and print how long it took on the wall and on the CPU."""
    wall_s, cpu_s = time.perf_counter(), time.process_time()
    found = work()
    print(f"{name:18} {time.perf_counter() - wall_s:6.1f} s wall {time.process_time() - cpu_s:6.1f} s CPU")
    return found


if __name__ == "__main__":
    if sys.argv[1:2] == ["--measure"]:
        measure(Path(sys.argv[2]))
    else:
        main(int(sys.argv[1]) if len(sys.argv) > 1 else 40_000)
