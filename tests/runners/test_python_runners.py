"""The three Python runners as processes: what they write, in which order, and whether it adds up."""

from __future__ import annotations

import json
import subprocess
import sys
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.plan.runner import RUNNERS, probe_description, read_runner
from collector.protocol.events import BuildStop, ChunkStop, EpochStart, EpochStop, EvalStop, of_kind

from .conftest import EPOCHS, TEST_EXAMPLES, TRAIN_EXAMPLES, parameter_shapes

FRAMEWORKS = {"python_pytorch": "torch", "python_jax": "jax", "python_numpy": "numpy"}
PYTHON_RUNNERS = pytest.mark.parametrize("runner", FRAMEWORKS)

NO_DROPOUT = {"mode": "steps", "steps": 23, "epochs": 1, "evaluations_per_epoch": 0, "dropout_rate": 0.0}

FLOAT64_LEAKS = """
import sys
sys.path[:0] = [sys.argv[1], sys.argv[2]]
import json, numpy as np
import train, model
from pathlib import Path
from _python.data import place_data, read_files
trial = json.loads(Path(sys.argv[3]).read_text())
files = read_files(trial)
data = place_data(trial, files)
trainer = train.Trainer(trial, data, files.weights, trial["model.dropout_rate"])
trainer.step(trainer.batches(data.order[0])[0])
trainer.evaluate()
found, seen = [], set()
def walk(value, place):
    if id(value) in seen:
        return
    seen.add(id(value))
    if isinstance(value, (np.ndarray, np.floating)):
        found.append((place, str(value.dtype)))
    elif isinstance(value, dict):
        for key, item in value.items():
            walk(item, f"{place}[{key}]")
    elif isinstance(value, (list, tuple)):
        for number, item in enumerate(value):
            walk(item, f"{place}[{number}]")
    elif type(value).__module__ in ("train", "model", "layers", "optimizer", "_python.data"):
        for name in getattr(type(value), "__slots__", None) or vars(value):
            walk(getattr(value, name), f"{place}.{name}")
walk(trainer, "trainer")
walk(model.softmax_cross_entropy(next(trainer.predict()), data.test_labels[:32]), "softmax_cross_entropy")
print(json.dumps(found))
"""


@PYTHON_RUNNERS
def test_training_writes_the_events_in_the_order_of_the_contract(drive, runner):
    """Eight epoch pairs, each with an evaluation of the whole test set, then run_stop."""
    events = drive(runner, "train").events

    kinds = [event.kind for event in events if event.kind not in ("chunk_stop", "first_step_stop")]
    setup = ["run_start", "import_stop", "load_stop", "preprocess_stop", "build_stop", "compile_stop"]
    pair = ["epoch_start", "epoch_stop", "eval_start", "eval_stop"]
    assert kinds == [*setup, *pair * 4 * EPOCHS, "run_stop"]
    assert [event.kind for event in events][6:9] == ["epoch_start", "first_step_stop", "chunk_stop"]


@PYTHON_RUNNERS
def test_epoch_pairs_are_named_by_the_position_at_their_end(drive, runner):
    """Quarters of an epoch, the same in the start and the stop of a pair."""
    events = drive(runner, "train").events

    positions = [0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0]
    assert [event.epoch for event in of_kind(events, EpochStart)] == positions
    assert [event.epoch for event in of_kind(events, EpochStop)] == positions
    assert [event.epoch for event in of_kind(events, EvalStop)] == positions


@PYTHON_RUNNERS
def test_examples_add_up_with_a_smaller_last_batch(drive, runner):
    """Seven batches, cut after the 1st, 3rd, 5th and 7th; the last one has 8 examples instead of 32."""
    examples = [event.examples for event in of_kind(drive(runner, "train").events, EpochStop)]

    assert examples == [32, 64, 64, 40] * EPOCHS
    assert sum(examples) == EPOCHS * TRAIN_EXAMPLES


@PYTHON_RUNNERS
def test_chunks_are_cut_as_the_contract_says(drive, runner):
    """Eight chunks an epoch make two a pair; a pair of one step has one chunk."""
    assert _chunks(drive(runner, "train").events) == [[1], [1, 2], [1, 2], [1, 2]] * EPOCHS


@PYTHON_RUNNERS
def test_every_trainable_parameter_is_counted(drive, runner):
    """784 · 16 + 16 + 16 · 10 + 10."""
    (build,) = of_kind(drive(runner, "train").events, BuildStop)

    assert build.parameters == 12_730


@PYTHON_RUNNERS
def test_a_runner_learns(drive, runner):
    """Ten patterns are told apart after two epochs, and the loss falls on both sets."""
    events = drive(runner, "train").events
    trained, evaluated = list(of_kind(events, EpochStop)), list(of_kind(events, EvalStop))

    assert {event.examples for event in evaluated} == {TEST_EXAMPLES}
    assert evaluated[-1].correct >= 0.9 * TEST_EXAMPLES
    assert evaluated[-1].loss < evaluated[0].loss
    assert trained[-1].train_loss < trained[0].train_loss


def test_without_dropout_all_runners_have_the_same_training_loss(drive):
    """Without dropout, 23 steps in three implementations have the same mean loss within float32 rounding."""
    first = [next(of_kind(drive(runner, "no_dropout_steps", **NO_DROPOUT).events, EpochStop)) for runner in FRAMEWORKS]

    losses = [event.train_loss for event in first]
    assert max(losses) / min(losses) - 1 < 1e-4


@PYTHON_RUNNERS
def test_steps_mode_times_one_pair_without_evaluation(drive, runner):
    """23 steps in 8 chunks: cut after step 23 · c // 8."""
    events = drive(runner, "no_dropout_steps", **NO_DROPOUT).events

    assert [event.kind for event in events].count("eval_start") == 0
    assert [(event.epoch, event.examples) for event in of_kind(events, EpochStop)] == [(1.0, 23 * 32)]
    assert _chunks(events) == [[2, 5, 8, 11, 14, 17, 20, 23]]


@PYTHON_RUNNERS
def test_the_same_seed_gives_the_same_weights(drive, runner):
    """Two processes agree to the last bit in every loss, so in every weight and every dropout mask."""
    once, again = drive(runner, "train").events, drive(runner, "train_again").events

    assert [event.train_loss for event in of_kind(once, EpochStop)] == [
        event.train_loss for event in of_kind(again, EpochStop)
    ]
    assert [event.loss for event in of_kind(once, EvalStop)] == [event.loss for event in of_kind(again, EvalStop)]


@PYTHON_RUNNERS
def test_a_loss_that_is_not_finite_ends_the_run_as_diverged(drive, runner):
    """A learning rate of 1e30 is an ending, not a crash, and not a NaN in the events."""
    last = drive(runner, "diverged", learning_rate=1e30).events[-1]

    assert last.kind == "diverged"
    assert "expected a finite number" in last.message


@PYTHON_RUNNERS
def test_the_gate_writes_every_quantity_in_its_canonical_shape(drive, runner):
    """Parts A to D and F of LeNet-5, the parts per parameter complete."""
    outcome = drive(runner, "gate", model="lenet5", mode="gate", evaluations_per_epoch=1)

    assert [event.kind for event in outcome.events][-2:] == ["build_stop", "run_stop"]
    shapes = {
        "a.losses": (14,),
        "a.logits": (32, 10),
        "f.logits": (TEST_EXAMPLES, 10),
        "f.correct": (1,),
        "f.loss": (1,),
    }
    for part in ("b.gradient", "c.weights", "d.weights1", "d.weights2"):
        shapes |= {f"{part}.{name}": shape for name, shape in parameter_shapes("lenet5").items()}
    assert {name: outcome.array(name).shape for name in shapes} == shapes
    assert {path.stem for path in outcome.folder.glob("?.*.npy")} == set(shapes)


@PYTHON_RUNNERS
def test_the_gate_leaves_the_given_weights_as_they_are(drive, runner):
    """Parts begin with the gate weights: one SGD step moves them by the learning rate times decayed gradient."""
    outcome = drive(runner, "gate", model="lenet5", mode="gate", evaluations_per_epoch=1)

    for name in parameter_shapes("lenet5"):
        start, gradient = outcome.array(f"weights/{name}"), outcome.array(f"b.gradient.{name}")
        expected = start - 0.01 * (gradient + 5e-4 * start)
        np.testing.assert_allclose(outcome.array(f"d.weights1.{name}"), expected, rtol=0, atol=1e-7)


def test_all_runners_write_the_same_gate_losses_and_logits(drive):
    """Three independent backward passes meet within float32 rounding."""
    first, *others = (
        drive(runner, "gate", model="lenet5", mode="gate", evaluations_per_epoch=1) for runner in FRAMEWORKS
    )

    for other in others:
        for name in ("a.losses", "a.logits", "f.logits", "f.loss", "d.weights2.conv1.weight"):
            np.testing.assert_allclose(other.array(name), first.array(name), rtol=1e-4, atol=1e-6)


@PYTHON_RUNNERS
def test_run_start_is_written_before_the_framework_is_imported(drive, runner, tmp_path):
    """With a framework that cannot be imported, run_start is there and nothing else."""
    (tmp_path / f"{FRAMEWORKS[runner]}.py").write_text("raise ImportError('no framework here')", encoding="utf-8")

    outcome = drive(runner, "no_framework", path=tmp_path)

    (line,) = (outcome.folder / "events.jsonl").read_text(encoding="utf-8").splitlines()
    assert json.loads(line)["kind"] == "run_start"
    assert outcome.exit_code != 0
    assert "no framework here" in outcome.stderr


@PYTHON_RUNNERS
def test_an_unknown_variant_is_unsupported_and_named(drive, runner):
    """The last event names the key, the value and what is possible; the exit code is 0."""
    last = drive(runner, "unsupported_variant", variant="turbo").events[-1]

    assert last.kind == "unsupported"
    assert last.message.startswith("variant: got turbo; this runner supports ")


def test_more_evaluations_than_batches_are_unsupported(drive):
    """A pair without a step would have no training loss; the cut is shared code, so one runner shows it."""
    last = drive("python_numpy", "unsupported_cut", evaluations_per_epoch=8).events[-1]

    assert last.kind == "unsupported"
    assert last.message == "evaluations_per_epoch: got 8; expected at most 7, the batches of an epoch"


@pytest.mark.parametrize("runner", ["python_pytorch", "python_jax"])
def test_a_missing_gpu_is_an_error_and_never_replaced_by_the_cpu(drive, runner):
    """No event says that anything was trained."""
    outcome = drive(runner, "cuda", device="cuda")

    assert outcome.exit_code != 0
    assert "device: got cuda" in outcome.stderr.splitlines()[-1]
    assert len((outcome.folder / "events.jsonl").read_text(encoding="utf-8").splitlines()) == 1


@PYTHON_RUNNERS
def test_describe_names_language_framework_and_device(runner):
    """The versions are those of the installed packages."""
    description = probe_description(read_runner(runner))

    pins = (RUNNERS / runner / "requirements.txt").read_text(encoding="utf-8").split()
    assert "cpu" in description.devices
    assert description.language_version == sys.version.split()[0]
    assert f"{FRAMEWORKS[runner]}=={description.framework_version.partition('+')[0]}" in pins


def test_no_float64_leaks_into_the_numpy_runner(drive):
    """Weights, gradients, moments, buffers, logits, losses and deltas are float32."""
    trial = drive("python_numpy", "train").folder / "trial.json"
    command = [sys.executable, "-c", FLOAT64_LEAKS, str(RUNNERS / "python_numpy"), str(RUNNERS), str(trial)]

    answer = subprocess.run(command, capture_output=True, text=True, check=True)

    found = json.loads(answer.stdout)
    assert len(found) > 15
    assert [place for place, dtype in found if dtype == "float64"] == []


@given(
    examples=st.integers(1, 5000),
    size=st.integers(1, 200),
    parts=st.integers(1, 8),
    chunks=st.integers(0, 40),
    epochs=st.integers(1, 3),
)
def test_pairs_cover_every_batch_once_and_chunks_every_step(shared, examples, size, parts, chunks, epochs):
    """Whatever the sizes: positions rise to the number of epochs, examples add up, chunks end with the pair."""
    schedule = shared("schedule")
    trial = {"batch_size": size, "evaluations_per_epoch": parts, "chunks_per_epoch": chunks}

    pairs = schedule.epoch_pairs(trial, epochs, examples)

    assert pairs[-1].epoch == epochs
    assert all(before.epoch < after.epoch for before, after in pairwise(pairs))
    assert sum(pair.examples for pair in pairs) == epochs * examples
    batches = [number for pair in pairs[:parts] for number in range(pair.first_batch, pair.last_batch)]
    assert batches == list(range(len(schedule.batch_slices(examples, size))))
    for pair in pairs:
        steps = pair.last_batch - pair.first_batch
        assert list(pair.chunk_stops) == sorted(set(pair.chunk_stops) - {0})
        assert pair.chunk_stops[-1:] == ((steps,) if steps else ())


def _chunks(events):
    """Return the steps of the chunk_stop events, pair by pair."""
    pairs: list[list[int]] = []
    for event in events:
        if isinstance(event, EpochStart):
            pairs.append([])
        elif isinstance(event, ChunkStop):
            pairs[-1].append(event.steps)
    return pairs
