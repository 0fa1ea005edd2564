"""What NVIDIA devices tell of themselves: load, memory, power, energy, heat, clocks, and who is at work on them."""

from __future__ import annotations

import importlib
import os
import time
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from collector.telemetry import Reading
from collector.telemetry.machine import PROCFS

FIRST_PID_NAMESPACE = "pid:[4026531836]"  # PROC_PID_INIT_INO of the kernel: not inside a container
# Bits of nvmlDeviceGetCurrentClocksEventReasons, by the names that nvidia-smi prints.
THROTTLE_REASONS = {
    0x001: "gpu_idle",
    0x002: "applications_clocks_setting",
    0x004: "sw_power_cap",
    0x008: "hw_slowdown",
    0x010: "sync_boost",
    0x020: "sw_thermal_slowdown",
    0x040: "hw_thermal_slowdown",
    0x080: "hw_power_brake_slowdown",
    0x100: "display_clock_setting",
}
_FATAL = ("NVML_ERROR_GPU_IS_LOST", "NVML_ERROR_RESET_REQUIRED", "NVML_ERROR_UNINITIALIZED")


class NvmlSource:
    """Reads every device through NVML; a quantity that a device refuses is None, and the reason says so.

    Parameters
    ----------
    run_pids
        Returns the process ids of the run: the memory of the others is not the run's.
    library
        The module `pynvml`, or one with its surface.
    procfs
        Where procfs is mounted: tells whether there is a driver, and whether NVML's process ids mean anything here.
    """

    def __init__(
        self, run_pids: Callable[[], Collection[int]], library: ModuleType | None = None, procfs: Path = PROCFS
    ) -> None:
        self._nvml, self._handles, self._unavailable = open_devices(library, procfs)
        self._run_pids = run_pids
        self._sees_all_processes = _pid_namespace(procfs) == FIRST_PID_NAMESPACE

    def read(self, edge: str = "") -> Sequence[Reading]:
        """Return one reading per device; without any, one that says why."""
        at_ns = time.monotonic_ns()
        if not self._handles:
            return (_reading(at_ns, edge, None, reason=self._unavailable),)
        pids = set(self._run_pids())
        return [
            _reading(at_ns, edge, index, **self._read_device(handle, pids))
            for index, handle in enumerate(self._handles)
        ]

    def close(self) -> None:
        """Let go of NVML."""
        if self._handles:
            self._nvml.nvmlShutdown()

    def _read_device(self, handle: object, pids: set[int]) -> dict[str, Any]:
        """Return the fields of one device, as many as it gives, and `reason` for the others."""
        nvml, fields, refused = self._nvml, {}, []
        questions: dict[str, Callable[[], Any]] = {
            "memory_bytes": lambda: int(nvml.nvmlDeviceGetMemoryInfo(handle).used),
            "utilization_ratio": lambda: nvml.nvmlDeviceGetUtilizationRates(handle).gpu / 100,
            "power_w": lambda: nvml.nvmlDeviceGetPowerUsage(handle) / 1e3,
            "energy_j": lambda: nvml.nvmlDeviceGetTotalEnergyConsumption(handle) / 1e3,
            "temperature_c": lambda: float(nvml.nvmlDeviceGetTemperature(handle, nvml.NVML_TEMPERATURE_GPU)),
            "clock_hz": lambda: nvml.nvmlDeviceGetClockInfo(handle, nvml.NVML_CLOCK_SM) * 1e6,
            "throttle_reasons": lambda: throttle_reasons(nvml.nvmlDeviceGetCurrentClocksEventReasons(handle)),
        }
        for name, ask in questions.items():
            try:
                fields[name] = ask()
            except nvml.NVMLError as reason:
                refused.append(f"{name}: {reason}")
                if reason.value in {getattr(nvml, code) for code in _FATAL}:
                    return {"reason": f"NVML: {reason}"}  # what was read just before is as old as the failure
        own, why = self._processes(handle, pids)
        return {**fields, **own, "reason": "; ".join([*refused, *why])}

    def _processes(self, handle: object, pids: set[int]) -> tuple[dict[str, int], list[str]]:
        """Return the run's memory and the number of others; nothing where NVML's process ids are another world's.

        Drivers list the processes of a container by the ids of the host, by its own, or not at all. So inside one
        only a list that has a process of the run in it can be read.
        """
        try:
            processes = self._nvml.nvmlDeviceGetComputeRunningProcesses(handle)
        except self._nvml.NVMLError as reason:
            return {}, [f"processes: {reason}"]
        listed = {process.pid for process in processes}  # a process has a line for each MIG instance it uses
        own = [process for process in processes if process.pid in pids]
        if not own and not self._sees_all_processes:
            return {}, ["processes: NVML's process ids are not those of this container"]
        fields = {"foreign_processes": len(listed - pids)}
        if any(process.usedGpuMemory is None for process in own):
            return fields, ["run_memory_bytes: the device does not tell it by process"]
        return {**fields, "run_memory_bytes": sum(process.usedGpuMemory for process in own)}, []


def open_devices(library: ModuleType | None = None, procfs: Path = PROCFS) -> tuple[Any, list[Any], str]:
    """Return the library, a handle of each device, and why there is none; shut the library down where there is one.

    Without a driver the library is not even loaded, unless it is given.
    """
    driver = procfs / "driver" / "nvidia"
    if library is None and not driver.exists():
        return None, [], f"no NVIDIA driver: {driver} is not there"
    nvml: Any = library or importlib.import_module("pynvml")  # late: runs without a device never need it
    try:
        nvml.nvmlInit()
    except nvml.NVMLError as reason:
        return nvml, [], f"NVML: {reason}"
    try:
        if handles := [nvml.nvmlDeviceGetHandleByIndex(i) for i in range(nvml.nvmlDeviceGetCount())]:
            return nvml, handles, ""
        why = "NVML: the driver shows no device"
    except nvml.NVMLError as reason:
        why = f"NVML: {reason}"
    nvml.nvmlShutdown()
    return nvml, [], why


def throttle_reasons(bits: int) -> str:
    """Return the names of the reasons in a mask, by commas; empty where there is none.

    >>> throttle_reasons(0x24)
    'sw_power_cap,sw_thermal_slowdown'
    """
    return ",".join(name for bit, name in THROTTLE_REASONS.items() if bits & bit)


def _reading(at_ns: int, edge: str, index: int | None, **fields: Any) -> Reading:
    """Return a reading; utilisation and power are the device's own averages, so the whole is `sampled`."""
    known = set(fields) - {"reason"}
    quality = "sampled" if known else "unavailable"
    return Reading(at_ns=at_ns, source="nvml", scope="device", quality=quality, edge=edge, device_index=index, **fields)


def _pid_namespace(procfs: Path) -> str:
    try:
        return os.readlink(procfs / "self" / "ns" / "pid")  # noqa: PTH115 - a Path would turn it into a file's name
    except OSError:
        return ""
