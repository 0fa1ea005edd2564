"""The machine source reads a folder as it reads the kernel, and says what is missing."""

from __future__ import annotations

import os
import time
from pathlib import Path

import psutil
import pytest

from collector.telemetry.machine import PAGE_BYTES, TICK_S, MachineSource

STAT = "cpu  {user} 20 30 9000 900 4 6 {steal} 7 0\ncpu0 1 2 3 4 5 6 7 8 9 10\n"
MEMINFO = "MemTotal:        1000 kB\nMemFree:          100 kB\nMemAvailable:     400 kB\n"
VMSTAT = "pgpgout 99\npswpin 1\npswpout 3\npswpout_other 8\n"


@pytest.fixture
def roots(tmp_path: Path) -> tuple[Path, Path]:
    """Return a procfs and a sysfs of a calm machine with two clock domains."""
    procfs, sysfs = tmp_path / "proc", tmp_path / "sys"
    (procfs / "pressure").mkdir(parents=True)
    (procfs / "pressure" / "cpu").write_text(
        "some avg10=0.00 avg60=0.00 avg300=0.00 total=1500000\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=0\n"
    )
    (procfs / "stat").write_text(STAT.format(user=100, steal=50))
    (procfs / "loadavg").write_text("0.50 0.40 0.30 1/100 4242\n")
    (procfs / "meminfo").write_text(MEMINFO)
    (procfs / "vmstat").write_text(VMSTAT)
    for number, kilohertz in enumerate((3_000_000, 2_000_000)):
        policy = sysfs / "devices/system/cpu/cpufreq" / f"policy{number}"
        policy.mkdir(parents=True)
        (policy / "scaling_cur_freq").write_text(f"{kilohertz}\n")
        (policy / "scaling_governor").write_text("powersave\n")
    return procfs, sysfs


def test_every_quantity_is_read_in_its_unit(roots):
    """Ticks, microseconds, kilobytes, pages and kilohertz become SI units."""
    (reading,) = MachineSource(*roots).read()

    assert (reading.source, reading.scope, reading.quality) == ("machine", "machine", "exact")
    assert reading.cpu_s == pytest.approx(160 * TICK_S)  # idle 9000 and waiting 900 are none; guests are in user
    assert reading.steal_s == pytest.approx(50 * TICK_S)
    assert reading.cpu_pressure_s == 1.5
    assert reading.load_1min == 0.5
    assert reading.available_memory_bytes == 400 * 1024
    assert reading.memory_bytes == 600 * 1024
    assert reading.swapped_bytes == 3 * PAGE_BYTES
    assert reading.clock_hz == 2.5e9
    assert reading.governor == "powersave"
    assert reading.reason == ""


def test_files_stay_open_and_are_read_anew(roots):
    """The second reading has the new numbers, through the same descriptors."""
    source = MachineSource(*roots)
    source.read()
    descriptors = psutil.Process().num_fds()
    (roots[0] / "stat").write_text(STAT.format(user=300, steal=80))

    (reading,) = source.read("epoch_stop")

    assert reading.cpu_s == pytest.approx(360 * TICK_S)
    assert reading.edge == "epoch_stop"
    assert psutil.Process().num_fds() == descriptors


def test_the_governor_is_read_at_edges_only(roots):
    """It changes seldom, and there is one per core."""
    source = MachineSource(*roots)
    source.read()
    (roots[1] / "devices/system/cpu/cpufreq/policy1/scaling_governor").write_text("performance\n")

    assert source.read()[0].governor is None
    assert source.read("epoch_start")[0].governor == "performance,powersave"


def test_what_is_missing_is_none_and_named(roots):
    """No pressure, no swap counter, no clock: none of them is zero."""
    procfs, sysfs = roots
    (procfs / "pressure" / "cpu").unlink()
    (procfs / "vmstat").write_text("pgpgout 99\n")

    (reading,) = MachineSource(procfs, sysfs / "nothing").read()

    assert (reading.cpu_pressure_s, reading.swapped_bytes, reading.clock_hz) == (None, None, None)
    assert "pressure/cpu: No such file or directory" in reading.reason
    assert "no cpufreq" in reading.reason
    assert reading.quality == "exact"


def test_without_procfs_the_reading_is_unavailable(tmp_path):
    """Nothing is guessed."""
    (reading,) = MachineSource(tmp_path, tmp_path).read()

    assert (reading.quality, reading.cpu_s, reading.load_1min) == ("unavailable", None, None)
    assert "stat: No such file or directory" in reading.reason


def test_deadheat_itself_is_a_reading_of_its_own(roots):
    """So that its CPU seconds are not taken for somebody else's; one that has ended keeps what it had used."""
    procfs, sysfs = roots
    for pid, ticks in ((7, 100), (8, 50)):
        (procfs / str(pid)).mkdir()
        (procfs / str(pid) / "stat").write_text(f"{pid} (a) b) S 1 1 1 0 -1 0 0 0 0 0 {ticks} 20 9999 9999 20 0 1\n")

    _, own = MachineSource(procfs, sysfs, own=(7, 8)).read()

    assert (own.scope, own.quality, own.processes) == ("collector", "exact", 2)
    assert own.cpu_s == pytest.approx(190 * TICK_S)


def test_this_machine_counts_what_this_process_burns():
    """On the kernel's own procfs: the machine's total grows at least as the process's does."""
    source = MachineSource(own=(os.getpid(),))
    machine, own = source.read()
    started_s = time.process_time()
    while time.process_time() - started_s < 0.3:
        pass

    machine_after, own_after = source.read()
    source.close()

    assert own_after.cpu_s - own.cpu_s == pytest.approx(0.3, abs=0.1)
    assert machine_after.cpu_s - machine.cpu_s > 0.15  # counted by ticks, so coarsely
