"""What is hashed of the project into an environment's id: what measures, and nothing else."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from collector.machine.environment import PROJECT, read_code_hash


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Return a copy of the collector's code."""
    ignored = shutil.ignore_patterns("__pycache__", "node_modules")
    shutil.copytree(PROJECT / "collector", tmp_path / "collector", ignore=ignored)
    return tmp_path


@pytest.mark.parametrize("place", ["run/launch.py", "telemetry/sampler.py", "runners/python_numpy/train.py"])
def test_what_measures_makes_another_environment(project: Path, place: str) -> None:
    """Numbers of two versions of it are not put together."""
    before = read_code_hash(project)
    with (project / "collector" / place).open("a", encoding="utf-8") as file:
        file.write("# changed\n")

    assert read_code_hash(project) != before


@pytest.mark.parametrize(
    "place",
    [
        "cli/main.py", "monitor/plot.py", "suites/mine.toml", "runners/python_numpy/.train.py.swp", "run/launch.py~",
        "run/.DS_Store",
    ],
)  # fmt: skip
def test_what_does_not_measure_makes_no_other_environment(project: Path, place: str) -> None:
    """The command line, another suite, and what an editor leaves beside the code."""
    before = read_code_hash(project)
    (project / "collector" / place).write_bytes(b"b0VIM\x00\xff")

    assert read_code_hash(project) == before
