"""A file of the kernel is read whole, however long it has become."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest

from collector.telemetry.kernel_file import SIZE, KernelFile
from collector.telemetry.machine import MachineSource, cores_cpu_s


@pytest.mark.parametrize("length", [0, SIZE - 1, SIZE, SIZE + 1, 10 * SIZE])
def test_a_file_of_any_length_is_read_whole(tmp_path: Path, length: int) -> None:
    """Also one that grows while it is open."""
    path = tmp_path / "stat"
    path.write_text("x" * length)
    with contextlib.closing(KernelFile(path)) as file:
        assert file.read() == "x" * length
        path.write_text("y" * (length + SIZE))
        assert file.read() == "y" * (length + SIZE)


@pytest.mark.parametrize("cores", [384, 4096])
def test_the_last_core_of_many_is_read(tmp_path: Path, cores: int) -> None:
    """Runs are pinned to the last ones."""
    fields = "91234567 1234 21345678 987654321 123456 0 23456 0 0 0"
    text = "\n".join([f"cpu  {fields}", *(f"cpu{core} {fields}" for core in range(cores)), "ctxt 1"]) + "\n"
    (tmp_path / "stat").write_text(text)

    with contextlib.closing(MachineSource(tmp_path, tmp_path, cores=[cores - 1])) as source:
        assert source.read()[0].run_cores_cpu_s == cores_cpu_s(text, [cores - 1])
