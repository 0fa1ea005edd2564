"""Programs whose use of the machine is known, and what it takes to watch them."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from collector.run.launch import Launch
from collector.telemetry.cgroup import run_group


def launch(folder: Path, code: str, *arguments: object, cores: tuple[int, ...] = ()) -> Launch:
    """Return the launch of a Python program; its own arguments come before the trial and events files."""
    folder.mkdir(exist_ok=True)
    return Launch(
        command=[sys.executable, "-c", code, *map(str, arguments)],
        environment=os.environ,
        folder=folder,
        cores=cores or sorted(os.sched_getaffinity(0)),
        timeout_s=60,
    )


def has_groups() -> str:
    """Return why a run gets no group with CPU and memory on this machine, or an empty string."""
    with run_group() as group:
        has_memory = any((folder / "memory.stat").exists() for folder in group.folders)
        return "" if group.cpu_source and has_memory else group.reason or "no memory controller"


@pytest.fixture(scope="session")
def groups() -> None:
    """Skip where a run cannot have a group."""
    if reason := has_groups():
        pytest.skip(f"no control group for a run: {reason}")
