"""Energy of the CPU packages, from the kernel's RAPL counters."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from collector.telemetry import Reading
from collector.telemetry.kernel_file import KernelFile
from collector.telemetry.machine import SYSFS


class RaplSource:
    """Sums the counters of all packages; each begins again at 0 beyond its own largest value.

    Zones inside a package (core, uncore, dram) are parts of it or not everywhere there, and `psys` contains the
    packages: only zones named package-N are read. Since 2020 the counters belong to root alone.

    Parameters
    ----------
    sysfs
        Where sysfs is mounted.
    """

    def __init__(self, sysfs: Path = SYSFS) -> None:
        zones = sorted((sysfs / "class" / "powercap").glob("intel-rapl:*"))
        self._packages = [_Counter(zone) for zone in zones if _name(zone).startswith("package")]

    def read(self, edge: str = "") -> Sequence[Reading]:
        """Return one reading: the energy of all packages, or why it cannot be had."""
        at_ns = time.monotonic_ns()
        energies_j = [package.read_j() for package in self._packages]
        known = [energy_j for energy_j in energies_j if energy_j is not None]
        readable = bool(energies_j) and len(known) == len(energies_j)
        reading = Reading(
            at_ns=at_ns,
            source="rapl",
            scope="machine",
            quality="exact" if readable else "unavailable",
            edge=edge,
            energy_j=sum(known) if readable else None,
            reason="; ".join(package.reason for package in self._packages if package.reason)
            or ("" if self._packages else "the kernel shows no package energy counter (powercap/intel-rapl)"),
        )
        return (reading,)

    def close(self) -> None:
        """Close every counter."""
        for package in self._packages:
            package.close()


class _Counter:
    """One package's counter, made to go on where it begins again at 0."""

    def __init__(self, zone: Path) -> None:
        self._file = KernelFile(zone / "energy_uj")
        self._range_uj = int((zone / "max_energy_range_uj").read_text(encoding="ascii"))
        self._last_uj = 0
        self._wrapped_uj = 0

    @property
    def reason(self) -> str:
        return self._file.reason

    def read_j(self) -> float | None:
        text = self._file.read()
        if text is None:
            return None
        now_uj = int(text)
        if now_uj < self._last_uj:
            self._wrapped_uj += self._range_uj
        self._last_uj = now_uj
        return (self._wrapped_uj + now_uj) / 1e6

    def close(self) -> None:
        self._file.close()


def _name(zone: Path) -> str:
    try:
        return (zone / "name").read_text(encoding="ascii").strip()
    except OSError:
        return ""
