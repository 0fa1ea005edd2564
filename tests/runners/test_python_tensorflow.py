"""The TensorFlow runner: layouts, optimizers, batch norm, loader and traces, looked at in one process of their own."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from collector.plan.runner import RUNNERS, probe_description, read_runner, runner_environment

RUNNER = "python_tensorflow"

# TensorFlow takes seconds to import and sets up its process for good: one process finds all facts, tests judge them.
PROBE = """
import json, sys
sys.path[:0] = sys.argv[1:3]
import numpy as np
import tensorflow as tf
import train
from loader import Loader
from model import canonical, native
from norm import fused_norm, image_wise_norm
from optimizer import Optimizer

draw = np.random.default_rng(5)
floats = lambda *shape: draw.normal(size=shape).astype(np.float32)
base = {
    "batch_size": 8, "data.mean": [0.4, 0.5, 0.6], "data.std": [0.2, 0.3, 0.4], "device": "cpu", "dtype": "fp32",
    "eval_batch_size": 8, "loader": "resident", "loader_workers": 0, "model": "mlp", "model.hidden_layers": 1,
    "optimizer": "sgd", "optimizer.learning_rate": 0.1, "optimizer.momentum": 0.9, "optimizer.weight_decay": 0.01,
    "optimizer.beta1": 0.9, "optimizer.beta2": 0.999, "optimizer.epsilon": 1e-3, "seed": 7, "threads": 1,
    "variant": "function",
}
train.initialise(base)
labels = np.arange(20, dtype=np.int32) % 5
data = train.Data(floats(20, 3, 4, 4), labels, floats(6, 3, 4, 4), labels[:6], None)
shapes = {"hidden.weight": (7, 48), "hidden.bias": (7,), "output.weight": (5, 7), "output.bias": (5,)}
weights = {name: floats(*shape) for name, shape in shapes.items()}
facts = {}

kernels = {
    "cnn": {"conv1.weight": (32, 3, 3, 3), "hidden.weight": (64, 256)},
    "keras_cnn": {"output.weight": (10, 256)},
    "lenet5": {"conv2.weight": (16, 6, 5, 5), "dense1.weight": (120, 256)},
    "resnet18": {"output.weight": (10, 512)},
}
facts["round_trips"] = {
    f"{model} {name}": bool((canonical(trial, name, native(trial, name, array)) == array).all())
    for model, shapes in kernels.items() for trial in [{**base, "model": model}]
    for name, shape in shapes.items() for array in [floats(*shape)]
}

trainer = train.Trainer(base, train.place(base, data), weights, 0.5)
hidden = np.maximum(data.test_images.reshape(6, -1) @ weights["hidden.weight"].T + weights["hidden.bias"], 0)
expected = hidden @ weights["output.weight"].T + weights["output.bias"]
facts["flatten_error"] = float(np.abs(np.concatenate(list(trainer.predict())) - expected).max())
batch = trainer.batch(np.arange(8, dtype=np.int32))
first, second = (trainer.logits_and_loss(batch)[0] for _ in range(2))
trainer.reset(weights)
facts["masks_differ"] = bool((first != second).any())
facts["masks_repeat_after_reset"] = bool((trainer.logits_and_loss(batch)[0] == first).all())
for indices in trainer.batches(np.arange(20, dtype=np.int32)):
    trainer.step(indices)
    trainer.infer(indices)
    trainer.gradient(indices)
trainer.evaluate()
names = ("_step", "_infer", "_gradient", "_evaluate", "_logits_and_loss")
facts["traces"] = {name: getattr(trainer, name).experimental_get_tracing_count() for name in names}
facts["report"] = trainer.report()

def contract_form(trial, weight, gradients):
    weight, m, v = weight.astype(np.float64), 0.0, 0.0
    rate, decay, b1, b2 = 0.1, 0.01, 0.9, 0.999
    for t, g in enumerate(gradients.astype(np.float64), start=1):
        if trial["optimizer"] == "adamw":
            weight = weight * (1 - rate * decay)
        else:
            g = g + decay * weight
        if trial["optimizer"] == "sgd":
            v = 0.9 * v + g
            weight = weight - rate * v
        else:
            m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g * g
            weight = weight - rate * (m / (1 - b1**t)) / (np.sqrt(v / (1 - b2**t)) + 1e-3)
    return weight

facts["optimizer_errors"] = {}
for name in ("sgd", "adam", "adamw"):
    trial = {**base, "optimizer": name}
    start, gradients = floats(50), floats(10, 50) * 1e-3
    variables = {"w.bias": tf.Variable(start)}
    optimizer = Optimizer(trial, variables)
    update = tf.function(optimizer.apply, autograph=False)
    for gradient in gradients:
        update({"w.bias": tf.constant(gradient)})
    moved = contract_form(trial, start, gradients) - start
    facts["optimizer_errors"][name] = float(np.linalg.norm(variables["w.bias"] - start - moved) / np.linalg.norm(moved))

values = np.maximum(floats(64, 30, 30, 8) + 1, 0)
scale, offset, mean, variance, delta = floats(8), floats(8), floats(8), np.abs(floats(8)), floats(64, 30, 30, 8)
with tf.GradientTape() as tape:
    inputs = [tf.constant(array) for array in (values, scale, offset)]
    tape.watch(inputs)
    normal = image_wise_norm(*inputs, mean, variance, epsilon=1e-5, momentum=0.1)
    weighted = tf.reduce_sum(normal[0] * delta)
slopes = tape.gradient(weighted, inputs)
x, d, axes = values.astype(np.float64), delta.astype(np.float64), (0, 1, 2)
hat = (x - x.mean(axes)) / np.sqrt(x.var(axes) + 1e-5)
inner = scale / np.sqrt(x.var(axes) + 1e-5)
wanted = {
    "values": (normal[0], hat * scale + offset),
    "running_mean": (normal[1], 0.9 * mean + 0.1 * x.mean(axes)),
    "running_var": (normal[2], 0.9 * variance + 0.1 * x.var(axes, ddof=1)),
    "gradient of values": (slopes[0], inner * (d - d.mean(axes) - hat * (d * hat).mean(axes))),
    "gradient of scale": (slopes[1], (d * hat).sum(axes)),
    "gradient of offset": (slopes[2], d.sum(axes)),
}
facts["norm_errors"] = {k: float(np.abs(found - e).max() / np.abs(e).max()) for k, (found, e) in wanted.items()}
evaluated = fused_norm(values, scale, offset, mean, variance, training=False, epsilon=1e-5, momentum=0.1)[0]
e = (x - mean) / np.sqrt(variance + 1e-5) * scale + offset
facts["evaluated_norm_error"] = float(np.abs(evaluated - e).max() / np.abs(e).max())

pixels = draw.integers(0, 256, (20, 4, 4, 3), dtype=np.uint8)
facts["loader"] = {}
for workers in (0, 2):
    trial = {**base, "loader": "stream", "loader_workers": workers}
    loader = Loader(trial, tf.constant(pixels), tf.constant(np.arange(20, dtype=np.int32)))
    epochs = [list(loader.epoch()) for _ in range(2)]
    images, labels = np.concatenate([b.images for b in epochs[0]]), np.concatenate([b.labels for b in epochs[0]])
    standard = (pixels / 255 - np.array(base["data.mean"])) / np.array(base["data.std"])
    facts["loader"][workers] = {
        "sizes": [len(batch) for batch in epochs[0]],
        "labels": [[int(i) for b in epoch for i in b.labels] for epoch in epochs],
        "error": float(np.abs(images - standard[labels]).max()),
    }
print(json.dumps(facts))
"""


@pytest.fixture(scope="module")
def facts():
    command = [sys.executable, "-c", PROBE, str(RUNNERS / RUNNER), str(RUNNERS)]
    environment = runner_environment(read_runner(RUNNER), threads=1) | {"CUDA_VISIBLE_DEVICES": ""}
    answer = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=200, check=False)
    assert answer.returncode == 0, answer.stderr[-3000:]
    return json.loads(answer.stdout.splitlines()[-1])


def test_weights_come_back_from_tensorflows_layout_as_they_went(facts):
    """Kernels, dense weights, and those behind a flatten."""
    assert len(facts["round_trips"]) == 6
    assert all(facts["round_trips"].values()), facts["round_trips"]


def test_a_weight_behind_a_flatten_sees_channels_height_and_width_in_that_order(facts):
    """Three channels: an order of height, width and channels would give other logits."""
    assert facts["flatten_error"] < 1e-4


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw"])
def test_ten_updates_are_those_of_the_contract(facts, optimizer):
    """Gradients of the size of epsilon: another place for it would differ by far more."""
    assert facts["optimizer_errors"][optimizer] < 5e-6


def test_batch_norm_keeps_float32s_digits(facts):
    """57,600 values a channel: added one after another they would lose three digits."""
    assert max(facts["norm_errors"].values()) < 5e-6, facts["norm_errors"]
    assert facts["evaluated_norm_error"] < 1e-6


def test_each_function_is_traced_once_whatever_the_batch_size(facts):
    """Batches of 8 and of 4."""
    assert facts["traces"] == dict.fromkeys(facts["traces"], 1)


def test_dropout_draws_new_masks_and_the_same_ones_again_after_a_reset(facts):
    """Masks follow from the seed and the number of passes since the reset."""
    assert facts["masks_differ"]
    assert facts["masks_repeat_after_reset"]


@pytest.mark.parametrize("workers", ["0", "2"])
def test_the_loader_gives_every_example_once_an_epoch_in_a_new_order(facts, workers):
    """Three batches, the last one smaller, each image with its own label."""
    loader = facts["loader"][workers]

    assert loader["sizes"] == [8, 8, 4]
    assert loader["error"] < 1e-5
    first, second = loader["labels"]
    assert sorted(first) == sorted(second) == list(range(20))
    assert first != second != list(range(20))


def test_the_seed_and_not_the_number_of_workers_decides_the_order(facts):
    """Workers decode; they do not shuffle."""
    assert facts["loader"]["0"]["labels"] == facts["loader"]["2"]["labels"]


def test_subnormals_are_flushed_and_threads_are_as_asked(facts):
    """Told in run_stop."""
    assert facts["report"] == {"flushes_subnormals": True, "threads": 1}


def test_a_missing_gpu_is_an_error_and_never_replaced_by_the_cpu():
    """The message says what was asked for and that there is none."""
    trial = {"device": "cuda", "threads": 1, "dtype": "fp32"}
    script = f"import sys; sys.path[:0] = sys.argv[1:]; import train; train.initialise({trial})"
    command = [sys.executable, "-c", script, str(RUNNERS / RUNNER), str(RUNNERS)]
    environment = runner_environment(read_runner(RUNNER), threads=1) | {"CUDA_VISIBLE_DEVICES": ""}

    answer = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=200, check=False)

    assert answer.returncode != 0
    assert "device: got cuda; TensorFlow has no such device here" in answer.stderr.splitlines()[-1]


def test_describe_tells_the_versions_that_are_pinned():
    """And whether oneDNN's kernels are on, as runner.toml sets it."""
    description = probe_description(read_runner(RUNNER))

    pins = (RUNNERS / RUNNER / "requirements.txt").read_text(encoding="utf-8").split()
    assert f"tensorflow-cpu=={description.framework_version}" in pins
    assert description.versions["onednn"] == "on"
    assert "cpu" in description.devices
