"""Devices through NVML: units, what is refused, what is lost, and whose processes are at work."""

from __future__ import annotations

from pathlib import Path

import pynvml
import pytest

from collector.telemetry.nvml import FIRST_PID_NAMESPACE, THROTTLE_REASONS, NvmlSource
from tests.collector.telemetry.nvml_double import Device, NvmlDouble, process


@pytest.fixture
def procfs(tmp_path: Path) -> Path:
    """Return the procfs of a program that is not in a container."""
    (tmp_path / "self" / "ns").mkdir(parents=True)
    (tmp_path / "self" / "ns" / "pid").symlink_to(FIRST_PID_NAMESPACE)
    return tmp_path


def test_the_double_has_no_function_that_the_library_lacks():
    """Else the tests below would prove nothing."""
    surface = {name for name in dir(NvmlDouble) if name.startswith(("nvml", "NVML"))}

    assert surface <= set(dir(pynvml))


def test_every_quantity_is_read_in_its_unit(procfs):
    """Percent, milliwatts, millijoules and megahertz become SI units; one reading per device."""
    nvml = NvmlDouble(Device(), Device(processes=[process(5, 300), process(6, 200), process(99, 1000)]))

    first, second = NvmlSource(lambda: [5, 6], nvml, procfs).read("epoch_stop")

    assert (first.source, first.scope, first.quality, first.edge) == ("nvml", "device", "sampled", "epoch_stop")
    assert (first.device_index, second.device_index) == (0, 1)
    assert first.memory_bytes == 2_000_000_000
    assert first.utilization_ratio == 0.8
    assert first.power_w == 150.0
    assert first.energy_j == 7000.5
    assert first.temperature_c == 55.0
    assert first.clock_hz == 1.5e9
    assert first.throttle_reasons == "sw_power_cap"
    assert (first.run_memory_bytes, first.foreign_processes) == (0, 0)
    assert (second.run_memory_bytes, second.foreign_processes) == (500, 1)
    assert first.reason == second.reason == ""


def test_the_names_of_throttle_reasons_are_the_library_s_bits():
    """None of them is written down wrong."""
    prefix = "nvmlClocksEventReason"
    bits = {
        getattr(pynvml, name): name.removeprefix(prefix).lower()
        for name in dir(pynvml)
        if name.startswith(prefix) and not name.endswith(("None", "All", "UserDefinedClocks"))
    }

    assert {bit: name.replace("_", "") for bit, name in THROTTLE_REASONS.items()} == bits


def test_what_a_device_refuses_is_none_and_named(procfs):
    """As utilisation is with MIG, or the processes without permission: the rest is read."""
    refused = {
        "utilization": pynvml.NVML_ERROR_NOT_SUPPORTED,
        "processes": pynvml.NVML_ERROR_NO_PERMISSION,
        "throttle": pynvml.NVML_ERROR_FUNCTION_NOT_FOUND,
    }

    (reading,) = NvmlSource(list, NvmlDouble(Device(refused=refused)), procfs).read()

    assert (reading.utilization_ratio, reading.foreign_processes, reading.throttle_reasons) == (None, None, None)
    assert reading.reason == (
        "utilization_ratio: Not Supported; throttle_reasons: Function Not Found; processes: Insufficient Permissions"
    )
    assert (reading.quality, reading.power_w) == ("sampled", 150.0)


def test_memory_that_is_not_told_by_process_is_none(procfs):
    """The number of strangers is known all the same."""
    nvml = NvmlDouble(Device(processes=[process(5, None), process(6, 10), process(6, 20)]))

    (reading,) = NvmlSource(lambda: [5], nvml, procfs).read()

    assert (reading.run_memory_bytes, reading.foreign_processes) == (None, 1)
    assert "run_memory_bytes" in reading.reason


def test_a_device_lost_midway_is_a_gap_and_no_end(procfs):
    """The other device goes on, and so do the readings."""
    lost, other = Device(), Device()
    source = NvmlSource(list, NvmlDouble(lost, other), procfs)
    assert source.read()[0].quality == "sampled"
    lost.lost = True

    first, second = source.read()

    assert (first.quality, first.reason, first.memory_bytes) == ("unavailable", "NVML: GPU is lost", None)
    assert second.quality == "sampled"


@pytest.mark.parametrize(
    ("nvml", "reason"),
    [(NvmlDouble(missing=True), "NVML: NVML Shared Library Not Found"), (NvmlDouble(), "the driver shows no device")],
)
def test_without_a_device_one_reading_says_why(procfs, nvml, reason):
    """Each time it is read, and nothing is left open."""
    source = NvmlSource(list, nvml, procfs)
    (reading,) = source.read()
    source.close()

    assert (reading.quality, reading.device_index) == ("unavailable", None)
    assert reason in reading.reason
    assert nvml.open == 0


@pytest.mark.parametrize(
    ("listed", "run_memory", "foreign"),
    [([], None, None), ([process(4711, 10)], None, None), ([process(5, 10), process(4711, 10)], 10, 1)],
)
def test_in_a_container_only_a_list_with_the_run_in_it_is_believed(tmp_path, listed, run_memory, foreign):
    """Drivers list host ids, container ids or nothing there: an empty list is no proof of an idle device."""
    nvml = NvmlDouble(Device(processes=listed))

    (reading,) = NvmlSource(lambda: [5], nvml, tmp_path).read()

    assert (reading.run_memory_bytes, reading.foreign_processes) == (run_memory, foreign)
    assert ("container" in reading.reason) is (foreign is None)
