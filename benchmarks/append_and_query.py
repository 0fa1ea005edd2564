"""How fast the store appends and answers, beside SQLite and CSV doing the same in the same process.

    python benchmarks/append_and_query.py [--runs 1000] [--folder FOLDER]

Each run is made safe on the disk (fsync, or a full-synchronous commit) before the next begins. The three take turns,
so that whatever else the machine does falls on all of them; figures are medians, and the ratio is what to read.
The rows are random: only their number and types matter here.
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import os
import random
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from store.database import Store
from store.delivery import by_table
from store.parquet import columns
from store.records import PHASES, TABLES, EpochRow, PhaseRow, ReadingRow, Row, RunRow

DAY = date(2026, 1, 1)
RUNNERS = 5
LEADERBOARD = "SELECT runner, count(*), avg(train_clock_s), min(train_clock_s) FROM runs GROUP BY runner ORDER BY 3"
REPETITIONS = 7
NAMES = {kind: table for table, kind in TABLES.items()}


def random_row(kind: type[Row], chance: random.Random, **fixed: object) -> Row:
    """Return a row with a random value in every column that is not fixed."""
    makers: dict[type, Callable[[], object]] = {
        str: lambda: f"{chance.getrandbits(64):016x}",
        int: lambda: chance.randrange(10**6),
        float: chance.random,
        bool: lambda: chance.random() < 0.5,
        datetime: lambda: datetime.now(UTC),
    }
    return kind(**({c.name: makers[c.type]() for c in columns(NAMES[kind])} | fixed))


def typical_run(number: int, chance: random.Random) -> list[Row]:
    """Return one run with 9 phases, 12 epochs and 100 readings."""
    run_id = f"run{number:06}"
    return [
        random_row(RunRow, chance, run_id=run_id, runner=f"runner{number % RUNNERS}", status="completed"),
        *(random_row(PhaseRow, chance, run_id=run_id, phase=phase, index=0) for phase in PHASES),
        *(random_row(EpochRow, chance, run_id=run_id, epoch=(step + 1) / 4) for step in range(12)),
        *(random_row(ReadingRow, chance, run_id=run_id, at_s=step / 10) for step in range(100)),
    ]


class Sqlite:
    """One database file, one transaction per run."""

    def __init__(self, folder: Path) -> None:
        self.connection = sqlite3.connect(folder / "runs.sqlite")
        self.connection.executescript("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;")
        for table in TABLES:
            names = ", ".join(f'"{c.name}"' for c in columns(table))
            self.connection.execute(f"CREATE TABLE {table} ({names})")

    def append(self, _name: str, rows: list[Row]) -> None:
        """Insert the rows and commit."""
        with self.connection:
            for table, table_rows in by_table("x", rows).items():
                places = ", ".join("?" * len(columns(table)))
                self.connection.executemany(f"INSERT INTO {table} VALUES ({places})", map(plain_values, table_rows))

    def leaderboard(self) -> list[tuple[Any, ...]]:
        """Return the mean and the best train clock of each runner."""
        return self.connection.execute(LEADERBOARD).fetchall()


class Csv:
    """One file per run and table."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "csv"
        for table in TABLES:
            (self.folder / table).mkdir(parents=True)

    def append(self, name: str, rows: list[Row]) -> None:
        """Write the rows and make them safe."""
        for table, table_rows in by_table("x", rows).items():
            with (self.folder / table / f"{name}.csv").open("w", newline="") as file:
                writer = csv.writer(file)
                writer.writerow(column.name for column in columns(table))
                writer.writerows(map(plain_values, table_rows))
                file.flush()
                os.fsync(file.fileno())

    def leaderboard(self) -> list[tuple[Any, ...]]:
        """Return the mean and the best train clock of each runner."""
        clocks: dict[str, list[float]] = {}
        for path in (self.folder / "runs").iterdir():
            with path.open(newline="") as file:
                for row in csv.DictReader(file):
                    clocks.setdefault(row["runner"], []).append(float(row["train_clock_s"]))
        rows = [(runner, len(found), statistics.fmean(found), min(found)) for runner, found in clocks.items()]
        return sorted(rows, key=lambda row: row[2])


class Deadheat:
    """The store."""

    def __init__(self, folder: Path) -> None:
        self.store = Store(folder / "store")

    def append(self, name: str, rows: list[Row]) -> None:
        """Append the run."""
        self.store.append(name, rows, day=DAY)

    def leaderboard(self) -> list[tuple[Any, ...]]:
        """Return the mean and the best train clock of each runner."""
        return self.store.rows(LEADERBOARD).values


def plain_values(row: Row) -> list[object]:
    """Return a row's values as SQLite and CSV take them."""
    return [value.isoformat() if isinstance(value, datetime) else value for value in dataclasses.astuple(row)]


def seconds(call: Callable[[], object]) -> float:
    """Return how long a call takes."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def size_bytes(folder: Path) -> int:
    """Return the size of all files below a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def report(title: str, taken_s: dict[str, list[float]]) -> None:
    """Print medians and the paired ratio of deadheat to each other."""
    print(title)
    for name, values in taken_s.items():
        ratios = [ours / theirs for ours, theirs in zip(taken_s["deadheat"], values, strict=True)]
        print(f"  {name:9} {statistics.median(values) * 1e3:9.2f} ms   ratio {statistics.median(ratios):6.2f}")


def main() -> None:
    """Append runs by turns, then ask by turns, and print what it took."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--folder", type=Path, help="where to write; a temporary folder if not given")
    options = parser.parse_args()
    chance = random.Random(1)
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folders = {kind: Path(name) / kind for kind in ("deadheat", "sqlite", "csv")}
        for folder in folders.values():
            folder.mkdir()
        kept: dict[str, Any] = {
            "deadheat": Deadheat(folders["deadheat"]),
            "sqlite": Sqlite(folders["sqlite"]),
            "csv": Csv(folders["csv"]),
        }
        append_s: dict[str, list[float]] = {kind: [] for kind in kept}
        for number in range(options.runs):
            rows = typical_run(number, chance)
            for kind, keeper in kept.items():
                append_s[kind].append(seconds(lambda k=keeper, r=rows, n=number: k.append(f"run{n:06}", r)))
        report(f"append one run (1 run, 9 phases, 12 epochs, 100 readings), median of {options.runs}", append_s)
        answers = [[(r[0], r[1], round(r[2], 9)) for r in keeper.leaderboard()] for keeper in kept.values()]
        assert answers[0] == answers[1] == answers[2], "the three disagree"
        query_s = {kind: [seconds(keeper.leaderboard) for _ in range(REPETITIONS)] for kind, keeper in kept.items()}
        report(f"leaderboard over {options.runs} runs, median of {REPETITIONS}", query_s)
        for kind, folder in folders.items():
            print(f"  {kind:9} {size_bytes(folder) / options.runs:9.0f} bytes per run")


if __name__ == "__main__":
    main()
