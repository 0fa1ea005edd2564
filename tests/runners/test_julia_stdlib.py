"""The runner julia_stdlib: its own tests, and what tests/contract does not ask of every runner."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest

from collector.plan.runner import RUNNERS, probe_description, read_runner
from collector.protocol.events import BuildStop, EpochStart, EpochStop, EvalStop, RunStop, of_kind
from collector.toolchains.toolchain import find_toolchain
from tests.runners.conftest import EPOCHS, GATE_REPEATS, TEST_EXAMPLES, Drive, parameter_shapes

RUNNER = read_runner("julia_stdlib")
NO_DROPOUT = {"mode": "steps", "steps": 23, "epochs": 1, "evaluations_per_epoch": 0, "dropout_rate": 0.0}
COSINE = {"schedule": "cosine", "schedule_epochs": 2}
GATE = {"mode": "gate", "evaluations_per_epoch": 1}


@pytest.fixture(scope="module")
def julia() -> str:
    """Return the path of Julia, or skip with the reason."""
    found = find_toolchain("julia")
    if found is None:
        pytest.skip(f"no Julia under .toolchains or on the PATH; to install it: {RUNNER.install}")
    return str(found)


pytestmark = pytest.mark.usefixtures("julia")


def test_its_own_tests_pass(julia: str, tmp_path: Path):
    """Test: file formats, the gradient against finite differences, optimizers, seeds, intervals, allocations."""
    script = RUNNERS / "julia_stdlib" / "test" / "runtests.jl"
    command = [julia, "--startup-file=no", "--history-file=no", "--depwarn=error", str(script)]

    answer = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=240, check=False)

    assert answer.returncode == 0, answer.stdout + answer.stderr


def test_it_learns_with_every_event_of_the_contract(drive: Drive):
    """Four pairs an epoch with their evaluations; ten patterns are told apart after two epochs."""
    events = drive("julia_stdlib", "train").events
    trained, evaluated = list(of_kind(events, EpochStop)), list(of_kind(events, EvalStop))

    assert [event.kind for event in events][4:9] == [
        "build_stop",
        "compile_stop",
        "epoch_start",
        "first_step_stop",
        "chunk_stop",
    ]
    assert [event.epoch for event in of_kind(events, EpochStart)] == [0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0]
    assert [event.examples for event in trained] == [32, 64, 64, 40] * EPOCHS
    assert {event.examples for event in evaluated} == {TEST_EXAMPLES}
    assert evaluated[-1].correct >= 0.9 * TEST_EXAMPLES
    assert evaluated[-1].loss < evaluated[0].loss
    assert [event.parameters for event in of_kind(events, BuildStop)] == [12_730]


def test_the_same_seed_gives_the_same_losses(drive: Drive):
    """Two processes agree to the last digit, so in every dropout mask."""
    once, again = (drive("julia_stdlib", label).events for label in ("train", "train_again"))

    assert [event.train_loss for event in of_kind(once, EpochStop)] == [
        event.train_loss for event in of_kind(again, EpochStop)
    ]


def test_without_dropout_it_has_the_training_loss_of_numpy(drive: Drive):
    """23 Adam steps in two languages have the same mean loss within float32 rounding."""
    (ours,), (numpys,) = (
        of_kind(drive(runner, "no_dropout_steps", **NO_DROPOUT).events, EpochStop)
        for runner in ("julia_stdlib", "python_numpy")
    )

    assert ours.examples == numpys.examples == 23 * 32
    assert ours.train_loss == pytest.approx(numpys.train_loss, rel=1e-4)


def test_threads_and_flushing_are_reported(drive: Drive):
    """Two BLAS threads train as one does, and the end of the run says what was set."""
    two = drive("julia_stdlib", "two_threads", threads=2, **NO_DROPOUT).events
    (loss,) = (event.train_loss for event in of_kind(two, EpochStop))
    (loss_of_one,) = (
        event.train_loss for event in of_kind(drive("julia_stdlib", "no_dropout_steps", **NO_DROPOUT).events, EpochStop)
    )
    (stop,) = of_kind(two, RunStop)

    assert (stop.threads, stop.flushes_subnormals) == (2, True)
    assert loss == pytest.approx(loss_of_one, rel=1e-5)


def test_the_gate_writes_every_quantity_in_its_canonical_shape(drive: Drive):
    """Parts A to D, F and G, and no other array."""
    outcome = drive("julia_stdlib", "gate_mlp", **GATE)

    assert [event.kind for event in outcome.events][-2:] == ["build_stop", "run_stop"]
    shapes = {
        "a.losses": (14,),
        "a.logits": (32, 10),
        "f.logits": (TEST_EXAMPLES, 10),
        "f.correct": (1,),
        "f.loss": (1,),
        "g.logits": (GATE_REPEATS, 10),
    }
    for part in ("b.gradient", "c.weights", "d.weights1", "d.weights2"):
        shapes |= {f"{part}.{name}": shape for name, shape in parameter_shapes("mlp").items()}
    assert {name: outcome.array(name).shape for name in shapes} == shapes
    assert {path.stem for path in outcome.folder.glob("?.*.npy")} == set(shapes)


def test_the_gate_agrees_with_numpy(drive: Drive):
    """Losses, gradients and weights after two steps, by layouts that two languages hold differently."""
    ours, numpys = (drive(runner, "gate_mlp", **GATE) for runner in ("julia_stdlib", "python_numpy"))

    for name in ("a.losses", "b.gradient.hidden.weight", "b.gradient.output.bias", "f.logits"):
        np.testing.assert_allclose(ours.array(name), numpys.array(name), rtol=1e-4, atol=1e-6)
    for name in parameter_shapes("mlp"):
        np.testing.assert_allclose(ours.array(f"c.weights.{name}"), numpys.array(f"c.weights.{name}"), atol=1e-6)


@pytest.mark.parametrize(
    ("label", "changes", "message"),
    [
        ("unsupported_model", {"model": "lenet5"}, "model: got lenet5; this runner supports mlp"),
        ("unsupported_variant", {"variant": "turbo"}, "variant: got turbo; this runner supports default"),
        ("unsupported_device", {"device": "cuda"}, "device: got cuda; this runner supports cpu"),
        ("unsupported_layers", {"hidden_layers": 2}, "model.hidden_layers: got 2; this runner supports 1"),
        ("unsupported_schedule", COSINE, "optimizer.schedule: got cosine; this runner supports constant"),
        (
            "unsupported_cut",
            {"evaluations_per_epoch": 8},
            "evaluations_per_epoch: got 8; expected at most 7, the batches of an epoch",
        ),
    ],
)
def test_what_it_cannot_do_is_unsupported(drive: Drive, label: str, changes: dict[str, object], message: str):
    """The last event names the key, the value and what is possible; the exit code is 0."""
    last = drive("julia_stdlib", label, **changes).events[-1]

    assert (last.kind, last.message) == ("unsupported", message)


def test_a_loss_that_is_not_finite_ends_the_run_as_diverged(drive: Drive):
    """A learning rate of 1e30 is an ending, not a crash, and not a NaN in the events."""
    last = drive("julia_stdlib", "diverged", learning_rate=1e30).events[-1]

    assert last.kind == "diverged"
    assert "loss is NaN" in last.message


def test_a_missing_file_is_an_error_that_names_it(drive: Drive):
    """The events stop at what was done, and standard error says what is missing."""
    outcome = drive("julia_stdlib", "missing", train_images="/nowhere/train-images")

    assert outcome.exit_code != 0
    assert "/nowhere/train-images" in outcome.stderr
    lines = (outcome.folder / "events.jsonl").read_text(encoding="utf-8").splitlines()
    assert ['"run_start"' in lines[0], '"import_stop"' in lines[1], len(lines)] == [True, True, 2]


def test_describe_names_the_blas_and_its_kernels():
    """The version of OpenBLAS and the CPU it chose its kernels for bear on every number."""
    description = probe_description(RUNNER)

    assert description.framework_version == description.language_version
    assert description.versions["blas"].startswith("OpenBLAS ")
    assert len(description.versions["blas"].split()) == 3
