"""A training loop in JAX as one writes it by hand for one model: what deadheat's runner is held to.

    python benchmarks/bare/jax.py TRIAL.JSON

Trains the model (mlp, lenet5 or cnn) of a trial of mode `steps` on its data, weights and order, and prints seconds in
all, the fastest twentieth times twenty, and the mean loss. Nothing of deadheat is used but the files that it wrote.
JAX takes the cores that the process is pinned to.
"""

from __future__ import annotations

import json
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

sys.path.pop(0)  # this file's folder, where "jax" would be this file

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.nn import log_softmax, relu

CHUNKS = 20
RUNNING = ("running_mean", "running_var")
Weights = dict[str, Array]


def main() -> None:
    """Train and print."""
    trial = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    jax.config.update("jax_default_matmul_precision", "float32")
    images, labels = map(jax.device_put, read_data(trial))
    batches = np.load(trial["order"])[0].reshape(-1, trial["batch_size"])
    step = build_step(trial)
    state = step(first_state(trial), images, labels, batches[0])  # compiles
    state = jax.block_until_ready(first_state(trial))
    edges_s = [time.perf_counter()]
    for chunk in range(CHUNKS):
        for batch in batches[len(batches) * chunk // CHUNKS : len(batches) * (chunk + 1) // CHUNKS]:
            state = step(state, images, labels, batch)
        jax.block_until_ready(state)
        edges_s.append(time.perf_counter())
    report(edges_s, float(state[-1]) / len(batches))


def report(edges_s: list[float], loss: float) -> None:
    """Print seconds in all, the fastest chunk times the number of chunks, and the mean loss."""
    print(f"{edges_s[-1] - edges_s[0]:.4f} {np.diff(edges_s).min() * CHUNKS:.4f} {loss:.6f}")


def read_data(trial: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Return the training images (examples, height, width, channels), standardised, and labels."""
    if trial["data.format"] == "idx":
        pixels = np.fromfile(trial["data.train_images"], np.uint8)[16:].reshape(-1, 1, 28, 28)
        labels = np.fromfile(trial["data.train_labels"], np.uint8)[8:]
    else:
        rows = np.concatenate([np.fromfile(path, np.uint8).reshape(-1, 3073) for path in trial["data.train_batches"]])
        pixels, labels = rows[:, 1:].reshape(-1, 3, 32, 32), rows[:, 0]
    mean, std = np.float32(trial["data.mean"]), np.float32(trial["data.std"])
    return (np.float32(pixels.transpose(0, 2, 3, 1)) / 255 - mean) / std, labels.astype(np.int32)


def first_state(trial: dict[str, Any]) -> tuple[Any, ...]:
    """Return weights, running statistics, moments, steps, key and summed loss; weights channels last, [in, out]."""
    weights: Weights = {}
    statistics: Weights = {}
    for path in Path(trial["weights"]).glob("*.npy"):
        array = np.load(path)
        if array.ndim == 4:
            array = array.transpose(2, 3, 1, 0)
        elif array.ndim == 2:
            pixels = {("lenet5", "dense1"): 16, ("cnn", "hidden"): 36}.get((trial["model"], path.name.split(".")[0]), 1)
            array = array.reshape(len(array), -1, pixels).transpose(2, 1, 0).reshape(-1, len(array))
        (statistics if path.stem.endswith(RUNNING) else weights)[path.stem] = jnp.array(array)
    moments = [jax.tree.map(jnp.zeros_like, weights) for _ in range(1 if trial["optimizer"] == "sgd" else 2)]
    return weights, statistics, moments, jnp.int32(0), jax.random.key(trial["seed"]), jnp.float32(0)


def build_step(trial: dict[str, Any]) -> Any:  # noqa: ANN401 -- a jitted function
    """Return one jitted training step."""
    forward = {"mlp": mlp, "lenet5": lenet5, "cnn": cnn}[trial["model"]]
    update = descend if trial["optimizer"] == "sgd" else adapt

    def mean_loss(weights: Weights, statistics: Weights, x: Array, y: Array, key: Array) -> tuple[Array, Weights]:
        logits, statistics = forward(weights, statistics, x, trial["model.dropout_rate"], key)
        return -jnp.take_along_axis(log_softmax(logits), y[:, None], axis=1).mean(), statistics

    @partial(jax.jit, donate_argnums=0)
    def step(state: tuple[Any, ...], images: Array, labels: Array, batch: Array) -> tuple[Any, ...]:
        weights, statistics, moments, number, key, loss_sum = state
        number += 1
        x, y, mask_key = images[batch], labels[batch], jax.random.fold_in(key, number)
        gradient = jax.value_and_grad(mean_loss, has_aux=True)
        (loss, statistics), slopes = gradient(weights, statistics, x, y, mask_key)
        slopes = jax.tree.map(lambda g, w: g + trial["optimizer.weight_decay"] * w, slopes, weights)
        weights, moments = update(trial, weights, slopes, moments, number)
        return weights, statistics, moments, number, key, loss_sum + loss

    return step


def descend(
    trial: dict[str, Any], weights: Weights, slopes: Weights, moments: list[Weights], _: Array
) -> tuple[Weights, list[Weights]]:
    """Return weights and velocity after a step of gradient descent."""
    velocity = jax.tree.map(lambda v, g: trial["optimizer.momentum"] * v + g, moments[0], slopes)
    return jax.tree.map(lambda w, v: w - trial["optimizer.learning_rate"] * v, weights, velocity), [velocity]


def adapt(
    trial: dict[str, Any], weights: Weights, slopes: Weights, moments: list[Weights], number: Array
) -> tuple[Weights, list[Weights]]:
    """Return weights and moments after a step of Adam."""
    beta1, beta2 = trial["optimizer.beta1"], trial["optimizer.beta2"]
    first = jax.tree.map(lambda m, g: beta1 * m + (1 - beta1) * g, moments[0], slopes)
    second = jax.tree.map(lambda v, g: beta2 * v + (1 - beta2) * g * g, moments[1], slopes)
    rate = trial["optimizer.learning_rate"] * jnp.sqrt(1 - beta2**number) / (1 - beta1**number)
    epsilon = trial["optimizer.epsilon"] * jnp.sqrt(1 - beta2**number)
    return jax.tree.map(lambda w, m, v: w - rate * m / (jnp.sqrt(v) + epsilon), weights, first, second), [first, second]


def mlp(weights: Weights, statistics: Weights, x: Array, rate: float, key: Array) -> tuple[Array, Weights]:
    """Return the logits of a perceptron with one hidden layer."""
    x = drop(relu(dense(weights, "hidden", x.reshape(len(x), -1))), rate, key)
    return dense(weights, "output", x), statistics


def lenet5(weights: Weights, statistics: Weights, x: Array, _: float, __: Array) -> tuple[Array, Weights]:
    """Return the logits of LeNet-5."""
    x = pool(relu(convolve(weights, "conv1", x)))
    x = pool(relu(convolve(weights, "conv2", x))).reshape(len(x), -1)
    x = relu(dense(weights, "dense2", relu(dense(weights, "dense1", x))))
    return dense(weights, "dense3", x), statistics


def cnn(weights: Weights, statistics: Weights, x: Array, rate: float, key: Array) -> tuple[Array, Weights]:
    """Return the logits of two convolutions with batch norm and two dense layers."""
    moved: Weights = {}
    for number in (1, 2):
        x = relu(convolve(weights, f"conv{number}", x))
        mean, variance = x.mean((0, 1, 2)), x.var((0, 1, 2))
        unbiased = variance * (x[..., 0].size / (x[..., 0].size - 1))
        for name, batch in zip(RUNNING, (mean, unbiased), strict=True):
            moved[f"norm{number}.{name}"] = 0.9 * statistics[f"norm{number}.{name}"] + 0.1 * batch
        x = (x - mean) * (lax.rsqrt(variance + 1e-5) * weights[f"norm{number}.weight"])
        x = pool(x + weights[f"norm{number}.bias"])
    x = drop(relu(dense(weights, "hidden", x.reshape(len(x), -1))), rate, key)
    return dense(weights, "output", x), moved


def dense(weights: Weights, layer: str, x: Array) -> Array:
    """Return an affine map."""
    return x @ weights[f"{layer}.weight"] + weights[f"{layer}.bias"]


def convolve(weights: Weights, layer: str, x: Array) -> Array:
    """Return a convolution without padding."""
    dimensions = ("NHWC", "HWIO", "NHWC")
    y = lax.conv_general_dilated(x, weights[f"{layer}.weight"], (1, 1), "VALID", dimension_numbers=dimensions)
    return y + weights[f"{layer}.bias"]


def pool(x: Array) -> Array:
    """Return the maximum of each 2 x 2 window."""
    h, w = (side // 2 * 2 for side in x.shape[1:3])
    a, b, c, d = (x[:, i:h:2, j:w:2] for i in (0, 1) for j in (0, 1))
    top, bottom = jnp.where(b > a, b, a), jnp.where(d > c, d, c)
    return jnp.where(bottom > top, bottom, top)


def drop(x: Array, rate: float, key: Array) -> Array:
    """Return the values after dropout."""
    return jnp.where(jax.random.bernoulli(key, 1 - rate, x.shape), x / (1 - rate), 0)


if __name__ == "__main__":
    main()
