"""What the gate holds in its hands about one runner: what it was given, what it should have written, what it wrote."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from collector.datasets.files import DataFiles
from collector.plan.workload import Workload
from collector.reference.architecture import Architecture

Array = NDArray[np.float64]

EVERY_PART = "ABCDEFG"  # of the gate, for a workload's own form; L where the loader streams


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """The gate's work, the reference's results and the runner's output folder."""

    workload: Workload
    architecture: Architecture
    data: DataFiles  # the gate's own small set
    inputs: Path
    output: Path
    expected: dict[str, Array]  # expected.npz

    def found(self, name: str) -> Array | None:
        """Return what the runner wrote as `<name>.npy`, or None where it wrote nothing readable."""
        return read_array(self.output / f"{name}.npy")

    def given(self, folder: str, name: str) -> Array:
        """Return an array that the runner was given: from `weights`, `gradients` or `checkpoint`."""
        array = read_array(self.inputs / folder / f"{name}.npy")
        assert array is not None
        return array

    def expected_group(self, prefix: str) -> dict[str, Array]:
        """Return the expected arrays of one group, by parameter."""
        start = f"{prefix}."
        return {name.removeprefix(start): array for name, array in self.expected.items() if name.startswith(start)}


def read_array(path: Path) -> Array | None:
    """Return the array in `path` in float64, or None where there is none."""
    try:
        return np.load(path, allow_pickle=False).astype(np.float64)  # type: ignore[no-any-return]
    except (OSError, ValueError):
        return None
