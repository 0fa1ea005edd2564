"""The runner elixir_beam: its own tests, and what tests/contract does not ask of every runner."""

from __future__ import annotations

import dataclasses
import os
import re
import subprocess
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from collector.datasets.files import DataFiles, write_idx
from collector.plan.axes import Change, effective_workload
from collector.plan.matrix import Cell
from collector.plan.runner import (
    RUNNERS,
    Entry,
    read_runner,
    resolve_command,
    runner_environment,
)
from collector.plan.workload import read_workload
from collector.protocol.events import EpochStop, EvalStop, Event, read_events
from collector.protocol.trial import TrialFile, write_trial
from collector.reference.reference import initial_weights
from collector.run.inputs import architecture_of, base_trial, batch_order, steps_order, write_arrays
from collector.run.launch import Ending, Launch, launch_run
from collector.toolchains.toolchain import find_toolchain

RUNNER = read_runner("elixir_beam")
ENTRY = Entry("elixir_beam", RUNNER.default_variant)
FOLDER = RUNNERS / "elixir_beam"
TRAIN_IMAGES, TEST_IMAGES = 640, 500


@pytest.fixture(scope="module")
def elixir() -> str:
    """Return the path of Elixir, or skip with the reason."""
    found = find_toolchain("elixir")
    if found is None:
        pytest.skip(f"no Elixir under .toolchains or on the PATH; to install it: {RUNNER.install}")
    return str(found)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> DataFiles:
    """Write a data set that can be learned: each class is a pattern, with noise."""
    folder = tmp_path_factory.mktemp("data")
    files = DataFiles(
        format="idx",
        train=(folder / "train-images", folder / "train-labels"),
        test=(folder / "test-images", folder / "test-labels"),
        train_examples=TRAIN_IMAGES,
        test_examples=TEST_IMAGES,
        image_shape=(1, 28, 28),
        classes=10,
        mean=(0.1307,),
        std=(0.3081,),
    )
    generator = np.random.default_rng(5)
    patterns = generator.integers(0, 200, size=(10, 28, 28))
    for (images, labels), count in ((files.train, TRAIN_IMAGES), (files.test, TEST_IMAGES)):
        classes = generator.integers(0, 10, size=count)
        noise = generator.integers(0, 56, size=(count, 28, 28))
        write_idx(images, (patterns[classes] + noise).astype(np.uint8))
        write_idx(labels, classes.astype(np.uint8))
    return files


def cell_of(mode: str) -> Cell:
    workload = effective_workload(read_workload("mnist_mlp"), Change(mode=mode, steps=50))
    return Cell(
        workload=workload,
        device="cpu",
        dtype="fp32",
        batch_size=128 if mode == "train" else 32,
        threads=1,
        loader="resident",
        loader_workers=0,
        epochs=1,
        baseline=ENTRY,
        candidates=(),
        heats=1,
    )


def trial_of(mode: str, data: DataFiles, folder: Path, **changes: object) -> TrialFile:
    """Write weights and order of the perceptron into `folder` and return a trial that uses them."""
    cell = cell_of(mode)
    generator = np.random.default_rng(1)
    write_arrays(folder / "weights", initial_weights(cell.workload, architecture_of(cell.workload, data), generator))
    if cell.workload.mode == "steps":
        order = steps_order(TRAIN_IMAGES, cell.workload.steps * cell.batch_size, generator)
    else:
        order = batch_order(cell.workload, TRAIN_IMAGES, 1, cell.batch_size, generator)
    np.save(folder / "order.npy", order)
    named = {"mode": cell.workload.mode, "runner": ENTRY.runner, "variant": ENTRY.variant, "seed": 7}
    return base_trial(cell.workload, cell, data, folder, folder).model_copy(update={**named, **changes})


def run_trial(trial: TrialFile, folder: Path) -> tuple[subprocess.CompletedProcess[str], list[Event]]:
    """Run the runner as the collector does and return the process and its checked events."""
    write_trial(trial, folder / "trial.json")
    command = [*resolve_command(RUNNER, threads=1), str(folder / "trial.json"), str(folder / "events.jsonl")]
    process = run(command, folder)
    return process, read_events(folder / "events.jsonl")


def run(command: Sequence[str], folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        cwd=folder,
        env=runner_environment(RUNNER, threads=1),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_its_own_tests_pass_without_a_warning_of_the_compiler(elixir: str, tmp_path: Path) -> None:
    """ExUnit: file formats, arithmetic, the gradient against finite differences, optimizers, intervals."""
    process = run([elixir, str(FOLDER / "test" / "run.exs")], tmp_path)

    assert process.returncode == 0, process.stdout + process.stderr
    assert " 0 failures" in process.stdout


def test_its_sources_are_formatted(elixir: str, tmp_path: Path) -> None:
    """`mix format --check-formatted` finds nothing to change, in what Elixir runners share neither."""
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
def test_mode_steps_is_one_pair_of_50_steps(data: DataFiles, tmp_path: Path) -> None:
    """Chunks of ten steps, no evaluation, and a loss that falls below that of guessing."""
    process, events = run_trial(trial_of("steps", data, tmp_path, chunks_per_epoch=5), tmp_path)

    assert process.returncode == 0, process.stderr
    assert [event.steps for event in events if event.kind == "chunk_stop"] == [10, 20, 30, 40, 50]
    (epoch,) = [event for event in events if isinstance(event, EpochStop)]
    assert (epoch.epoch, epoch.examples) == (1.0, 1600)
    assert epoch.train_loss < np.log(10)
    assert not [event for event in events if event.kind == "eval_start"]
    assert events[-1].kind == "run_stop"
    assert process.stdout == process.stderr == ""


@pytest.mark.usefixtures("elixir")
def test_mode_train_evaluates_every_quarter_epoch_and_learns(data: DataFiles, tmp_path: Path) -> None:
    """Four pairs that cover the epoch with its smaller batches; the patterns are learned in it."""
    trial = trial_of("train", data, tmp_path, batch_size=48, learning_rate=0.003)
    process, events = run_trial(trial, tmp_path)

    assert process.returncode == 0, process.stderr
    epochs = [event for event in events if isinstance(event, EpochStop)]
    evaluations = [event for event in events if isinstance(event, EvalStop)]
    assert [event.epoch for event in epochs] == [0.25, 0.5, 0.75, 1.0]
    # 14 batches, the last of 16 examples, cut after 3, 7, 10 and 14.
    assert [event.examples for event in epochs] == [144, 192, 144, 160]
    assert {event.examples for event in evaluations} == {TEST_IMAGES}
    assert evaluations[-1].correct > 0.9 * TEST_IMAGES
    assert evaluations[-1].loss < evaluations[0].loss


@pytest.mark.usefixtures("elixir")
def test_a_loss_beyond_all_numbers_is_a_diverged_event(data: DataFiles, tmp_path: Path) -> None:
    """The BEAM raises where others get NaN; the run ends in order."""
    process, events = run_trial(trial_of("steps", data, tmp_path, learning_rate=1e200), tmp_path)

    assert process.returncode == 0, process.stderr
    assert events[-1].kind == "diverged"
    assert events[-1].epoch == 1.0


@pytest.mark.usefixtures("elixir")
def test_what_it_cannot_do_is_an_unsupported_event(data: DataFiles, tmp_path: Path) -> None:
    """LeNet-5 is refused by name, before any file is read."""
    process, events = run_trial(trial_of("steps", data, tmp_path, model="lenet5"), tmp_path)

    assert process.returncode == 0, process.stderr
    assert [event.kind for event in events] == ["run_start", "import_stop", "unsupported"]
    assert events[-1].message == "model is lenet5; this runner knows mlp"


@pytest.mark.usefixtures("elixir")
def test_an_epoch_that_cannot_be_cut_is_unsupported(data: DataFiles, tmp_path: Path) -> None:
    """More evaluations than batches: that is no divergence."""
    process, events = run_trial(trial_of("train", data, tmp_path, batch_size=320), tmp_path)

    assert process.returncode == 0, process.stderr
    assert events[-1].kind == "unsupported"
    assert events[-1].message == "evaluations_per_epoch is 4; expected at most 2, the batches of an epoch"


@pytest.mark.usefixtures("elixir")
def test_a_second_hidden_layer_is_unsupported(data: DataFiles, tmp_path: Path) -> None:
    """What only a number tells is refused too."""
    _, events = run_trial(trial_of("steps", data, tmp_path, hidden_layers=2), tmp_path)

    assert events[-1].message == "model.hidden_layers is 2; this runner knows 1"


@pytest.mark.usefixtures("elixir")
def test_a_broken_data_file_ends_the_log_with_the_reason(data: DataFiles, tmp_path: Path) -> None:
    """The last line names the file and the exit code is not 0."""
    broken = tmp_path / "broken"
    broken.write_bytes(data.train[0].read_bytes()[:-1])
    trial = trial_of("steps", dataclasses.replace(data, train=(broken, data.train[1])), tmp_path)
    write_trial(trial, tmp_path / "trial.json")
    command = [*resolve_command(RUNNER, threads=1), str(tmp_path / "trial.json"), str(tmp_path / "events.jsonl")]
    process = run(command, tmp_path)

    assert process.returncode == 1
    assert process.stderr.splitlines()[-1].startswith(f"{broken}: got 501775 bytes")


@pytest.mark.usefixtures("elixir")
def test_two_processes_compute_the_very_numbers_of_one(data: DataFiles, tmp_path: Path) -> None:
    """The variant `parallel` shares the hidden units out: losses and evaluations are those of `default`."""
    told = []
    for variant in ("default", "parallel"):
        (tmp_path / variant).mkdir()
        trial = trial_of("train", data, tmp_path / variant, batch_size=48, variant=variant, threads=2)
        process, events = run_trial(trial, tmp_path / variant)
        assert process.returncode == 0, process.stderr
        losses = [event.train_loss for event in events if isinstance(event, EpochStop)]
        told.append((losses, [(event.correct, event.loss) for event in events if isinstance(event, EvalStop)]))

    assert told[0] == told[1]


@pytest.mark.usefixtures("elixir")
def test_divergence_in_another_process_is_a_diverged_event(data: DataFiles, tmp_path: Path) -> None:
    """What a worker cannot compute ends the run in order too."""
    trial = trial_of("steps", data, tmp_path, learning_rate=1e200, variant="parallel", threads=2)
    process, events = run_trial(trial, tmp_path)

    assert process.returncode == 0, process.stderr
    assert events[-1].kind == "diverged"


@pytest.mark.usefixtures("elixir")
def test_a_path_may_hold_any_letter_in_any_locale(
    data: DataFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The files of a trial are found where the locale knows ASCII only; nobody warns."""
    monkeypatch.setenv("LC_ALL", "C")
    folder = tmp_path / "Prüfstand 計測"
    folder.mkdir()
    process, events = run_trial(trial_of("steps", data, folder), folder)

    assert (process.returncode, process.stdout, process.stderr) == (0, "", "")
    assert events[-1].kind == "run_stop"


def launched(code: str, folder: Path, *limits: str) -> Ending:
    """Run Elixir code in place of the runner, with its options and its environment."""
    command = [*limits, *resolve_command(RUNNER, threads=1)[:-1], "-e", code]
    environment = runner_environment(RUNNER, threads=1)
    cores = sorted(os.sched_getaffinity(0))[:1]
    return launch_run(Launch(command=command, environment=environment, folder=folder, cores=cores, timeout_s=60))


@pytest.mark.usefixtures("elixir")
def test_a_heap_that_cannot_grow_is_told_in_its_own_words_without_a_dump(tmp_path: Path) -> None:
    """The reason of the crash is the message of the record; no erl_crash.dump is left behind."""
    ending = launched("[] = List.duplicate(0.5, 1_000_000_000)", tmp_path, "prlimit", "--as=3000000000")

    assert ending.status == "out_of_memory"
    assert re.fullmatch(r"exit code \d+: .*Cannot allocate \d+ bytes of memory.*", ending.message)
    assert not list(tmp_path.glob("*.dump"))


@pytest.mark.usefixtures("elixir")
def test_a_crash_of_native_code_is_named_by_its_signal_without_a_dump(tmp_path: Path) -> None:
    """What LibTorch or MLX would do to the virtual machine."""
    ending = launched('System.cmd("kill", ["-SEGV", System.pid()]); Process.sleep(:infinity)', tmp_path)

    assert (ending.status, ending.message) == ("crashed", "killed by SIGSEGV: log.txt is empty")
    assert not list(tmp_path.glob("*.dump"))


@pytest.mark.usefixtures("elixir")
def test_a_virtual_machine_that_ends_itself_tells_why_without_a_dump(tmp_path: Path) -> None:
    """The last words of the BEAM, which otherwise are the name of its dump."""
    ending = launched(":erlang.halt(~c'no more atoms')", tmp_path)

    assert (ending.status, ending.message) == ("crashed", "exit code 1: no more atoms")
    assert not list(tmp_path.glob("*.dump"))
