"""The scripts in Elixir that benchmarks hold runners to: formatted, and each way they compare computes the same."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from collector.plan.runner import RUNNERS, RunnerUnavailableError, probe_description, read_runner, runner_environment
from collector.toolchains.toolchain import PROJECT, find_toolchain
from tests.runners.conftest import Drive

BARE = PROJECT / "benchmarks" / "bare"


@pytest.fixture(scope="module")
def elixir() -> Path:
    """Return the path of Elixir, or skip with the reason."""
    found = find_toolchain("elixir")
    if found is None:
        pytest.skip("no Elixir under .toolchains or on the PATH; to install it: make setup")
    return found


@pytest.mark.parametrize("name", ["elixir_axon", "elixir_beam"])
def test_the_bare_scripts_are_formatted(elixir: Path, tmp_path: Path, name: str) -> None:
    """By the formatter of the runner they belong to; so they parse, with or without Axon."""
    script = (
        'Mix.start(); Mix.Task.run("format", ["--check-formatted", "--dot-formatter", ".formatter.exs", '
        f'"{BARE / name}.exs"])'
    )
    process = subprocess.run(
        [str(elixir), "-e", script],
        cwd=RUNNERS / name,
        env={**os.environ, "MIX_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert process.returncode == 0, process.stdout + process.stderr


def test_every_step_from_naive_to_fast_computes_the_same(elixir: Path, drive: Drive) -> None:
    """The script itself compares the losses after 20 steps; each row of its table has three times."""
    if shutil.which("taskset") is None or len(os.sched_getaffinity(0)) < 2:
        pytest.skip("the rows with two cores need two, and taskset")
    changes = {"mode": "steps", "steps": 20, "epochs": 1, "evaluations_per_epoch": 0, "chunks_per_epoch": 1}
    folder = drive("elixir_beam", "bare", variant="default", **changes).folder

    process = subprocess.run(
        [str(elixir), str(BARE / "elixir_beam.exs"), str(folder / "trial.json"), "1"],
        capture_output=True,
        text=True,
        check=False,
    )

    assert process.returncode == 0, process.stderr
    rows = re.findall(r"^\| .+ \| (\d+\.\d+) \| (\d+\.\d+) \| (\d+\.\d+) \|$", process.stdout, re.MULTILINE)
    assert len(rows) == 11


@pytest.mark.parametrize("variant", ["torchx", "torchx_loop", "emlx", "emlx_loop"])
def test_axon_written_bare_has_the_runners_loss(drive: Drive, variant: str) -> None:
    """Without dropout the same weights and batches give the same mean loss."""
    try:
        told = probe_description(read_runner("elixir_axon"))
    except RunnerUnavailableError as reason:
        pytest.skip(str(reason))
    if told.versions["language_version"].startswith("1.17."):
        pytest.skip("the bare script needs Elixir 1.18 for its JSON")
    if variant.partition("_")[0] not in told.versions:
        pytest.skip(f"{variant} is not built here")
    changes = {"mode": "steps", "steps": 20, "epochs": 1, "evaluations_per_epoch": 0, "chunks_per_epoch": 1}
    outcome = drive("elixir_axon", f"bare-{variant}", model="lenet5", variant=variant, **changes)
    (epoch,) = (event for event in outcome.events if event.kind == "epoch_stop")

    process = subprocess.run(
        [str(find_toolchain("elixir")), str(BARE / "elixir_axon.exs"), str(outcome.folder / "trial.json")],
        env=runner_environment(read_runner("elixir_axon"), threads=1),
        capture_output=True,
        text=True,
        check=False,
    )

    assert process.returncode == 0, process.stderr
    assert float(process.stdout.split()[-1]) == pytest.approx(epoch.train_loss, rel=1e-5)
