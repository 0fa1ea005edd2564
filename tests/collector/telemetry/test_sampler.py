"""The sampler keeps to its schedule, and whatever becomes of it the run is measured and the gap is named."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from collector.run.launch import launch_run, read_ending
from collector.telemetry import Reading
from collector.telemetry.choice import RunTarget, Unavailable
from collector.telemetry.machine import MachineSource
from collector.telemetry.process import ProcessTreeSource
from collector.telemetry.sampler import Sampling, read_readings
from collector.telemetry.watcher import Watcher
from tests.collector.telemetry.programs import launch


class Counting:
    """A source that counts how often it was read, and may fail or be slow."""

    def __init__(self, *, fails_at: int = 0, slow_at: int = 0) -> None:
        self.reads, self.closed = 0, False
        self._fails_at, self._slow_at = fails_at, slow_at

    def read(self, edge: str = "") -> Sequence[Reading]:
        self.reads += 1
        if self.reads == self._fails_at:
            raise RuntimeError("the device fell off the bus")
        if self.reads == self._slow_at:
            time.sleep(0.055)
        at_ns = time.monotonic_ns()
        reading = Reading(at_ns=at_ns, source="count", scope="run", quality="exact", edge=edge, cpu_s=float(self.reads))
        return (reading,)

    def close(self) -> None:
        self.closed = True


def sample(file: Path, sources: Sequence[object], seconds: float = 0.3, period_s: float = 0.01) -> list[Reading]:
    """Read on the schedule for a while, in this process."""
    with file.open("w", encoding="utf-8") as opened:
        sampling = Sampling(opened, period_s)
        sampling.watch(sources)
        end_s = time.monotonic() + seconds
        while time.monotonic() < end_s:
            sampling.read_due()
            time.sleep(sampling.wait_s)
        sampling.close()
    return read_readings(file)


def test_a_slow_reading_shifts_none_after_it(tmp_path):
    """The schedule is absolute: what was missed is left out, and lateness is from the place in the schedule."""
    source = Counting(slow_at=5)
    *readings, last = sample(tmp_path / "telemetry.jsonl", [source])
    due_ns = [reading.at_ns - round(reading.late_s * 1e9) for reading in readings if reading.cpu_s != 5]
    periods = [(after - due_ns[0]) / 1e7 for after in due_ns]

    assert all(abs(period - round(period)) < 0.2 for period in periods)
    assert all(reading.late_s >= 0 for reading in readings)
    assert max(round(b) - round(a) for a, b in itertools.pairwise(periods)) >= 5
    assert (last.edge, last.late_s) == ("exit", None)
    assert source.closed


def test_a_source_that_fails_is_named_and_the_others_go_on(tmp_path):
    """Once, with the reason."""
    readings = sample(tmp_path / "telemetry.jsonl", [Counting(fails_at=3), Counting()])
    failed = [reading for reading in readings if reading.quality == "unavailable"]

    assert [reading.reason for reading in failed] == ["Counting gave up: RuntimeError: the device fell off the bus"]
    assert len([reading for reading in readings if reading.at_ns > failed[0].at_ns]) > 5


def test_what_cannot_be_read_is_said_once(tmp_path):
    """And again only when the reason changes."""

    class Missing(Unavailable):
        def read(self, edge: str = "") -> Sequence[Reading]:
            return Unavailable("rapl", "no counter").read(edge)

    readings = sample(tmp_path / "telemetry.jsonl", [Missing("rapl", "no counter")], seconds=0.1)

    assert [(reading.source, reading.scope, reading.reason) for reading in readings] == [("rapl", "run", "no counter")]


def test_a_reading_comes_back_as_it_was(tmp_path):
    """An empty answer is an answer: a device that was asked and held nothing back is not one that cannot tell."""
    given = Reading(at_ns=7, source="nvml", scope="device", quality="sampled", power_w=0.0, throttle_reasons="")

    class Given(Counting):
        def read(self, edge: str = "") -> Sequence[Reading]:
            return (given,)

    first = sample(tmp_path / "telemetry.jsonl", [Given()], seconds=0.05)[0]

    assert replace(first, late_s=None) == given


def test_a_wall_clock_that_is_set_meanwhile_changes_nothing(tmp_path, monkeypatch):
    """Nobody asks it."""

    def refuse() -> int:
        raise AssertionError("the wall clock was asked")

    monkeypatch.setattr(time, "time", refuse)
    monkeypatch.setattr(time, "time_ns", refuse)
    sources = [ProcessTreeSource(os.getpid()), MachineSource(), Counting()]
    readings = sample(tmp_path / "telemetry.jsonl", sources, seconds=0.1)

    assert {reading.source for reading in readings} == {"process_tree", "machine", "count"}
    assert {reading.quality for reading in readings} == {"sampled", "exact"}


def test_readings_come_on_the_schedule_of_a_process_of_its_own(tmp_path):
    """Ten a second, apart from the runner's cores where there are others, and told of an edge at once."""
    file, core = tmp_path / "telemetry.jsonl", max(os.sched_getaffinity(0))
    with subprocess.Popen(["sleep", "30"]) as process, Watcher(file, apart_from=[core]) as watcher:
        watcher.wait_until_ready()
        watcher.watch(RunTarget(pid=process.pid))
        sampler = psutil.Process(watcher.pid)
        cores = sampler.cpu_affinity()
        time.sleep(0.75)
        edge_ns = time.monotonic_ns()
        watcher.note_edge("build_stop")
        time.sleep(0.3)
        watcher.stop()
        process.kill()
    readings = [reading for reading in read_readings(file) if reading.source == "process_tree"]

    assert watcher.fault == ""
    assert not sampler.is_running()
    assert cores == sorted(os.sched_getaffinity(0) - {core} or {core})
    assert 8 <= len([reading for reading in readings if reading.late_s is not None]) <= 12
    (edge,) = [reading for reading in readings if reading.edge == "build_stop"]
    assert 0 <= (edge.at_ns - edge_ns) / 1e9 < 0.2


def test_a_sampler_ends_with_a_collector_that_is_killed(tmp_path):
    """What it had read is written."""
    file = tmp_path / "telemetry.jsonl"
    code = (
        "import os, sys, time\nfrom pathlib import Path\n"
        "from collector.telemetry.choice import RunTarget\nfrom collector.telemetry.watcher import Watcher\n"
        "with Watcher(Path(sys.argv[1])) as watcher:\n"
        "    watcher.wait_until_ready(); watcher.watch(RunTarget(pid=os.getpid()))\n"
        "    print(watcher.pid, flush=True); time.sleep(60)"
    )
    collector = subprocess.Popen([sys.executable, "-c", code, str(file)], stdout=subprocess.PIPE)
    sampler = psutil.Process(int(collector.stdout.readline()))
    time.sleep(0.3)
    collector.kill()
    collector.communicate()

    _, alive = psutil.wait_procs([sampler], timeout=10)
    assert alive == []
    assert len(read_readings(file)) > 2


@pytest.mark.parametrize(
    ("end", "fault"),
    [(signal.SIGKILL, "the sampler was killed by SIGKILL; readings may be missing"),
     (signal.SIGSTOP, "the sampler hung: it did not end within 5 s; readings may be missing")],
)  # fmt: skip
def test_a_sampler_killed_midway_leaves_the_run_measured(tmp_path, end, fault):
    """Or one that hangs. Its end is noted in launch.json, from which the gap becomes a reading."""
    program = launch(tmp_path, "import time; time.sleep(1.5)")

    def strike() -> None:
        deadline_s = time.monotonic() + 10
        while time.monotonic() < deadline_s:
            for child in psutil.Process().children():
                if "collector.telemetry.sampler" in child.cmdline() and (tmp_path / "telemetry.jsonl").exists():
                    time.sleep(0.3)
                    child.send_signal(end)
                    return
            time.sleep(0.02)

    striker = threading.Thread(target=strike)
    striker.start()
    ending = launch_run(program)
    striker.join()

    assert ending.exit_code == 0
    assert 0 < ending.cpu_s < 1
    assert ending.telemetry_fault == fault
    assert read_ending(tmp_path) == ending


def test_a_full_disk_leaves_the_run_measured(tmp_path):
    """The sampler says so and ends; the runner never notices."""
    (tmp_path / "telemetry.jsonl").symlink_to("/dev/full")
    ending = launch_run(launch(tmp_path, "import time; time.sleep(1.3); print('done')"))

    assert (tmp_path / "log.txt").read_text() == "done\n"
    assert ending.exit_code == 0
    assert "telemetry.jsonl: the readings ended early: No space left on device" in ending.telemetry_fault


@pytest.mark.parametrize("cgroups", ["/sys/fs/cgroup", "none"])
def test_a_program_that_ends_at_once_is_measured(tmp_path, cgroups):
    """Before anything could be read, even."""
    ending = launch_run(launch(tmp_path, "raise SystemExit(7)"), cgroups=tmp_path / cgroups)

    assert (ending.exit_code, ending.telemetry_fault) == (7, "")
    assert 0 < ending.cpu_s < 1


def test_the_ending_of_an_older_run_can_be_read(tmp_path):
    """It did not note where its account came from."""
    ending = launch_run(launch(tmp_path, "pass"))
    content = json.loads((tmp_path / "launch.json").read_text())
    del content["cpu_source"], content["telemetry_fault"]
    (tmp_path / "launch.json").write_text(json.dumps(content))

    assert read_ending(tmp_path).cpu_source is None
    assert read_ending(tmp_path).cpu_s == ending.cpu_s


def test_a_run_may_be_read_more_often(tmp_path):
    """A hundred times a second, however busy the machine; what is not the run's own still ten times."""
    launch_run(replace(launch(tmp_path, "import time; time.sleep(0.8)"), period_s=0.01))
    readings = [reading for reading in read_readings(tmp_path / "telemetry.jsonl") if reading.late_s is not None]
    due_s = [reading.at_ns / 1e9 - reading.late_s for reading in readings if reading.scope == "run"]
    machine_s = [r.at_ns / 1e9 - r.late_s for r in readings if (r.source, r.scope) == ("machine", "machine")]

    assert any(0.02 < (due - due_s[0]) % 0.1 < 0.08 for due in due_s)
    assert all(after - before > 0.05 for before, after in itertools.pairwise(machine_s))


def test_what_was_taken_down_may_turn_out_not_to_be_read(tmp_path):
    """A source that fails only when its reading is made is named once, and the others go on."""

    class Garbled(Counting):
        def read(self, edge: str = "") -> Iterator[Reading]:
            yield Reading(at_ns=time.monotonic_ns(), source="garbled", scope="run", quality="exact", cpu_s=int("x"))

    readings = sample(tmp_path / "telemetry.jsonl", [Garbled(), Counting()], seconds=0.1)

    assert [r.reason for r in readings if r.source == "Garbled"] == [
        "Garbled gave up: ValueError: invalid literal for int() with base 10: 'x'"
    ]
    assert len([r for r in readings if r.source == "count"]) > 2
