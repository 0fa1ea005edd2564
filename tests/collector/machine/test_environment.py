"""What is hashed of the project into an environment's id: what measures, and nothing else."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pynvml
import pytest

from collector.machine.environment import PROJECT, probe_commit, probe_gpus, read_code_hash


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


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=x", "-c", "user.email=x@example.org"]
    command = ["git", "-C", str(folder), *identity, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def test_the_commit_is_the_projects_own(tmp_path: Path) -> None:
    """Not that of a repository around it."""
    git(tmp_path, "init", "-q")
    git(tmp_path, "commit", "-q", "--allow-empty", "-m", "other")
    (tmp_path / "unpacked").mkdir()

    assert probe_commit(tmp_path) == (git(tmp_path, "rev-parse", "HEAD"), False)
    assert probe_commit(tmp_path / "unpacked")[0].startswith("unknown: not a git checkout, though it lies in one")


def test_without_a_checkout_the_commit_is_unknown(tmp_path: Path) -> None:
    """A tarball that was unpacked."""
    assert probe_commit(tmp_path) == ("unknown: not a git checkout", False)


def test_what_git_refuses_is_its_own_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A checkout of another user, as in a container."""
    git(tmp_path, "init", "-q")
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")

    assert "safe.directory" in probe_commit(tmp_path)[0]


@pytest.mark.parametrize("refused", ["nvmlDeviceGetMemoryInfo", "nvmlSystemGetDriverVersion", "nvmlDeviceGetName"])
def test_what_a_device_does_not_tell_hides_nothing_else(monkeypatch: pytest.MonkeyPatch, refused: str) -> None:
    """Unified memory, say, is not told as memory of the device."""

    def refuse(*_: object) -> None:
        raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)

    answers = {
        "nvmlInit": None, "nvmlShutdown": None, "nvmlDeviceGetCount": 2, "nvmlDeviceGetHandleByIndex": 0,
        "nvmlDeviceGetName": "Owl", "nvmlSystemGetDriverVersion": "580",
        "nvmlDeviceGetMemoryInfo": SimpleNamespace(total=7),
    }  # fmt: skip
    for name, answer in answers.items():
        monkeypatch.setattr(pynvml, name, refuse if name == refused else lambda *_, answer=answer: answer)
    told = {
        "nvmlDeviceGetName": "model",
        "nvmlDeviceGetMemoryInfo": "memory_bytes",
        "nvmlSystemGetDriverVersion": "driver",
    }
    expected = {"model": "Owl", "memory_bytes": "7", "driver": "580"}
    expected[told[refused]] = "0" if refused == "nvmlDeviceGetMemoryInfo" else ""

    assert probe_gpus() == [expected, expected]
