"""The process tree adds up whatever its processes do; a folder of its own stands for procfs."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from collector.telemetry.machine import PAGE_BYTES, TICK_S
from collector.telemetry.memory import PSS_EDGES, PssSource
from collector.telemetry.orphans import Orphans
from collector.telemetry.process import ProcessTreeSource


class Procfs:
    """Processes that begin, work, are waited for and end as a test says."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def put(
        self, pid: int, parent: int, *, ticks: int, waited: int = 0, started: int = 1, session: int = 0, pages: int = 3
    ) -> None:
        fields = ["S", parent, pid, session or pid, 0, -1, 0, 0, 0, 0, 0, ticks, 0, waited, 0, 20, 0, 1, 0, started, 0]
        (self.folder / str(pid)).mkdir(exist_ok=True)
        text = " ".join(map(str, [pid, "(a (b) c)", *fields, pages, 0, 0]))
        (self.folder / str(pid) / "stat").write_text(text, encoding="ascii")

    def end(self, pid: int) -> None:
        shutil.rmtree(self.folder / str(pid))


@pytest.fixture
def procfs(tmp_path) -> Procfs:
    """Return a procfs with process 10, child 11, and 12 that belongs to somebody else."""
    procfs = Procfs(tmp_path)
    procfs.put(10, 1, ticks=100)
    procfs.put(11, 10, ticks=50)
    procfs.put(12, 1, ticks=7)
    return procfs


def cpu_ticks(source: ProcessTreeSource) -> int:
    (reading,) = source.read()
    assert reading.cpu_s is not None
    return round(reading.cpu_s / TICK_S)


def test_a_reading_is_the_sum_over_the_tree(procfs):
    """Of the run's processes alone."""
    (reading,) = ProcessTreeSource(10, procfs.folder).read("build_stop")

    assert (reading.cpu_s, reading.memory_bytes, reading.processes) == (150 * TICK_S, 2 * 3 * PAGE_BYTES, 2)
    assert (reading.quality, reading.edge) == ("sampled", "build_stop")


@pytest.mark.parametrize("waited", [0, 50, 55, 80])
def test_a_child_that_ends_is_neither_lost_nor_counted_twice(procfs, waited):
    """Whether its parent waits for it never or at once, and whatever it did since it was last seen."""
    source = ProcessTreeSource(10, procfs.folder)
    before = cpu_ticks(source)
    procfs.end(11)
    procfs.put(10, 1, ticks=100, waited=waited)

    assert before == 150
    assert cpu_ticks(source) == 100 + max(50, waited)


def test_a_parent_that_waits_later_adds_only_what_was_not_known(procfs):
    """Between the end of a child and its parent's wait nothing is lost, and after it nothing is there twice."""
    source = ProcessTreeSource(10, procfs.folder)
    cpu_ticks(source)
    procfs.end(11)
    between = cpu_ticks(source)
    procfs.put(10, 1, ticks=100, waited=53)

    assert (between, cpu_ticks(source)) == (150, 153)


def test_a_grandchild_ends_with_its_parent(procfs):
    """What both had used stays in the sum."""
    procfs.put(13, 11, ticks=20)
    source = ProcessTreeSource(10, procfs.folder)
    cpu_ticks(source)
    procfs.end(11)
    procfs.end(13)

    assert cpu_ticks(source) == 170


def test_a_process_that_leaves_the_tree_is_followed(procfs):
    """Another parent and another session change nothing once it is known, not even the end of the root."""
    source = ProcessTreeSource(10, procfs.folder)
    cpu_ticks(source)
    procfs.put(11, 1, ticks=60, session=11)
    followed = cpu_ticks(source)
    procfs.end(10)

    assert (followed, cpu_ticks(source)) == (160, 160)
    procfs.end(11)
    assert source.read() == ()


def test_an_orphan_is_known_by_the_session_of_the_run(procfs):
    """Where its parent was gone before anybody looked."""
    source = ProcessTreeSource(10, procfs.folder)
    procfs.put(14, 1, ticks=5, session=10)

    assert cpu_ticks(source) == 155


def test_a_process_id_that_is_used_again_is_another_process(procfs):
    """The one that ended keeps its account, the new one is not the run's."""
    source = ProcessTreeSource(10, procfs.folder)
    cpu_ticks(source)
    procfs.put(11, 1, ticks=9000, started=2)

    assert cpu_ticks(source) == 150
    procfs.put(10, 1, ticks=9000, started=2)
    assert source.read() == ()


def test_a_process_that_is_not_there_is_unavailable_with_the_reason(procfs):
    """Said once, and never a zero."""
    source = ProcessTreeSource(99, procfs.folder)
    (reading,) = source.read()

    assert (reading.quality, reading.cpu_s, reading.memory_bytes) == ("unavailable", None, None)
    assert reading.reason == f"{procfs.folder / '99'}: no such process, or not ours to read"
    assert source.read() == ()


def test_a_process_without_memory_has_none(procfs):
    """One that is just ending, or a thread of the kernel: nothing was read, and nought is no figure."""
    procfs.end(11)
    procfs.put(10, 1, ticks=100, pages=0)
    (reading,) = ProcessTreeSource(10, procfs.folder).read()

    assert (reading.cpu_s, reading.memory_bytes, reading.processes) == (100 * TICK_S, None, 1)


def test_where_a_group_accounts_for_cpu_the_tree_does_not(procfs):
    """One source per quantity."""
    (reading,) = ProcessTreeSource(10, procfs.folder, with_cpu=False).read()

    assert (reading.cpu_s, reading.memory_bytes) == (None, 2 * 3 * PAGE_BYTES)


def test_a_program_that_forks_faster_than_anybody_looks_adds_up():
    """Forty children, gone before they are seen, are in what their parent has waited for."""
    code = (
        "import os, sys, time\n"
        "for _ in range(40):\n"
        "    if os.fork() == 0:\n"
        "        end = time.process_time() + 0.01\n"
        "        while time.process_time() < end: pass\n"
        "        os._exit(0)\n"
        "    os.wait()\n"
        "print('done', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        source = ProcessTreeSource(process.pid)
        source.read()
        assert process.stdout is not None
        process.stdout.readline()
        (reading,) = source.read()
        process.communicate()

    assert reading.cpu_s is not None
    assert 0.4 <= reading.cpu_s < 1.5


@pytest.mark.parametrize("leave", ["", "os.setsid();"])
def test_an_orphan_is_ended_and_accounted_for(leave):
    """Also one that has left the session, while no other run is under way."""
    code = (
        "import os, time\n"
        f"if os.fork() == 0:\n    {leave}\n    while time.process_time() < 0.2: pass\n"
        "    print(os.getpid(), flush=True); time.sleep(60)\n"
    )
    with Orphans() as orphans:
        process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, start_new_session=True)
        orphans.pid = process.pid
        assert process.stdout is not None
        with process.stdout:
            orphan = int(process.stdout.readline())
        process.wait()
        cpu_s = orphans.end()

    assert 0.2 <= cpu_s < 0.5
    assert not Path(f"/proc/{orphan}").exists()


def test_what_the_collector_itself_has_started_is_no_orphan():
    """A process in the collector's own session lives on."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as own, Orphans() as orphans:
        orphans.pid = 0
        assert orphans.end() == 0.0
        assert own.poll() is None
        own.communicate(b"\n")


def test_shared_pages_are_divided_among_those_that_map_them(tmp_path):
    """The sum over the processes, once per kind of edge; none where one of them cannot be read."""
    for pid, kilobytes in ((10, 100), (11, 50)):
        (tmp_path / str(pid)).mkdir()
        (tmp_path / str(pid) / "smaps_rollup").write_text(f"55-7f [rollup]\nRss:  900 kB\nPss:  {kilobytes} kB\n")
    pids = [10, 11]
    source = PssSource(lambda: pids, tmp_path)

    assert source.read() == source.read("compile_stop") == source.read("epoch_stop") == ()
    assert [reading.pss_bytes for reading in source.read(PSS_EDGES[0])] == [150 * 1024]
    assert source.read(PSS_EDGES[0]) == ()
    pids.append(12)
    (missing,) = source.read(PSS_EDGES[1])
    assert (missing.quality, missing.pss_bytes) == ("unavailable", None)
    assert missing.reason == "1 of 3 processes had ended or are not ours to read"
    pids.clear()
    assert [reading.reason for reading in source.read(PSS_EDGES[2])] == ["the processes had ended"]


def test_readings_are_of_now():
    """On the clock of the schedule."""
    before = time.monotonic_ns()
    (reading,) = ProcessTreeSource(os.getpid()).read()

    assert before <= reading.at_ns <= time.monotonic_ns()
