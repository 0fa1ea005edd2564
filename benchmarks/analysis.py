"""How long all findings of a large store take, and how much memory: 40,000 runs with 480,000 epoch rows.

    python benchmarks/analysis.py [RUNS] [--peers]

A store of that size is written first (not timed). Then a fresh process reads it, makes every finding and every
level of variance, and says how long each part took and what its memory came to at most.

With `--peers` benchopt then makes its result pages and asv publishes, each installed in an environment of its own and
given the same runs in its own format: benchopt draws medians and quantiles, asv looks for steps in each series; a
verdict with its interval, as here, neither has. Where one is not done in ten minutes, it is given a tenth.
"""

from __future__ import annotations

import dataclasses
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(PROJECT))

from analysis.findings.find import find_all  # noqa: E402
from analysis.frames.views import read_counted_runs, read_epochs, read_gates, read_unavailable  # noqa: E402
from analysis.statistics.variance_components import variance_components  # noqa: E402
from benchmarks.analysis_peers import PEERS, Peer  # noqa: E402
from benchmarks.taken import taken  # noqa: E402
from store.database import Store  # noqa: E402
from store.records import Row  # noqa: E402
from tests.analysis.builders import JAX, JULIA, NUMPY, PYTORCH, START, Campaign  # noqa: E402

RACERS = (PYTORCH, JAX, NUMPY, JULIA)
HEATS = 10
RUNS_PER_CELL = HEATS * (len(RACERS) + 1)
CELLS_PER_CAMPAIGN = 20
LIMIT_S = 600


def main(runs: int, *, with_peers: bool) -> None:
    """Write a store of about `runs` runs, and have a fresh process find everything in it; then the peers."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        store = Store(folder / "store")
        for number in range(max(1, runs // (RUNS_PER_CELL * CELLS_PER_CAMPAIGN))):
            store.append(f"campaign-{number}", list(campaign(number)), day=START.date())
        print(f"deadheat: {taken([sys.executable, __file__, '--measure', store.path], folder, LIMIT_S)}", flush=True)
        for peer in PEERS if with_peers else ():
            measure_peer(peer, store, folder / peer.name)


def measure_peer(peer: Peer, store: Store, folder: Path) -> None:
    """Print what a peer needs for the runs of a store, or for a tenth of its campaigns where that is too much."""
    programs = peer.install(folder / "environment")
    runs, epochs = read_counted_runs(store), read_epochs(store)
    campaigns = runs["campaign_id"].unique()
    for at, (words, feed) in enumerate(peer.feeds.items()):
        for number in (len(campaigns), max(1, len(campaigns) // 10)):
            mine = runs[runs["campaign_id"].isin(campaigns[:number])]
            here = folder / f"{at}-{number}"
            feed(mine, epochs, here)
            needed = taken([programs / peer.command[0], *peer.command[1:]], here, LIMIT_S, here / "log.txt")
            outcome = needed or f"not done in {LIMIT_S} s"
            print(f"{peer.packages[0]}, {len(mine):,} runs, {words}: {outcome}", flush=True)
            if needed:
                break


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
    print(f"{len(runs):,} runs, {len(epochs):,} epoch rows: {len(findings):,} findings, {len(levels):,} series")


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
        numbers = [int(argument) for argument in sys.argv[1:] if argument != "--peers"]
        main(numbers[0] if numbers else 40_000, with_peers="--peers" in sys.argv)
