"""Energy of the CPU packages: summed, continued where a counter begins again, and never guessed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from collector.telemetry.rapl import RaplSource


def zone(sysfs: Path, name: str, kind: str, energy_uj: int, range_uj: int = 10_000_000) -> Path:
    folder = sysfs / "class" / "powercap" / name
    folder.mkdir(parents=True)
    (folder / "name").write_text(f"{kind}\n")
    (folder / "energy_uj").write_text(f"{energy_uj}\n")
    (folder / "max_energy_range_uj").write_text(f"{range_uj}\n")
    return folder / "energy_uj"


def test_packages_are_summed_and_what_they_contain_is_not_added(tmp_path):
    """Cores and DRAM zones lie inside or beside a package; psys contains all of them."""
    zone(tmp_path, "intel-rapl:0", "package-0", 2_000_000)
    zone(tmp_path, "intel-rapl:0:0", "core", 1_000_000)
    zone(tmp_path, "intel-rapl:1", "package-1", 3_000_000)
    zone(tmp_path, "intel-rapl:2", "psys", 9_000_000)

    (reading,) = RaplSource(tmp_path).read("epoch_stop")

    assert (reading.source, reading.scope, reading.quality) == ("rapl", "machine", "exact")
    assert (reading.energy_j, reading.edge, reading.reason) == (5.0, "epoch_stop", "")


def test_a_counter_that_begins_again_goes_on(tmp_path):
    """From 9 J of 10 J to 1 J is 2 J more, each time."""
    counter = zone(tmp_path, "intel-rapl:0", "package-0", 9_000_000)
    source = RaplSource(tmp_path)
    totals = [source.read()[0].energy_j]
    for now_uj in (1_000_000, 9_500_000, 500_000):
        counter.write_text(f"{now_uj}\n")
        totals.append(source.read()[0].energy_j)

    assert totals == pytest.approx([9.0, 11.0, 19.5, 20.5])


def test_no_counter_is_unavailable_with_the_reason(tmp_path):
    """As on most virtual machines."""
    (reading,) = RaplSource(tmp_path).read()

    assert (reading.quality, reading.energy_j) == ("unavailable", None)
    assert "powercap" in reading.reason


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_counter_that_is_not_ours_to_read_is_unavailable(tmp_path):
    """As for everybody but root since 2020; half a sum is none."""
    zone(tmp_path, "intel-rapl:0", "package-0", 1)
    zone(tmp_path, "intel-rapl:1", "package-1", 1).chmod(0)

    (reading,) = RaplSource(tmp_path).read()

    assert (reading.quality, reading.energy_j) == ("unavailable", None)
    assert "Permission denied" in reading.reason


def test_half_a_sum_is_none(tmp_path):
    """One package without a counter: what the other used is not the machine's energy."""
    zone(tmp_path, "intel-rapl:0", "package-0", 1_000_000)
    zone(tmp_path, "intel-rapl:1", "package-1", 1_000_000).unlink()

    (reading,) = RaplSource(tmp_path).read()

    assert (reading.quality, reading.energy_j) == ("unavailable", None)
    assert "intel-rapl:1/energy_uj: No such file or directory" in reading.reason
