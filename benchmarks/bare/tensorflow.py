"""A training loop in TensorFlow as one writes it by hand for one model on one CPU: what deadheat's runner is held to.

    python benchmarks/bare/tensorflow.py TRIAL.JSON

Trains the model (mlp, lenet5 or cnn) of a trial of mode `steps` on its data, weights and order, and prints seconds in
all, the fastest twentieth times twenty, and the mean loss. Nothing of deadheat is used but the files that it wrote.
"""

from __future__ import annotations

import json
import math
import sys
import time
from pathlib import Path

sys.path.pop(0)  # this file's folder, where "tensorflow" would be this file

import numpy as np
import tensorflow as tf

CHUNKS = 20
BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8


def main() -> None:
    """Train and print."""
    trial = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    tf.config.threading.set_intra_op_parallelism_threads(trial["threads"])
    tf.config.threading.set_inter_op_parallelism_threads(1)
    images, labels = map(tf.constant, read_data(trial))
    parameters, state = read_parameters(trial)
    forward = {"mlp": mlp, "lenet5": lenet5, "cnn": cnn}[trial["model"]]
    moments = [[tf.Variable(tf.zeros_like(p)) for p in parameters.values()] for _ in range(2)]
    number, loss_sum = tf.Variable(0.0), tf.Variable(0.0)

    @tf.function(input_signature=[tf.TensorSpec([trial["batch_size"]], tf.int32)], autograph=False)
    def step(batch: tf.Tensor) -> None:
        with tf.GradientTape() as tape:
            logits = forward(parameters, state, tf.gather(images, batch), trial["model.dropout_rate"])
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(tf.gather(labels, batch), logits)
            loss = tf.reduce_mean(losses)
        slopes = tape.gradient(loss, list(parameters.values()))
        update = descend if trial["optimizer"] == "sgd" else adapt
        update(trial, list(parameters.values()), moments, slopes, number)
        loss_sum.assign_add(loss)

    order = np.load(trial["order"])[0].reshape(-1, trial["batch_size"])
    batches = [tf.constant(row) for row in order]
    kept = [v.numpy() for v in (*parameters.values(), *state.values())]
    step(batches[0])
    for variable, array in zip((*parameters.values(), *state.values()), kept, strict=True):
        variable.assign(array)
    for variable in (*moments[0], *moments[1], number, loss_sum):
        variable.assign(tf.zeros_like(variable))
    edges_s = [time.perf_counter()]
    for chunk in range(CHUNKS):
        for batch in batches[len(batches) * chunk // CHUNKS : len(batches) * (chunk + 1) // CHUNKS]:
            step(batch)
        tf.test.experimental.sync_devices()
        edges_s.append(time.perf_counter())
    fastest_s = min(np.diff(edges_s))
    print(edges_s[-1] - edges_s[0], CHUNKS * fastest_s, float(loss_sum) / len(batches))


def read_data(trial: dict) -> tuple[np.ndarray, np.ndarray]:
    """Return standardised images, height × width × channels, and labels."""
    if trial["data.format"] == "cifar10_binary":
        records = np.concatenate(
            [np.fromfile(path, np.uint8).reshape(-1, 3073) for path in trial["data.train_batches"]]
        )
        pixels, labels = records[:, 1:].reshape(-1, 3, 32, 32), records[:, 0]
    else:
        pixels = np.fromfile(trial["data.train_images"], np.uint8)[16:].reshape(-1, 1, 28, 28)
        labels = np.fromfile(trial["data.train_labels"], np.uint8)[8:]
    mean, std = (np.array(trial[f"data.{key}"], np.float32) for key in ("mean", "std"))
    images = (pixels.transpose(0, 2, 3, 1).astype(np.float32) / 255 - mean) / std
    return images, labels.astype(np.int32)


def read_parameters(trial: dict) -> tuple[dict[str, tf.Variable], dict[str, tf.Variable]]:
    """Return parameters and running statistics; kernels become HWIO and dense weights [in, out]."""
    channels = {"mlp": ("hidden", len(trial["data.mean"])), "lenet5": ("dense1", 16), "cnn": ("hidden", 64)}
    flattened, depth = channels[trial["model"]]
    parameters, state = {}, {}
    for path in sorted(Path(trial["weights"]).glob("*.npy")):
        array = np.load(path)
        if array.ndim == 4:
            array = array.transpose(2, 3, 1, 0)
        elif path.stem == f"{flattened}.weight":
            array = array.reshape(len(array), depth, -1).transpose(2, 1, 0).reshape(-1, len(array))
        elif array.ndim == 2:
            array = array.T
        (state if "running" in path.stem else parameters)[path.stem] = tf.Variable(array)
    return parameters, state


def mlp(p: dict, _: dict, images: tf.Tensor, rate: float) -> tf.Tensor:
    """Return logits."""
    values = tf.reshape(images, [-1, p["hidden.weight"].shape[0]])
    values = tf.nn.relu(values @ p["hidden.weight"] + p["hidden.bias"])
    return tf.nn.dropout(values, rate) @ p["output.weight"] + p["output.bias"]


def lenet5(p: dict, _: dict, images: tf.Tensor, __: float) -> tf.Tensor:
    """Return logits."""
    values = images
    for layer in ("conv1", "conv2"):
        values = tf.nn.conv2d(values, p[f"{layer}.weight"], 1, "VALID")
        values = tf.nn.max_pool2d(tf.nn.relu(tf.nn.bias_add(values, p[f"{layer}.bias"])), 2, 2, "VALID")
    values = tf.reshape(values, [-1, 256])
    values = tf.nn.relu(values @ p["dense1.weight"] + p["dense1.bias"])
    values = tf.nn.relu(values @ p["dense2.weight"] + p["dense2.bias"])
    return values @ p["dense3.weight"] + p["dense3.bias"]


def cnn(p: dict, state: dict, images: tf.Tensor, rate: float) -> tf.Tensor:
    """Return logits and move the running statistics."""
    values = images
    for number in (1, 2):
        values = tf.nn.conv2d(values, p[f"conv{number}.weight"], 1, "VALID")
        values = tf.nn.relu(tf.nn.bias_add(values, p[f"conv{number}.bias"]))
        mean, variance = state[f"norm{number}.running_mean"], state[f"norm{number}.running_var"]
        values, new_mean, new_variance = tf.compat.v1.nn.fused_batch_norm(
            values,
            p[f"norm{number}.weight"],
            p[f"norm{number}.bias"],
            mean=mean,
            variance=variance,
            epsilon=1e-5,
            exponential_avg_factor=0.1,
        )
        mean.assign(new_mean)
        variance.assign(new_variance)
        values = tf.nn.max_pool2d(values, 2, 2, "VALID")
    values = tf.reshape(values, [-1, p["hidden.weight"].shape[0]])
    values = tf.nn.relu(values @ p["hidden.weight"] + p["hidden.bias"])
    return tf.nn.dropout(values, rate) @ p["output.weight"] + p["output.bias"]


def descend(trial: dict, parameters: list, moments: list, slopes: list, _: tf.Variable) -> None:
    """Do a step of gradient descent with momentum and weight decay."""
    rate, momentum, decay = (trial[f"optimizer.{key}"] for key in ("learning_rate", "momentum", "weight_decay"))
    for parameter, velocity, slope in zip(parameters, moments[0], slopes, strict=True):
        tf.raw_ops.ResourceApplyMomentum(
            var=parameter.handle, accum=velocity.handle, lr=rate, grad=slope + decay * parameter, momentum=momentum
        )


def adapt(trial: dict, parameters: list, moments: list, slopes: list, number: tf.Variable) -> None:
    """Do a step of Adam."""
    number.assign_add(1.0)
    root = tf.sqrt(1 - tf.exp(number * math.log(BETA2)))
    rate = trial["optimizer.learning_rate"] * root / (1 - tf.exp(number * math.log(BETA1)))
    for parameter, first, second, slope in zip(parameters, *moments, slopes, strict=True):
        tf.raw_ops.ResourceApplyAdam(
            var=parameter.handle,
            m=first.handle,
            v=second.handle,
            beta1_power=0.0,
            beta2_power=0.0,
            lr=rate,
            beta1=BETA1,
            beta2=BETA2,
            epsilon=EPSILON * root,
            grad=slope,
        )


if __name__ == "__main__":
    main()
