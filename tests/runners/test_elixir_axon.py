"""The runner elixir_axon: its own tests, and what it says where Axon is missing.

Where Axon is built, each backend that is there trains too; the gate is in tests/contract.
"""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest

from collector.plan.runner import RUNNERS, RunnerUnavailableError, probe_description, read_runner
from collector.plan.workload import read_workload
from collector.protocol.events import EpochStop, EvalStop, RunStop
from collector.toolchains.toolchain import find_toolchain
from tests.runners.conftest import BATCH_SIZE, TEST_EXAMPLES, TRAIN_EXAMPLES, Drive

RUNNER = read_runner("elixir_axon")
FOLDER = RUNNERS / "elixir_axon"


@pytest.fixture(scope="module")
def elixir() -> str:
    """Return the path of Elixir, or skip with the reason."""
    found = find_toolchain("elixir")
    if found is None:
        pytest.skip("no Elixir under .toolchains or on the PATH; to install it: make setup")
    return str(found)


@pytest.fixture(scope="module", params=["exla", "torchx", "emlx"])
def backend(request: pytest.FixtureRequest) -> str:
    """Return each backend of Nx that is built here; skip the others with the reason."""
    name: str = request.param
    try:
        description = probe_description(RUNNER)
    except RunnerUnavailableError as reason:
        pytest.skip(str(reason))
    if name not in description.versions:
        pytest.skip(f"{name} is not among the packages that mix.exs got")
    return name


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


@pytest.mark.parametrize(
    ("asked", "code", "told"), [("torch", 1, 'got "torch"; expected names'), (" emlx ,torchx", 0, "")]
)
def test_a_misspelt_backend_is_a_sentence_of_mix(elixir: str, tmp_path: Path, asked: str, code: int, told: str) -> None:
    """Where Mix is called by hand too; spaces are no part of a name."""
    process = subprocess.run(
        [elixir, "-e", 'Mix.start(); Mix.shell(Mix.Shell.Quiet); Code.require_file("mix.exs")'],
        cwd=FOLDER,
        env={**os.environ, "MIX_HOME": str(tmp_path), "DEADHEAT_AXON_BACKENDS": asked},
        capture_output=True,
        text=True,
        check=False,
    )

    assert process.returncode == code, process.stderr
    assert told in process.stderr


def test_torchx_leaves_out_the_padded_max_pool() -> None:
    """No other difference: what has the stem `imagenet`, and only that, is missing from its workloads."""
    for variant in ("torchx", "torchx_loop"):
        left_out = set(RUNNER.workloads) - set(RUNNER.offers(variant)["workload"])

        assert left_out == {name for name in RUNNER.workloads if stem_of(name) == "imagenet"}


def stem_of(workload: str) -> str | None:
    return getattr(read_workload(workload).model, "stem", None)


def test_it_tells_the_version_of_the_library_that_the_backend_calls(backend: str) -> None:
    """Torchx 0.13.1 can be built with more than one LibTorch."""
    library = {"exla": "xla", "torchx": "libtorch", "emlx": "mlx"}[backend]

    assert re.fullmatch(r"\d+\.\d+\.\d+", probe_description(RUNNER).versions[library])


def test_the_loop_trains_as_the_step_does(backend: str, drive: Drive) -> None:
    """Four pairs an epoch with its smaller last batch; Axon's own loop has the same losses and learns the same."""
    by_step = drive("elixir_axon", f"{backend}-train", variant=backend, dropout_rate=0.0).events
    by_loop = drive("elixir_axon", f"{backend}-loop", variant=f"{backend}_loop", dropout_rate=0.0).events

    assert [event.kind for event in by_step] == [event.kind for event in by_loop]
    epochs = [event for event in by_step if isinstance(event, EpochStop)]
    assert [event.epoch for event in epochs] == [0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0]
    assert sum(event.examples for event in epochs) == 2 * TRAIN_EXAMPLES
    losses = [event.train_loss for event in by_loop if isinstance(event, EpochStop)]
    np.testing.assert_allclose([event.train_loss for event in epochs], losses, rtol=1e-4)
    last = [event for event in by_step if isinstance(event, EvalStop)][-1]
    assert last.examples == TEST_EXAMPLES
    assert last.correct > 0.9 * TEST_EXAMPLES


def test_mode_steps_is_one_pair_without_evaluation(backend: str, drive: Drive) -> None:
    """With dropout, whose masks differ from step to step. With how many threads a backend computes, it does not say."""
    changes = {"mode": "steps", "steps": 20, "epochs": 1, "evaluations_per_epoch": 0, "chunks_per_epoch": 4}
    events = drive("elixir_axon", f"{backend}-steps", variant=backend, **changes).events

    assert [event.steps for event in events if event.kind == "chunk_stop"] == [5, 10, 15, 20]
    (epoch,) = [event for event in events if isinstance(event, EpochStop)]
    assert (epoch.epoch, epoch.examples) == (1.0, 20 * BATCH_SIZE)
    stop = events[-1]
    assert isinstance(stop, RunStop)
    assert (stop.threads, stop.flushes_subnormals) == (None, backend == "exla")


def test_mode_infer_predicts_twice(backend: str, drive: Drive) -> None:
    """Once synchronised after every batch, once after the last only."""
    changes = {"mode": "infer", "steps": 7, "epochs": 1, "evaluations_per_epoch": 0}
    events = drive("elixir_axon", f"{backend}-infer", variant=backend, **changes).events

    assert [event.steps for event in events if event.kind == "chunk_stop"] == [1, 2, 3, 4, 5, 6, 7, 7]
    assert [event.epoch for event in events if event.kind == "epoch_stop"] == [1.0, 2.0]


def test_a_loss_beyond_all_numbers_is_a_diverged_event(backend: str, drive: Drive) -> None:
    """The run ends in order."""
    events = drive("elixir_axon", f"{backend}-diverged", variant=backend, model="lenet5", learning_rate=1e30).events

    assert events[-1].kind == "diverged"
    assert "loss is nan" in events[-1].message


def test_a_loader_is_unsupported(backend: str, drive: Drive) -> None:
    """Axon has none of its own; it is refused by name, before any file is read."""
    events = drive("elixir_axon", f"{backend}-stream", variant=backend, loader="stream").events

    assert [event.kind for event in events] == ["run_start", "unsupported"]
    assert events[-1].message == "loader is stream; this runner knows resident"
