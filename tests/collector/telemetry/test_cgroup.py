"""A run's group holds all that it starts, and is gone afterwards; where there is none, the reason is said."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from collector.telemetry.cgroup import CgroupSource, RunGroup, run_group, with_memory
from collector.telemetry.choice import RunTarget, open_sources
from tests.collector.telemetry.programs import groups  # noqa: F401

ESCAPING = "import os, time; os.setsid(); os.fork() and os._exit(0); print(os.getpid(), flush=True); time.sleep(60)"


@pytest.mark.usefixtures("groups")
def test_a_program_is_inside_before_its_first_instruction():
    """With the process id that it was started with."""
    with run_group() as group:
        process = subprocess.Popen(group.enclose(["cat", "/proc/self/cgroup"]), stdout=subprocess.PIPE, text=True)
        said, _ = process.communicate()

    assert group.reason == ""
    for folder in group.folders:
        assert f"/{folder.name}\n" in said


@pytest.mark.usefixtures("groups")
@pytest.mark.parametrize("error", [None, KeyboardInterrupt])
def test_nothing_of_it_stays(error):
    """Neither a process that left session and tree, nor the groups, whether or not it was interrupted."""
    started = []
    try:
        with run_group() as group:
            process = subprocess.Popen(group.enclose([sys.executable, "-c", ESCAPING]), stdout=subprocess.PIPE)
            started.append(int(process.stdout.readline()))
            process.stdout.close()
            process.wait()
            assert started[0] in group.read_pids()
            if error:
                raise error
    except KeyboardInterrupt:
        pass

    assert not Path(f"/proc/{started[0]}").exists() or "Z" in Path(f"/proc/{started[0]}/stat").read_text()
    assert not any(folder.exists() for folder in group.folders)


@pytest.mark.usefixtures("groups")
def test_what_a_killed_collector_left_behind_is_removed_by_the_next():
    """Its processes too; the groups of a collector that lives are left alone."""
    code = (
        "import subprocess, sys\n"
        "from collector.telemetry.cgroup import run_group\n"
        "with run_group() as group:\n"
        "    process = subprocess.Popen(group.enclose(['sleep', '96']), stdout=subprocess.DEVNULL)\n"
        "    print(process.pid, *group.folders, sep='\\n', flush=True); print(flush=True)\n"
        "    sys.stdin.read()"
    )
    collector = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    pid, *folders = [line.strip() for line in iter(collector.stdout.readline, "\n")]
    with run_group():
        assert all(Path(folder).exists() for folder in folders)
    collector.kill()
    collector.communicate()
    with run_group():
        pass

    assert not any(Path(folder).exists() for folder in folders)
    status = Path(f"/proc/{pid}/stat")
    assert not status.exists() or status.read_text().split()[2] == "Z"


def test_a_machine_without_groups_says_so(tmp_path):
    """The command is then what it was, and the process tree takes over."""
    with run_group(tmp_path / "none") as group:
        assert group == RunGroup(reason=f"{tmp_path / 'none'}: holds no control groups")
        assert group.enclose(["true"]) == ["true"]
        assert group.read_cpu_s() is None
        readings = [
            reading for source in open_sources(RunTarget(pid=os.getpid(), group=group)) for reading in source.read()
        ]

    assert [reading.source for reading in readings] == ["cgroup", "process_tree"]
    assert readings[0].reason == group.reason
    assert readings[1].cpu_s is not None


def test_a_group_that_may_not_be_made_is_named_with_the_reason(tmp_path):
    """One tree refuses, here because the collector's own group is not visible."""
    (tmp_path / "proc" / "self").mkdir(parents=True)
    (tmp_path / "proc" / "self" / "cgroup").write_text("3:cpuset:/\n0::/container/of/ours\n")
    (tmp_path / "groups").mkdir()
    (tmp_path / "groups" / "cgroup.procs").write_text("")
    with run_group(tmp_path / "groups", tmp_path / "proc") as group:
        pass

    assert group.folders == []
    assert group.reason == f"{tmp_path / 'groups/container/of/ours'}: No such file or directory"


@pytest.fixture
def pure_v2(tmp_path) -> RunGroup:
    """Return a group as a machine with nothing but v2 has it."""
    (tmp_path / "cpu.stat").write_text("usage_usec 1500000\nuser_usec 1\nnr_throttled 2\nthrottled_usec 250000\n")
    (tmp_path / "cpu.pressure").write_text("some avg10=0.00 avg60=0.00 avg300=0.00 total=7000\nfull total=5\n")
    (tmp_path / "memory.stat").write_text("anon 1000\nfile 777777\nkernel 5\nshmem 24\nfile_mapped 9\n")
    (tmp_path / "memory.current").write_text("999999\n")
    return RunGroup(v2=str(tmp_path))


def test_a_pure_v2_machine_tells_everything_in_one_reading(pure_v2):
    """Memory is anonymous and shared, never page cache."""
    (reading,) = CgroupSource(pure_v2).read("run_stop")

    assert (reading.source, reading.quality, reading.edge) == ("cgroup_v2", "exact", "run_stop")
    assert (reading.cpu_s, reading.memory_bytes) == (1.5, 1024)
    assert (reading.cpu_pressure_s, reading.throttled_s) == (0.007, 0.25)
    assert [type(source).__name__ for source in open_sources(RunTarget(pid=os.getpid(), group=pure_v2))] == [
        "CgroupSource",
        "PssSource",
    ]


def test_v2_without_the_memory_controller_leaves_memory_to_the_tree(pure_v2):
    """The CPU seconds stay exact, and are not read twice."""
    (Path(pure_v2.v2) / "memory.stat").unlink()
    sources = open_sources(RunTarget(pid=os.getpid(), group=pure_v2))
    group, tree = [reading for source in sources for reading in source.read()]

    assert (group.cpu_s, group.memory_bytes) == (1.5, None)
    assert (tree.source, tree.cpu_s) == ("process_tree", None)
    assert tree.memory_bytes > 2**20


def test_each_quantity_of_a_hybrid_machine_has_one_source(pure_v2, tmp_path):
    """CPU and memory from v1, pressure from v2."""
    (Path(pure_v2.v2) / "memory.stat").unlink()
    v1 = tmp_path / "v1"
    v1.mkdir()
    (v1 / "cpuacct.usage").write_text("2500000000\n")
    (v1 / "memory.stat").write_text("cache 9\nrss 1\nshmem 1\ntotal_cache 99\ntotal_rss 500\ntotal_shmem 30\n")
    first, second = CgroupSource(RunGroup(v2=pure_v2.v2, cpuacct=str(v1), memory=str(v1))).read()

    assert (first.source, first.cpu_s, first.memory_bytes, first.cpu_pressure_s) == ("cgroup_v1", 2.5, 530, None)
    assert (second.source, second.cpu_s, second.memory_bytes) == ("cgroup_v2", None, None)
    assert second.cpu_pressure_s == 0.007


def test_a_collector_alone_in_its_v2_group_makes_room_for_the_memory_controller(tmp_path):
    """It moves into a leaf: a group that passes controllers on may hold no processes."""
    (tmp_path / "cgroup.controllers").write_text("cpu memory pids\n")
    (tmp_path / "cgroup.subtree_control").write_text("\n")
    (tmp_path / "cgroup.procs").write_text(f"{os.getpid()}\n")

    assert with_memory(tmp_path) == tmp_path
    assert (tmp_path / "deadheat-collector" / "cgroup.procs").read_text() == str(os.getpid())
    assert (tmp_path / "cgroup.subtree_control").read_text() == "+memory"
    assert with_memory(tmp_path / "deadheat-collector") == tmp_path


def test_a_collector_in_company_moves_nobody(tmp_path):
    """The kernel then says whether the memory controller can be had."""
    (tmp_path / "cgroup.controllers").write_text("memory\n")
    (tmp_path / "cgroup.subtree_control").write_text("\n")
    (tmp_path / "cgroup.procs").write_text(f"{os.getpid()}\n1\n")

    assert with_memory(tmp_path) == tmp_path
    assert not (tmp_path / "deadheat-collector").exists()


@pytest.mark.usefixtures("groups")
def test_a_run_that_ends_at_once_has_its_account():
    """Read after its end, when no reading of it can be taken any more."""
    with run_group() as group:
        subprocess.run(group.enclose(["true"]), check=True)
        time.sleep(0.01)
        cpu_s = group.read_cpu_s()

    assert cpu_s is not None
    assert 0 < cpu_s < 0.2


@pytest.mark.parametrize("tree", ["v1", "v2"])
def test_a_group_for_which_nothing_is_counted_yet_has_no_memory(pure_v2, tmp_path, tree):
    """Right after the spawn the kernel says 0, and no process lives on that: it is not known."""
    (tmp_path / "memory.stat").write_text("anon 0\nshmem 0\ntotal_rss 0\ntotal_shmem 0\n")
    group = RunGroup(v2=pure_v2.v2) if tree == "v2" else RunGroup(v2=pure_v2.v2, memory=pure_v2.v2)

    readings = list(CgroupSource(group).read())

    assert [reading.memory_bytes for reading in readings] == [None] * len(readings)
    assert [reading.cpu_s for reading in readings if reading.source == "cgroup_v2"] == [1.5]
