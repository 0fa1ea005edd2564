"""The PyTorch runner: models, layouts, optimizers, precision and loaders, looked at in one process of their own."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest

from collector.plan.runner import RUNNERS, probe_description, read_runner, runner_environment
from collector.plan.workload import known_workloads, read_workload
from collector.protocol.events import EpochStop, EvalStop, of_kind
from collector.reference.architecture import build_architecture

from .conftest import TEST_EXAMPLES, TRAIN_EXAMPLES

RUNNER = "python_pytorch"
STEPS = {"mode": "steps", "steps": 6, "epochs": 1, "evaluations_per_epoch": 0, "dropout_rate": 0.0}
GATE = {"mode": "gate", "model": "lenet5", "evaluations_per_epoch": 1}

# PyTorch takes seconds to import and sets up its process for good: one process finds all facts, tests judge them.
PROBE = """
import json, sys
sys.path[:0] = sys.argv[1:3]
import numpy as np
import torch
import train
from _python.data import Data, standardise
from model import build_model, canonical_name

draw = np.random.default_rng(5)
floats = lambda *shape: draw.normal(size=shape).astype(np.float32)
base = {
    "batch_size": 8, "data.classes": 5, "data.mean": [0.4, 0.5, 0.6], "data.std": [0.2, 0.3, 0.4], "device": "cpu",
    "dtype": "fp32", "eval_batch_size": 8, "loader": "resident", "loader_workers": 0, "mode": "train", "model": "mlp",
    "model.hidden_layers": 1, "model.hidden_units": 7, "optimizer": "sgd", "optimizer.learning_rate": 0.1,
    "optimizer.momentum": 0.9, "optimizer.weight_decay": 0.01, "optimizer.beta1": 0.9, "optimizer.beta2": 0.999,
    "optimizer.epsilon": 1e-3, "seed": 7, "threads": 1, "variant": "eager",
}
train.initialise(base)
facts = {}

def shapes(model, image_shape):
    trial = {**base, **{f"model.{key}": value for key, value in model.items()}, "model": model["name"]}
    trial["data.classes"] = 10
    state = build_model(trial, 0.0, image_shape).state_dict()
    return {canonical_name(k): list(v.shape) for k, v in state.items() if not k.endswith("num_batches_tracked")}

facts["shapes"] = [shapes(model, tuple(image_shape)) for model, image_shape in json.loads(sys.argv[3])]

labels = np.arange(20, dtype=np.int32) % 5
pixels = draw.integers(0, 256, (20, 3, 4, 4)).astype(np.uint8)
test_images = floats(6, 3, 4, 4)
weights = {n: floats(*s) for n, s in (("hidden.weight", (7, 48)), ("hidden.bias", (7,)),
                                      ("output.weight", (5, 7)), ("output.bias", (5,)))}

def trainer_of(rate=0.0, **changes):
    trial = {**base, **{key.replace("__", "."): value for key, value in changes.items()}}
    images = pixels if trial["loader"] == "stream" else standardise(trial, pixels)
    data = Data(images, labels, test_images, labels[:6], None)
    return train.Trainer(trial, train.place(trial, data), weights, rate)

trainer = trainer_of(rate=0.5)
hidden = np.maximum(test_images.reshape(6, -1) @ weights["hidden.weight"].T + weights["hidden.bias"], 0)
expected = hidden @ weights["output.weight"].T + weights["output.bias"]
facts["evaluation_error"] = float(np.abs(np.concatenate(list(trainer.predict())) - expected).max())
batch = trainer.batch(np.arange(8, dtype=np.int32))
first, second = (trainer.logits_and_loss(batch)[0] for _ in range(2))
trainer.reset(weights)
facts["masks_differ"] = bool((first != second).any())
facts["masks_repeat_after_reset"] = bool((trainer.logits_and_loss(batch)[0] == first).all())
facts["report"] = trainer.report()

def contract_form(trial, weight, gradients):
    weight, v, m, s = weight.astype(np.float64), 0.0, 0.0, 0.0
    rate, decay, b1, b2 = 0.1, 0.01, 0.9, 0.999
    for t, g in enumerate(gradients.astype(np.float64), start=1):
        if trial == "sgd":
            v = 0.9 * v + g + decay * weight
            weight = weight - rate * v
            continue
        if trial == "adamw":
            weight = weight * (1 - rate * decay)
        else:
            g = g + decay * weight
        m, s = b1 * m + (1 - b1) * g, b2 * s + (1 - b2) * g * g
        weight = weight - rate * (m / (1 - b1**t)) / (np.sqrt(s / (1 - b2**t)) + 1e-3)
    return weight

facts["update_errors"] = {}
gradients = {name: floats(4, *array.shape) for name, array in weights.items()}
for optimizer in ("sgd", "adam", "adamw"):
    trainer = trainer_of(optimizer=optimizer)
    for number in range(4):
        trainer.update({name: gradient[number] for name, gradient in gradients.items()})
    found = trainer.weights()
    facts["update_errors"][optimizer] = max(
        float(np.abs(found[n] - contract_form(optimizer, weights[n], gradients[n])).max()) for n in weights)

trainer = trainer_of()
trainer.set_learning_rate(0.0)
trainer.step(trainer.batch(np.arange(8, dtype=np.int32)))
facts["frozen_at_rate_0"] = all((trainer.weights()[n] == weights[n]).all() for n in weights)

resident, encoded = trainer_of(), trainer_of(loader="stream")
order = np.arange(20, dtype=np.int32)
facts["decodes_as_standardise"] = all(
    (resident._examples(a).images == encoded._examples(b).images).all().item()
    for a, b in zip(resident.batches(order), encoded.batches(order), strict=True))

facts["epochs"] = {}
for workers in (0, 2):
    trainer = trainer_of(loader="stream", loader_workers=workers)
    next(trainer.stream(0))
    trainer.reset(weights)
    epochs = [[batch for batch in trainer.stream(row)] for row in range(2)]
    facts["epochs"][str(workers)] = {
        "sizes": [[len(batch) for batch in epoch] for epoch in epochs],
        "sums": [[round(float(image.sum()), 4) for batch in epoch for image in batch.images] for epoch in epochs],
        "labels": [[int(label) for batch in epoch for label in batch.labels] for epoch in epochs],
    }
facts["image_sums"] = [round(float(image.sum()), 4) for image in standardise(base, pixels)]

half = trainer_of(dtype="bf16")
exact, rounded = trainer_of().gradient(batch), half.gradient(batch)
facts["bf16"] = {
    "gradient_error": max(float(np.abs(rounded[name] - exact[name]).max()) for name in weights),
    "weights": {str(array.dtype) for array in half.weights().values()} == {"float32"},
    "loss": str(half._forward(batch)[1].dtype),
}
print(json.dumps(facts))
"""


@pytest.fixture(scope="session")
def facts():
    """Return what the probe found, with the shapes of the models of every workload."""
    folders = [str(RUNNERS / RUNNER), str(RUNNERS)]
    models = json.dumps([(workload.model.model_dump(), shape) for workload, shape in _workloads()])
    environment = {**runner_environment(read_runner(RUNNER), threads=1), "CUDA_VISIBLE_DEVICES": ""}
    answer = subprocess.run(
        [sys.executable, "-c", PROBE, *folders, models], env=environment, capture_output=True, text=True, check=False
    )
    assert answer.returncode == 0, answer.stderr
    return json.loads(answer.stdout)


def test_every_weight_has_its_canonical_name_and_shape(facts):
    """Parameters and running statistics of the model of every workload are those of the reference."""
    for (workload, image_shape), found in zip(_workloads(), facts["shapes"], strict=True):
        architecture = build_architecture(workload.model, image_shape, 10)
        expected = {**architecture.shapes, **architecture.statistics}
        assert found == {name: list(shape) for name, shape in expected.items()}, workload.name


def test_images_are_flattened_channel_by_channel(facts):
    """The logits in evaluation mode, dropout off, are those of NumPy on (channels, height, width)."""
    assert facts["evaluation_error"] < 1e-5


def test_masks_are_new_each_time_and_the_same_after_a_reset(facts):
    """Dropout draws from a generator that the seed restarts."""
    assert facts["masks_differ"]
    assert facts["masks_repeat_after_reset"]


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw"])
def test_optimizers_have_the_form_of_the_contract(facts, optimizer):
    """Four updates with an epsilon large enough to show where it stands, and weight decay."""
    assert facts["update_errors"][optimizer] < 2e-6


def test_another_learning_rate_holds_from_the_next_step(facts):
    """At a rate of 0 a step changes nothing."""
    assert facts["frozen_at_rate_0"]


def test_workers_standardise_as_resident_data_are_standardised(facts):
    """To the last bit."""
    assert facts["decodes_as_standardise"]


@pytest.mark.parametrize("workers", ["0", "2"])
def test_the_loader_gives_every_example_once_and_shuffles_each_epoch(facts, workers):
    """Twenty examples in batches of 8, 8 and 4, in two orders."""
    epochs = facts["epochs"][workers]

    assert epochs["sizes"] == [[8, 8, 4]] * 2
    for sums, labels in zip(epochs["sums"], epochs["labels"], strict=True):
        expected = sorted(zip(facts["image_sums"], [number % 5 for number in range(20)], strict=True))
        found = sorted(zip(sums, labels, strict=True))
        assert [label for _, label in found] == [label for _, label in expected]
        assert [total for total, _ in found] == pytest.approx([total for total, _ in expected], abs=1e-3)
    assert epochs["labels"][0] != epochs["labels"][1]


def test_the_loader_shuffles_alike_with_and_without_workers(facts):
    """The seed decides, and a batch fetched before the reset does not."""
    assert facts["epochs"]["0"]["labels"] == facts["epochs"]["2"]["labels"]


def test_bfloat16_rounds_products_and_nothing_else(facts):
    """Gradients differ visibly; weights and loss are float32."""
    assert 1e-4 < facts["bf16"]["gradient_error"] < 1.0
    assert facts["bf16"]["weights"]
    assert facts["bf16"]["loss"] == "torch.float32"


def test_the_runtime_is_as_asked(facts):
    """One thread, and subnormals are flushed."""
    assert facts["report"] == {"flushes_subnormals": True, "threads": 1}


@pytest.mark.parametrize("workers", [0, 2])
def test_training_from_the_loader_learns(drive, workers):
    """The whole run, with its own shuffle: every example is trained on, and the patterns are told apart."""
    outcome = drive(RUNNER, f"stream_{workers}", loader="stream", loader_workers=workers)

    stops = list(of_kind(outcome.events, EpochStop))
    assert sum(stop.examples for stop in stops) == 2 * TRAIN_EXAMPLES
    assert all(stop.data_wait_s > 0 for stop in stops)
    assert [*of_kind(outcome.events, EvalStop)][-1].correct >= 0.9 * TEST_EXAMPLES


def test_the_default_loader_trains_on_the_given_order(drive):
    """Without dropout the losses of the variant `loader` are those of `eager` to the last bit."""
    eager, loader = (
        next(of_kind(drive(RUNNER, f"{variant}_steps", variant=variant, **STEPS).events, EpochStop))
        for variant in ("eager", "loader")
    )

    assert loader.train_loss == eager.train_loss
    assert loader.data_wait_s == 0


@pytest.mark.timeout(300)
def test_the_compiled_variant_hands_in_what_the_eager_one_does(drive):
    """Losses, gradients and two steps of LeNet-5 meet within rounding; without a compiler it says so."""
    if "cxx" not in probe_description(read_runner(RUNNER)).versions:
        pytest.skip("no C++ compiler")
    eager, compiled = (drive(RUNNER, f"gate_{v}", variant=v, **GATE) for v in ("eager", "compile"))

    assert compiled.events[-1].kind == "run_stop"
    for name in ("a.losses", "a.logits", "b.gradient.conv1.weight", "d.weights2.dense1.weight", "f.logits"):
        np.testing.assert_allclose(compiled.array(name), eager.array(name), rtol=1e-4, atol=1e-6)


def test_inference_has_a_latency_for_each_pass_and_then_a_throughput(drive):
    """Seven passes: seven chunks, then one."""
    changes = {"mode": "infer", "steps": 7, "epochs": 1, "evaluations_per_epoch": 0}
    events = drive(RUNNER, "infer", **changes).events

    assert [event.steps for event in events if event.kind == "chunk_stop"] == [1, 2, 3, 4, 5, 6, 7, 7]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"dtype": "tf32"}, "dtype: got tf32; this CPU has no TensorFloat-32"),
        ({"variant": "loader", "loader": "stream"}, "loader: got stream; variant loader supports resident"),
    ],
)
def test_what_cannot_be_done_here_is_unsupported_with_its_reason(drive, changes, reason):
    """Not an error, and nothing is trained."""
    last = drive(RUNNER, f"unsupported_{'_'.join(changes)}", **changes).events[-1]

    assert last.kind == "unsupported"
    assert last.message.startswith(reason)


def test_without_a_compiler_the_compiled_variant_is_unsupported(drive, monkeypatch):
    """The reason names the compiler and the remedy."""
    monkeypatch.setenv("CXX", "no-such-compiler")

    last = drive(RUNNER, "no_compiler", variant="compile").events[-1]

    assert last.kind == "unsupported"
    assert last.message.startswith("variant: got compile; it needs a C++ compiler, and no-such-compiler was not found")


def _workloads():
    """Return every workload that the runner claims, with the shape of its images."""
    claimed = read_runner(RUNNER).workloads
    shapes = {"cifar10": (3, 32, 32), "synthetic_imagenet": (3, 224, 224)}
    workloads = [read_workload(name) for name in known_workloads() if name in claimed]
    return [(workload, shapes.get(workload.dataset, (1, 28, 28))) for workload in workloads]
