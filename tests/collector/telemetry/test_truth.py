"""A program that says itself what it used is reported so: CPU by the kernel's account, memory by what it holds."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import pytest

from collector.protocol.events import read_events
from collector.run.ingest import PlannedWork, read_run
from collector.run.launch import Ending, launch_run
from collector.run.normalise import phase_rows, timeline_of
from collector.telemetry import Reading
from collector.telemetry.sampler import read_readings
from store.records import PhaseRow, ReadingRow, RunRow
from tests.collector.telemetry.programs import groups, launch  # noqa: F401
from tests.store.rows import row

# Every process writes what the kernel has accounted to it when it ends. Children of three kinds: one that is waited
# for, one that leaves the session and then, when its parent is gone, the tree, and many that are born and gone between
# two readings, half of them never waited for. The pipe ends when all have.
BURN = """
import os, resource, signal, sys, time
folder = sys.argv[1]
def burn(seconds):
    end = time.process_time() + seconds
    while time.process_time() < end: pass
def note():
    used = resource.getrusage(resource.RUSAGE_SELF)
    open(f"{folder}/{os.getpid()}", "w").write(str(used.ru_utime + used.ru_stime))
def child(seconds, leave=False):
    pid = os.fork()
    if pid: return pid
    if leave:
        os.setsid()
        if os.fork(): time.sleep(0.3); os._exit(0)
    burn(seconds); note(); os._exit(0)
reading, writing = os.pipe()
burn(0.3)
waited = [child(0.4)]
waited.append(child(0.5, leave=True))
for pid in waited: os.waitpid(pid, 0)
for _ in range(8): os.waitpid(child(0.02), 0)
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
for _ in range(8): child(0.02)
os.close(writing); os.read(reading, 1)
note()
"""
# Memory of its own, and memory that it shares with three children, each of which touches all of it.
HOLD = """
import mmap, os, sys, time
private_bytes, shared_bytes = map(int, sys.argv[1:3])
def touch(memory):
    for place in range(0, len(memory), 4096): memory[place] = 1
private = mmap.mmap(-1, private_bytes + 4096, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
shared = mmap.mmap(-1, shared_bytes + 4096)
touch(private); touch(shared)
children = []
for _ in range(3):
    pid = os.fork()
    if not pid: touch(shared); time.sleep(0.5); os._exit(0)
    children.append(pid)
for pid in children: os.waitpid(pid, 0)
"""
PRIVATE_BYTES, SHARED_BYTES = 96 * 2**20, 64 * 2**20


def burn(folder: Path, cgroups: Path | None = None) -> tuple[Ending, float, list[Reading]]:
    """Run the program; return how it ended, what its processes say they used, and the readings of the run."""
    notes = folder / "notes"
    notes.mkdir(parents=True)
    ending = launch_run(launch(folder, BURN, notes), **({"cgroups": cgroups} if cgroups else {}))
    used_s = sum(float(note.read_text()) for note in notes.iterdir())
    assert len(list(notes.iterdir())) == 19
    return ending, used_s, run_readings(folder)


def run_readings(folder: Path) -> list[Reading]:
    """Return the readings of scope run."""
    return [reading for reading in read_readings(folder / "telemetry.jsonl") if reading.scope == "run"]


def hold(folder: Path, cgroups: Path | None = None, *, private_bytes: int, shared_bytes: int) -> int:
    """Run the program that holds memory; return the largest that was read."""
    program = launch(folder, HOLD, private_bytes, shared_bytes)
    launch_run(program, **({"cgroups": cgroups} if cgroups else {}))
    return max(reading.memory_bytes for reading in run_readings(folder) if reading.memory_bytes is not None)


@pytest.mark.usefixtures("groups")
def test_cpu_seconds_are_the_kernels_account_of_every_process(tmp_path):
    """Within 3 %, escaped and short-lived ones included, in the run's account and in the readings."""
    ending, used_s, readings = burn(tmp_path)

    assert ending.cpu_source in ("cgroup_v1", "cgroup_v2")
    assert ending.cpu_s == pytest.approx(used_s, rel=0.03)
    totals = [reading.cpu_s for reading in readings if reading.cpu_s is not None]
    assert totals == sorted(totals)
    assert totals[-1] == pytest.approx(used_s, rel=0.03)
    assert {reading.quality for reading in readings if reading.cpu_s is not None} == {"exact"}


def test_without_groups_orphans_are_accounted_for_all_the_same(tmp_path):
    """Within 3 % in the run's account; the readings, which look from outside, say less but never more, nor fall."""
    ending, used_s, readings = burn(tmp_path, cgroups=tmp_path / "none")

    assert ending.cpu_source == "wait4"
    # Children that nobody may wait for (SIGCHLD ignored) are in no account but a group's.
    assert used_s - 8 * 0.025 < ending.cpu_s < used_s * 1.03
    totals = [reading.cpu_s for reading in readings if reading.cpu_s is not None]
    assert totals == sorted(totals)
    assert 0.75 * used_s < totals[-1] < used_s * 1.03
    reasons = [reading.reason for reading in readings if reading.quality == "unavailable"]
    assert any("holds no control groups" in reason for reason in reasons)


@pytest.mark.usefixtures("groups")
def test_the_memory_peak_is_what_is_held_and_shared_memory_counts_once(tmp_path):
    """Within 1 % of what is held, after what the interpreters take without it."""
    interpreters = hold(tmp_path / "empty", private_bytes=0, shared_bytes=0)
    peak = hold(tmp_path / "full", private_bytes=PRIVATE_BYTES, shared_bytes=SHARED_BYTES)

    assert peak - interpreters == pytest.approx(PRIVATE_BYTES + SHARED_BYTES, rel=0.01)


def test_without_groups_shared_memory_counts_in_each_process_that_maps_it(tmp_path):
    """What the glossary says of resident sets: more than is held, never less."""
    peak = hold(tmp_path / "full", tmp_path / "none", private_bytes=PRIVATE_BYTES, shared_bytes=SHARED_BYTES)

    assert peak > PRIVATE_BYTES + 4 * SHARED_BYTES


PHASES = ("import_stop", "load_stop", "preprocess_stop", "build_stop", "compile_stop")
# Works a different length in each phase, in one to two processes, and waits in between as a runner does.
RUNNER = """
import json, os, sys, time
events = open(sys.argv[-1], "w")
def burn(seconds):
    end = time.process_time() + seconds
    while time.process_time() < end: pass
def tell(kind, **fields):
    events.write(json.dumps({"kind": kind, "at_ns": time.monotonic_ns(), **fields}) + "\\n"); events.flush()
tell("run_start", unix_ns=time.time_ns(), pid=os.getpid())
for number, kind in enumerate(%r):
    burn(0.05 * number); time.sleep(0.02)
    tell(kind, **({"parameters": 7} if kind == "build_stop" else {}))
tell("epoch_start", epoch=1.0)
pid = os.fork()
burn(0.4)
if not pid: os._exit(0)
os.waitpid(pid, 0)
tell("first_step_stop")
tell("epoch_stop", epoch=1.0, examples=10, train_loss=1.0, data_wait_s=0.0)
tell("eval_start", epoch=1.0)
burn(0.2)
tell("eval_stop", epoch=1.0, examples=4, correct=3, loss=0.5)
tell("run_stop", gc_s=0.25, compile_s=1.5, device_bytes_used=10, device_bytes_reserved=20)
burn(0.1)
"""


@pytest.mark.usefixtures("groups")
def test_the_phases_add_up_to_the_account(tmp_path):
    """Within 2 %, and each is what was burnt in it, as exactly as the events can be placed."""
    ending = launch_run(launch(tmp_path, RUNNER % (PHASES,)))
    readings = read_readings(tmp_path / "telemetry.jsonl")
    events = read_events(tmp_path / "events.jsonl")
    timeline = timeline_of(
        events,
        spawned_unix_ns=ending.spawned_unix_ns,
        spawned_ns=ending.spawned_ns,
        ended_ns=ending.ended_ns,
    )
    rows = phase_rows("r", timeline, readings, ending.spawned_ns, ending.cpu_s)

    assert (ending.status, ending.message) == ("completed", "")
    used_s = {row.phase: row.cpu_s for row in rows}
    assert sum(used_s.values()) == pytest.approx(ending.cpu_s, rel=0.02)
    assert used_s["train"] == pytest.approx(0.8, abs=0.05)
    assert used_s["eval"] == pytest.approx(0.2, abs=0.05)
    assert all(row.memory_peak_bytes for row in rows if row.duration_s > 0.2)


@pytest.mark.usefixtures("groups")
def test_edges_are_read_when_they_happen(tmp_path):
    """Once each, in order; the pages of the processes are counted only off the train clock."""
    launch_run(launch(tmp_path, RUNNER % (PHASES,)))
    readings = read_readings(tmp_path / "telemetry.jsonl")
    edges = [edge for edge, _ in itertools.groupby(r.edge for r in readings if r.edge)]
    told = [json.loads(line)["kind"] for line in (tmp_path / "events.jsonl").read_text().splitlines()]

    assert edges == [kind for kind in told if kind not in ("epoch_start", "first_step_stop")] + ["exit"]
    pss = [reading for reading in readings if reading.source == "smaps_rollup"]
    assert [reading.edge for reading in pss] == ["build_stop", "eval_start", "run_stop"]
    assert pss[0].pss_bytes > 2**20


@pytest.mark.usefixtures("groups")
def test_the_rows_of_a_run_say_where_its_figures_come_from(tmp_path):
    """And that readings are missing, where the disk was full."""
    work = PlannedWork(examples=10, epochs=(1.0,), evaluations=1, parameters=7, test_examples=4)
    full, broken = tmp_path / "full", tmp_path / "broken"
    broken.mkdir()
    (broken / "telemetry.jsonl").symlink_to("/dev/full")
    for folder in (full, broken):
        launch_run(launch(folder, RUNNER % (PHASES,)))
    (broken / "telemetry.jsonl").unlink()  # whoever reads /dev/full reads for ever
    rows, gaps = (read_run(row(RunRow), work, folder) for folder in (full, broken))
    run, without = (next(r for r in found if isinstance(r, RunRow)) for found in (rows, gaps))

    assert (run.status, run.message) == ("completed", "")
    assert {run.cpu_source, run.memory_source} <= {"cgroup_v1", "cgroup_v2"}
    assert (run.gc_s, run.compile_s, run.device_bytes_used, run.device_bytes_reserved) == (0.25, 1.5, 10, 20)
    phases = [r.cpu_s for r in rows if isinstance(r, PhaseRow)]
    assert sum(phases) == pytest.approx(run.cpu_s, rel=0.02)
    assert (without.status, without.memory_peak_bytes, without.memory_source) == ("completed", None, None)
    assert without.cpu_s == pytest.approx(run.cpu_s, rel=0.1)
    (gap,) = [r for r in gaps if isinstance(r, ReadingRow)]
    assert (gap.source, gap.quality) == ("sampler", "unavailable")
    assert "No space left on device" in gap.reason
