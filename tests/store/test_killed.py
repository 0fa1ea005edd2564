"""Writers that are killed, that race, and that run out of room: no reader ever sees half a run."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from store.database import Store, StoreError
from tests.store.rows import CHILDREN, DAY, everything, values, whole_run

KILLS = 10
# Forks a writer for each line it reads and says its process id; the imports are paid once.
WRITERS = """
import itertools, os, signal, sys
from pathlib import Path
from store.database import Store
from tests.store.rows import DAY, whole_run

signal.signal(signal.SIGCHLD, signal.SIG_IGN)
store = Store(Path(sys.argv[1]))
for line in sys.stdin:
    name, count = line.split()
    child = os.fork()
    if child == 0:
        for number in range(int(count)):
            store.append(f"{name}-{number}", whole_run(f"{name}-{number}"), day=DAY)
        os._exit(0)
    print(child, flush=True)
"""


class Writers:
    """Starts processes that append runs one after the other."""

    def __init__(self, store: Store) -> None:
        root = Path(__file__).parents[2]
        command = [sys.executable, "-c", WRITERS, str(store.path)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=root)

    def start(self, name: str, count: int) -> int:
        """Start one writer of `count` runs; return its process id."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{name} {count}\n")
        self.process.stdin.flush()
        return int(self.process.stdout.readline())

    def close(self) -> None:
        """Stop starting writers."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait()


@pytest.fixture
def writers(store: Store) -> Iterator[Writers]:
    """Return a starter of writers into the store."""
    started = Writers(store)
    yield started
    started.close()


def wait_for(process: int) -> None:
    """Wait until a process that is not our child has ended."""
    while Path(f"/proc/{process}").exists():
        time.sleep(0.005)


def assert_every_run_is_whole(store: Store) -> int:
    """Return the number of runs, each of which has all its phases, epochs, readings and measurements."""
    counts = ", ".join(f"(SELECT count(*) FROM {table} WHERE run_id = runs.run_id) AS {table}" for table in CHILDREN)
    runs = store.rows(f"SELECT {counts} FROM runs")
    assert set(runs.values) <= {tuple(CHILDREN.values())}
    return len(runs.values)


def test_a_writer_killed_at_any_moment_leaves_whole_runs_only(store: Store, writers: Writers) -> None:
    """Killed with signal 9 in the middle of appending, again and again; every query afterwards works."""
    chance = random.Random(4)
    counts = [0]
    for kill in range(KILLS):
        writer = writers.start(f"w{kill}", 10_000)
        while not list(store.path.glob(f"records/environments/*/w{kill}-*")):
            time.sleep(0.001)
        time.sleep(chance.uniform(0, 0.08))
        os.kill(writer, signal.SIGKILL)
        wait_for(writer)
        counts.append(assert_every_run_is_whole(store))

    assert counts == sorted(counts)
    assert counts[-1] > 0
    assert store.check() == [] or {p.text.split("; ")[1] for p in store.check()} == {"expected at most 2"}
    assert _left_behind(store), "no kill came in the middle of an append: this test has shown nothing"


def _left_behind(store: Store) -> list[Path]:
    runs = {path.name for path in store.path.glob("records/runs/*/*.parquet")}
    files = (store.path / "records").rglob("*.*")
    return [path for path in files if path.is_file() and path.name not in runs]


def test_two_writers_side_by_side_lose_nothing(store: Store, writers: Writers) -> None:
    """Without locks, and with a reader looking on."""
    both = [writers.start(name, 8) for name in ("a", "b")]
    seen = [0]
    while any(Path(f"/proc/{process}").exists() for process in both):
        seen.append(assert_every_run_is_whole(store))

    expected = {f"{name}-{number}" for name in ("a", "b") for number in range(8)}
    assert set(values(store, "SELECT run_id FROM runs")) == expected
    assert [*seen, assert_every_run_is_whole(store)][-1] == 16
    assert seen == sorted(seen)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Return a folder on a disk of 128 kB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=128k", "deadheat-test", str(disk)]
    if (
        os.geteuid() != 0
        or not shutil.which("mount")
        or subprocess.run(mount, check=False, capture_output=True).returncode
    ):
        pytest.skip("mounting a small disk needs root and the right to mount")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_a_full_disk_is_one_clear_error_and_loses_nothing(small_disk: Path) -> None:
    """The append that does not fit leaves nothing; what was there stays; with room it can be repeated."""
    store = Store(small_disk / "results")
    ballast = small_disk / "ballast"
    store.append("r1", whole_run("r1"), day=DAY)
    ballast.write_bytes(bytes(shutil.disk_usage(small_disk).free - 8192))
    before = everything(store.path)

    with pytest.raises(StoreError, match=r"'r2' could not be stored \(No space left on device\)"):
        store.append("r2", whole_run("r2"), day=DAY)

    assert everything(store.path) == before
    ballast.unlink()
    store.append("r2", whole_run("r2"), day=DAY)
    assert assert_every_run_is_whole(store) == 2


def test_a_file_that_may_not_grow_is_one_clear_error(store: Store) -> None:
    """The same where the kernel refuses for another reason: a limit on the size of files."""
    program = (
        "import resource, sys; from pathlib import Path\n"
        "from store.database import Store, StoreError; from tests.store.rows import DAY, whole_run\n"
        "store = Store(Path(sys.argv[1])); store.append('r1', whole_run('r1'), day=DAY)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))\n"
        "try: store.append('r2', whole_run('r2'), day=DAY)\n"
        "except StoreError as error: print(error)\n"
    )

    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", program, str(store.path)], cwd=root, capture_output=True, text=True, check=True
    )

    assert "'r2' could not be stored (File too large)" in done.stdout
    assert assert_every_run_is_whole(store) == 1
    assert not list(store.path.rglob("*.tmp"))
    assert not list(store.path.rglob("r2.parquet"))
