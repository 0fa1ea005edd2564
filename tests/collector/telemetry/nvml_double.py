"""A stand-in for `pynvml`: the same functions, units and errors, of devices that are described by fields."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace

import pynvml

DEFAULTS = {
    "memory": 2_000_000_000,
    "utilization": 80,
    "power_mw": 150_000,
    "energy_mj": 7_000_500,
    "temperature": 55,
    "clock_mhz": 1500,
    "throttle": 0x4,
}


@dataclass
class Device:
    """One device; what is in `refused` raises the error given there."""

    fields: dict = field(default_factory=lambda: dict(DEFAULTS))
    processes: list = field(default_factory=list)
    refused: dict = field(default_factory=dict)
    lost: bool = False
    persistence: int = 0
    locked: tuple | None = None

    def give(self, name: str):
        if self.lost:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_GPU_IS_LOST)
        if name in self.refused:
            raise pynvml.NVMLError(self.refused[name])
        return self.processes if name == "processes" else self.fields[name]


def process(pid: int, memory_bytes: int | None) -> SimpleNamespace:
    return SimpleNamespace(pid=pid, usedGpuMemory=memory_bytes)


class NvmlDouble:
    """Has the surface of `pynvml` as far as deadheat uses it; errors are those of the library itself."""

    NVMLError = pynvml.NVMLError
    NVML_TEMPERATURE_GPU = pynvml.NVML_TEMPERATURE_GPU
    NVML_CLOCK_SM = pynvml.NVML_CLOCK_SM
    NVML_ERROR_GPU_IS_LOST = pynvml.NVML_ERROR_GPU_IS_LOST
    NVML_ERROR_RESET_REQUIRED = pynvml.NVML_ERROR_RESET_REQUIRED
    NVML_ERROR_UNINITIALIZED = pynvml.NVML_ERROR_UNINITIALIZED

    def __init__(self, *devices: Device, missing: bool = False) -> None:
        self.devices, self.missing, self.open = devices, missing, 0

    def nvmlInit(self):  # noqa: N802 - the library's own name, as all below
        if self.missing:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_LIBRARY_NOT_FOUND)
        self.open += 1

    def nvmlShutdown(self):  # noqa: N802
        self.open -= 1

    def nvmlDeviceGetCount(self):  # noqa: N802
        return len(self.devices)

    def nvmlDeviceGetHandleByIndex(self, index):  # noqa: N802
        return self.devices[index]

    def nvmlDeviceGetMemoryInfo(self, device):  # noqa: N802
        return SimpleNamespace(used=device.give("memory"))

    def nvmlDeviceGetUtilizationRates(self, device):  # noqa: N802
        return SimpleNamespace(gpu=device.give("utilization"))

    def nvmlDeviceGetPowerUsage(self, device):  # noqa: N802
        return device.give("power_mw")

    def nvmlDeviceGetTotalEnergyConsumption(self, device):  # noqa: N802
        return device.give("energy_mj")

    def nvmlDeviceGetTemperature(self, device, sensor):  # noqa: N802
        assert sensor == pynvml.NVML_TEMPERATURE_GPU
        return device.give("temperature")

    def nvmlDeviceGetClockInfo(self, device, kind):  # noqa: N802
        assert kind == pynvml.NVML_CLOCK_SM
        return device.give("clock_mhz")

    def nvmlDeviceGetMaxClockInfo(self, device, kind):  # noqa: N802
        assert kind == pynvml.NVML_CLOCK_SM
        return device.give("clock_mhz") + 480

    def nvmlDeviceGetCurrentClocksEventReasons(self, device):  # noqa: N802
        return device.give("throttle")

    def nvmlDeviceGetComputeRunningProcesses(self, device):  # noqa: N802
        return device.give("processes")

    def nvmlDeviceGetPersistenceMode(self, device):  # noqa: N802
        device.give("memory")
        return device.persistence

    def nvmlDeviceSetPersistenceMode(self, device, mode):  # noqa: N802
        if "persistence" in device.refused:
            raise pynvml.NVMLError(device.refused["persistence"])
        device.persistence = mode

    def nvmlDeviceSetGpuLockedClocks(self, device, low_mhz, high_mhz):  # noqa: N802
        if "locked" in device.refused:
            raise pynvml.NVMLError(device.refused["locked"])
        device.locked = (low_mhz, high_mhz)

    def nvmlDeviceResetGpuLockedClocks(self, device):  # noqa: N802
        device.locked = None
