"""The runner elixir_axon: its own tests, and what it says where Axon is missing.

Gate and training are in tests/contract, which run where Axon is built.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from collector.runner import RUNNERS, RunnerUnavailableError, probe_description, read_runner
from collector.toolchain import find_toolchain
from collector.workload import read_workload

RUNNER = read_runner("elixir_axon")
FOLDER = RUNNERS / "elixir_axon"


@pytest.fixture(scope="module")
def elixir() -> str:
    """Return the path of Elixir, or skip with the reason."""
    found = find_toolchain("elixir")
    if found is None:
        pytest.skip("no Elixir under .toolchains or on the PATH; to install it: make setup")
    return str(found)


def test_its_own_tests_pass_without_a_warning_of_the_compiler(elixir: str, tmp_path: Path) -> None:
    """ExUnit: file formats and schedule always, models and optimizers where Axon is built."""
    process = subprocess.run(
        [elixir, str(FOLDER / "test" / "run.exs")], cwd=tmp_path, capture_output=True, text=True, check=False
    )

    assert process.returncode == 0, process.stdout + process.stderr
    assert " 0 failures" in process.stdout


def test_its_sources_are_formatted(elixir: str, tmp_path: Path) -> None:
    """`mix format --check-formatted` finds nothing to change; so every file parses, with or without Axon."""
    script = 'Mix.start(); Mix.Task.run("format", ["--check-formatted", "--dot-formatter", ".formatter.exs"])'
    process = subprocess.run(
        [elixir, "-e", script],
        cwd=FOLDER,
        env={**os.environ, "MIX_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert process.returncode == 0, process.stdout + process.stderr


@pytest.mark.usefixtures("elixir")
def test_without_axon_it_is_unavailable_with_reason_and_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An absent framework is a reason, never an error: an old Elixir, or nothing built."""
    monkeypatch.setenv("MIX_BUILD_PATH", str(tmp_path))

    with pytest.raises(RunnerUnavailableError) as caught:
        probe_description(RUNNER)
    reason, remedy = str(caught.value).split(". To install it: ")
    assert "needs 1.17 or newer" in reason or reason.endswith(f"Axon is not built in {tmp_path}")
    assert remedy == RUNNER.install


def test_torchx_leaves_out_the_padded_max_pool() -> None:
    """No other difference: what has the stem `imagenet`, and only that, is missing from its workloads."""
    for variant in ("torchx", "torchx_loop"):
        left_out = set(RUNNER.workloads) - set(RUNNER.offers(variant)["workload"])

        assert left_out == {name for name in RUNNER.workloads if stem_of(name) == "imagenet"}


def stem_of(workload: str) -> str | None:
    return getattr(read_workload(workload).model, "stem", None)
