"""Training with Keras as one writes it by hand for one model: what deadheat's runner is held to.

    python benchmarks/bare/keras.py TRIAL.JSON

Fits the model (mlp, lenet5 or cnn) of a trial of mode `steps` on its data, weights and order, on the backend that its
variant begins with, by plain `model.fit` over arrays, and prints seconds in all, the fastest twentieth times twenty,
and the mean loss. Nothing of deadheat is used but the files that it wrote.
"""

# ruff: noqa: E402 -- Keras reads its backend when it is imported
from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

sys.path.pop(0)  # this file's folder, where "keras" would be this file
TRIAL: dict[str, Any] = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
BACKEND = TRIAL["variant"].partition("_")[0]
os.environ["KERAS_BACKEND"] = BACKEND

import keras
import numpy as np
from keras import layers

CHUNKS = 20


def main() -> None:
    """Train and print."""
    set_threads()
    images, labels = read_data(TRIAL)
    order, size = np.load(TRIAL["order"])[0], TRIAL["batch_size"]
    model = {"mlp": mlp, "lenet5": lenet5, "cnn": cnn}[TRIAL["model"]]()
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    load_weights(model)
    model.compile(optimizer=build_optimizer(), loss=loss)
    model.fit(images[order[:size]], labels[order[:size]], batch_size=size, shuffle=False, verbose=0)  # compiles
    load_weights(model)
    for variable in model.optimizer.variables:
        if variable is not model.optimizer.learning_rate:
            variable.assign(keras.ops.zeros(variable.shape, variable.dtype))
    clock = Clock(len(order) // size)
    history = model.fit(
        images[order], labels[order], batch_size=size, shuffle=False, verbose=0, callbacks=[clock]
    ).history
    edges_s = [clock.start_s, *clock.edges_s]
    print(f"{time.perf_counter() - clock.start_s:.4f} {np.diff(edges_s).min() * CHUNKS:.4f} {history['loss'][0]:.6f}")


class Clock(keras.callbacks.Callback):
    """Reads the clock at the edge of each chunk; it starts before the order is gathered."""

    def __init__(self, steps: int) -> None:
        super().__init__()
        self._stops = {steps * chunk // CHUNKS for chunk in range(1, CHUNKS + 1)}
        self.start_s = time.perf_counter()
        self.edges_s: list[float] = []

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        """See the class."""
        if batch + 1 in self._stops:
            self.edges_s.append(time.perf_counter())


def set_threads() -> None:
    """Limit the backend to the trial's threads; JAX takes the cores that the process is pinned to."""
    if BACKEND == "tensorflow":
        import tensorflow as tf

        tf.config.threading.set_intra_op_parallelism_threads(TRIAL["threads"])
        tf.config.threading.set_inter_op_parallelism_threads(1)
    if BACKEND == "torch":
        import torch

        torch.set_num_threads(TRIAL["threads"])
        torch.set_flush_denormal(True)


def build_optimizer() -> keras.optimizers.Optimizer:
    """Return SGD with momentum, or Adam."""
    rate = TRIAL["optimizer.learning_rate"]
    if TRIAL["optimizer"] == "sgd":
        return keras.optimizers.SGD(rate, momentum=float(TRIAL["optimizer.momentum"]))
    return keras.optimizers.Adam(rate, epsilon=TRIAL["optimizer.epsilon"])


def regular() -> dict[str, Any]:
    """Return weight decay as Keras has it: a penalty on weights and biases, which the printed loss holds too."""
    decay = TRIAL["optimizer.weight_decay"]
    if decay == 0:
        return {}
    return {name: keras.regularizers.L2(decay / 2) for name in ("kernel_regularizer", "bias_regularizer")}


def mlp() -> keras.Model:
    """Return the perceptron."""
    return keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            layers.Flatten(),
            layers.Dense(TRIAL["model.hidden_units"], activation="relu", name="hidden", **regular()),
            layers.Dropout(TRIAL["model.dropout_rate"]),
            layers.Dense(10, name="output", **regular()),
        ]
    )


def lenet5() -> keras.Model:
    """Return LeNet-5."""
    return keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            layers.Conv2D(6, 5, activation="relu", name="conv1", **regular()),
            layers.MaxPooling2D(2),
            layers.Conv2D(16, 5, activation="relu", name="conv2", **regular()),
            layers.MaxPooling2D(2),
            layers.Flatten(),
            layers.Dense(120, activation="relu", name="dense1", **regular()),
            layers.Dense(84, activation="relu", name="dense2", **regular()),
            layers.Dense(10, name="dense3", **regular()),
        ]
    )


def cnn() -> keras.Model:
    """Return the convolutional network with batch norm."""
    return keras.Sequential(
        [
            keras.Input((32, 32, 3)),
            layers.Conv2D(32, 3, activation="relu", name="conv1", **regular()),
            layers.BatchNormalization(momentum=0.9, epsilon=1e-5, name="norm1"),
            layers.MaxPooling2D(2),
            layers.Conv2D(64, 3, activation="relu", name="conv2", **regular()),
            layers.BatchNormalization(momentum=0.9, epsilon=1e-5, name="norm2"),
            layers.MaxPooling2D(2),
            layers.Flatten(),
            layers.Dense(64, activation="relu", name="hidden", **regular()),
            layers.Dropout(TRIAL["model.dropout_rate"]),
            layers.Dense(10, name="output", **regular()),
        ]
    )


def load_weights(model: keras.Model) -> None:
    """Set the given weights; the first dense layer sees height, width, channels instead of channels first."""
    flattened = {"mlp": (1, 28, 28), "lenet5": (16, 4, 4), "cnn": (64, 6, 6)}[TRIAL["model"]]
    for layer in (layer for layer in model.layers if layer.weights):
        names = ("weight", "bias", "running_mean", "running_var")[: len(layer.weights)]
        arrays = [np.load(Path(TRIAL["weights"]) / f"{layer.name}.{name}.npy") for name in names]
        if arrays[0].ndim == 4:
            arrays[0] = arrays[0].transpose(2, 3, 1, 0)
        elif arrays[0].ndim == 2:
            if arrays[0].shape[1] == np.prod(flattened):
                arrays[0] = arrays[0].reshape(-1, *flattened).transpose(0, 2, 3, 1).reshape(arrays[0].shape)
            arrays[0] = arrays[0].T
        layer.set_weights(arrays)


def read_data(trial: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Return the training images (examples, height, width, channels), standardised, and labels."""
    if trial["data.format"] == "idx":
        pixels = np.fromfile(trial["data.train_images"], np.uint8)[16:].reshape(-1, 1, 28, 28)
        labels = np.fromfile(trial["data.train_labels"], np.uint8)[8:]
    else:
        records = np.concatenate([np.fromfile(p, np.uint8).reshape(-1, 3073) for p in trial["data.train_batches"]])
        pixels, labels = records[:, 1:].reshape(-1, 3, 32, 32), records[:, 0]
    mean, std = (np.float32(trial[f"data.{name}"])[:, None, None] for name in ("mean", "std"))
    images = (np.float32(pixels) / 255 - mean) / std
    return np.ascontiguousarray(images.transpose(0, 2, 3, 1)), labels.astype(np.int32)


if __name__ == "__main__":
    main()
