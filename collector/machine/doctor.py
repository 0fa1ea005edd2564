"""What this machine allows, and what is wrong with it for measuring."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from collector.machine.idle import Look, look_around
from collector.machine.tuning import list_knobs
from collector.telemetry.cgroup import CGROUPS, run_group
from collector.telemetry.choice import RunTarget, open_all_sources
from collector.telemetry.machine import PROCFS, SYSFS, MachineSource, value_of
from collector.telemetry.nvml import NvmlSource
from collector.toolchains.toolchain import (
    find_toolchain,
    is_new_enough,
    known_toolchains,
    probe_version,
    read_toolchain,
)

FREE_DISK_BYTES = 5_000_000_000  # data sets, toolchains and a campaign's raw files
FREE_MEMORY_RATIO = 0.2
LOOK_S = 1.0
TUNE = "deadheat doctor --tune"
IDENTITY = ("at_ns", "source", "scope", "quality", "late_s", "edge", "device_index", "reason")


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """One thing about the machine; `finding`: what is wrong with it and what to do, empty where nothing is."""

    topic: str
    name: str
    value: str
    finding: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where the doctor looks: a folder of a test's own, or this machine."""

    procfs: Path = PROCFS
    sysfs: Path = SYSFS
    cgroups: Path = CGROUPS
    folder: Path = Path()  # whose disk is to be written
    look: Callable[[], Look] | None = None


def examine(place: Place) -> list[Fact]:
    """Return what can be told about the machine, in the order in which it is shown."""
    return [
        *_telemetry(place),
        *_processor(place),
        *_memory_and_disk(place),
        *_load(place),
        *_devices(place),
        *_toolchains(),
    ]


def _telemetry(place: Place) -> Iterator[Fact]:
    """Yield each source with what it would give to a run, read once on this very process."""
    with run_group(place.cgroups, place.procfs) as group:
        target = RunTarget(pid=os.getpid(), group=group)
        sources = open_all_sources(target, [os.getpid()], place.procfs, place.sysfs)
        readings = [reading for source in sources for reading in source.read("examined")]
        for source in sources:
            source.close()
    for reading in readings:
        told = [name for name, value in asdict(reading).items() if value is not None and name not in IDENTITY]
        value = "; ".join(filter(None, (reading.quality, ", ".join(told), reading.reason)))
        yield Fact(topic="telemetry", name=f"{reading.source} ({reading.scope})", value=value)
    if not any(reading.source == "process_tree" for reading in readings):
        yield Fact(topic="telemetry", name="process_tree (run)", value="not needed: the run's group tells more")


def _processor(place: Place) -> Iterator[Fact]:
    for knob in list_knobs(place.procfs, place.sysfs):
        value = knob.read()
        wrong = "" if value == knob.wanted or not knob.disturbs else f"{knob.why}: {TUNE} sets it to {knob.wanted}"
        yield Fact(topic="processor", name=knob.name, value=value, finding=wrong)
    for name, path in {
        "SMT": "devices/system/cpu/smt/active",
        "huge pages": "kernel/mm/transparent_hugepage/enabled",
        "isolated cores": "devices/system/cpu/isolated",
    }.items():
        yield Fact(topic="processor", name=name, value=_read(place.sysfs / path) or "none")


def _memory_and_disk(place: Place) -> Iterator[Fact]:
    (reading,) = MachineSource(place.procfs, place.sysfs).read()
    free, used = reading.available_memory_bytes, reading.memory_bytes
    if free is not None and used is not None:
        low = free < FREE_MEMORY_RATIO * (free + used)
        wrong = "less than a fifth is free: end what holds the rest, else runs may be killed or swapped" if low else ""
        yield Fact(topic="memory", name="free memory", value=f"{_gb(free)} of {_gb(free + used)}", finding=wrong)
    meminfo = _read(place.procfs / "meminfo")
    total, unused = value_of("SwapTotal:", meminfo), value_of("SwapFree:", meminfo)
    if total is not None and unused is not None:
        wrong = "programs are swapped out: free memory, then swapoff -a && swapon -a" if unused < total else ""
        yield Fact(topic="memory", name="swap in use", value=_gb((total - unused) * 1024), finding=wrong)
    disk = shutil.disk_usage(place.folder)
    wrong = f"less than {_gb(FREE_DISK_BYTES)}: make room, else runs end with a full disk"
    finding = wrong if disk.free < FREE_DISK_BYTES else ""
    yield Fact(topic="disk", name="free disk", value=f"{_gb(disk.free)} of {_gb(disk.total)}", finding=finding)


def _load(place: Place) -> Iterator[Fact]:
    look = place.look() if place.look else look_around(LOOK_S, place.procfs, place.sysfs)
    load = (_read(place.procfs / "loadavg") or "not readable").split()[0]
    yield Fact(topic="others", name="load over a minute", value=load)
    used = "not known" if look.foreign_cpu_s is None else f"{look.foreign_cpu_s:.2f} CPU s in {look.window_s:g} s"
    wrong = f"{look.disturbance}: end it, or use deadheat run --quiet-machine" if look.disturbance else ""
    yield Fact(topic="others", name="other programs", value=used, finding=wrong)


def _devices(place: Place) -> Iterator[Fact]:
    source = NvmlSource(list, procfs=place.procfs)
    for reading in source.read():
        if reading.device_index is not None:
            clock = "unknown" if reading.clock_hz is None else f"{reading.clock_hz / 1e6:.0f} MHz"
            value = f"clock {clock}, {reading.throttle_reasons or 'not throttled'}"
            yield Fact(topic="device", name=f"device {reading.device_index}", value=value)
    source.close()


def _toolchains() -> Iterator[Fact]:
    for language in known_toolchains():
        toolchain, found = read_toolchain(language), find_toolchain(language)
        version = probe_version(toolchain, found) if found else ""
        ready = is_new_enough(version, toolchain.minimum_version)
        wrong = "" if ready else f"its runners are unavailable: deadheat setup {language}"
        yield Fact(topic="toolchain", name=language, value=version or "not there", finding=wrong)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""


def _gb(size: int) -> str:
    return f"{size / 1e9:.1f} GB"
