"""What can be set so that times scatter less: said, written down first, and put back."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

from collector.telemetry.machine import PROCFS, SYSFS
from collector.telemetry.nvml import open_devices
from store.definition import person_path
from store.errors import DeadheatError

PERSISTENT, UNLOCKED = "on", "not locked"


class TuningError(DeadheatError):
    """A record of earlier settings that is missing or cannot be read."""


class Knob(Protocol):
    """One setting of the machine. Values are text; what cannot be read is the empty text."""

    name: str
    wanted: str
    why: str  # what is wrong with any other value
    disturbs: bool  # whether another value is a finding

    def read(self) -> str:
        """Return the value now."""
        ...

    def write(self, value: str) -> None:
        """Set a value; raise OSError where that is not allowed."""
        ...


class FileKnob:
    """A setting that is a file of procfs or sysfs."""

    def __init__(self, path: Path, name: str, wanted: str, why: str, *, disturbs: bool = True) -> None:
        self._path = path
        self.name, self.wanted, self.why, self.disturbs = name, wanted, why, disturbs

    def read(self) -> str:
        """Return what the file says."""
        with contextlib.suppress(OSError):
            return self._path.read_text(encoding="ascii").strip()
        return ""

    def write(self, value: str) -> None:
        """Write the file."""
        self._path.write_text(value, encoding="ascii")


class PersistenceKnob:
    """Whether a device's driver stays loaded between runs; else each run waits for it anew."""

    wanted, why, disturbs = PERSISTENT, "every run loads the driver anew", True

    def __init__(self, nvml: Any, handle: object, index: int) -> None:  # noqa: ANN401 - the module pynvml
        self._nvml, self._handle = nvml, handle
        self.name = f"persistence of device {index}"

    def read(self) -> str:
        """Return on or off."""
        with contextlib.suppress(self._nvml.NVMLError):
            return PERSISTENT if self._nvml.nvmlDeviceGetPersistenceMode(self._handle) else "off"
        return ""

    def write(self, value: str) -> None:
        """Turn it on or off."""
        with _as_os_error(self._nvml):
            self._nvml.nvmlDeviceSetPersistenceMode(self._handle, int(value == PERSISTENT))


class ClockKnob:
    """The clocks of a device, locked at their highest; its power limit may still lower them.

    NVML does not tell whether clocks are locked, so what they were is always taken for unlocked.
    """

    why, disturbs = "the clock follows the load", False

    def __init__(self, nvml: Any, handle: object, index: int) -> None:  # noqa: ANN401 - the module pynvml
        self._nvml, self._handle = nvml, handle
        self.name = f"clocks of device {index}"
        self.wanted = ""
        with contextlib.suppress(nvml.NVMLError):
            self.wanted = f"{nvml.nvmlDeviceGetMaxClockInfo(handle, nvml.NVML_CLOCK_SM)} MHz"

    def read(self) -> str:
        """Return what is put back later."""
        return UNLOCKED if self.wanted else ""

    def write(self, value: str) -> None:
        """Lock the clocks, or let them go."""
        with _as_os_error(self._nvml):
            if value == UNLOCKED:
                self._nvml.nvmlDeviceResetGpuLockedClocks(self._handle)
            else:
                megahertz = int(value.partition(" ")[0])
                self._nvml.nvmlDeviceSetGpuLockedClocks(self._handle, megahertz, megahertz)


def list_knobs(procfs: Path = PROCFS, sysfs: Path = SYSFS, library: ModuleType | None = None) -> list[Knob]:
    """Return the settings that this machine has, and can be read."""
    cpu = sysfs / "devices" / "system" / "cpu"
    governors = sorted((cpu / "cpufreq").glob("policy*/scaling_governor"))
    slow = "the clock rises late under load"
    knobs: list[Knob] = [FileKnob(path, f"governor of {path.parent.name}", "performance", slow) for path in governors]
    turbo = "the clock depends on heat and on the other cores"
    knobs += [
        FileKnob(cpu / "intel_pstate" / "no_turbo", "turbo is off", "1", turbo),
        FileKnob(cpu / "cpufreq" / "boost", "boost", "0", turbo),
        FileKnob(
            procfs / "sys" / "kernel" / "randomize_va_space",
            "address space randomisation",
            "0",
            "addresses differ from run to run",
            disturbs=False,  # heats average over it
        ),
    ]
    nvml, handles, _ = open_devices(library, procfs)
    for index, handle in enumerate(handles):
        knobs += [PersistenceKnob(nvml, handle, index), ClockKnob(nvml, handle, index)]
    return [knob for knob in knobs if knob.read()]


def tune(knobs: Sequence[Knob], record: Path) -> Iterator[tuple[bool, str]]:
    """Set every knob and yield whether it is set, and what was done; `record` first has what they were.

    A record that is there already keeps its values: they are older.
    """
    now = {knob.name: knob.read() for knob in knobs}
    _write_record(record, {**now, **(_read_record(record) if record.exists() else {})})
    for knob in knobs:
        if now[knob.name] == knob.wanted:
            yield True, f"{knob.name}: is {knob.wanted} already"
        else:
            yield _set(knob, knob.wanted, now[knob.name])


def restore(knobs: Sequence[Knob], record: Path) -> Iterator[tuple[bool, str]]:
    """Put back what `record` has and yield whether, and what was done; it is removed when all is as it was."""
    left = _read_record(record)
    by_name = {knob.name: knob for knob in knobs}
    for name, value in list(left.items()):
        if name not in by_name:
            yield False, f"{name}: is not on this machine; it was {value}"
            continue
        done, text = _set(by_name[name], value, by_name[name].read())
        if done:
            del left[name]
        yield done, text
    if left:
        _write_record(record, left)
    else:
        record.unlink()


def record_path() -> Path:
    """Return the file that has what the machine's settings were; `DEADHEAT_TUNED` names another one."""
    return person_path(os.environ.get("DEADHEAT_TUNED") or "~/.cache/deadheat/tuned.json")


def _set(knob: Knob, value: str, before: str) -> tuple[bool, str]:
    try:
        knob.write(value)
    except OSError as reason:
        return False, f"{knob.name}: stays {before}: {reason.strerror or reason}"
    return True, f"{knob.name}: {before} → {value}"


def _read_record(record: Path) -> dict[str, str]:
    try:
        return dict(json.loads(record.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as reason:
        raise TuningError(
            f"{record}: cannot be read ({reason}); expected what deadheat doctor --tune wrote before it changed "
            "anything. Without it nothing can be put back; a restart of the machine puts everything back."
        ) from None


def _write_record(record: Path, values: dict[str, str]) -> None:
    record.parent.mkdir(parents=True, exist_ok=True)
    part = record.with_suffix(".part")
    part.write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")
    part.rename(record)


@contextlib.contextmanager
def _as_os_error(nvml: Any) -> Iterator[None]:  # noqa: ANN401 - the module pynvml
    try:
        yield
    except nvml.NVMLError as reason:
        raise PermissionError(f"NVML: {reason}") from None
