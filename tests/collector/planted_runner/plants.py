"""Errors that real programs have had, each planted by replacing one function of the correct NumPy runner."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import layers
import numpy as np
import optimizer
import train
from _python import data, trainer

PLANTS: dict[str, Callable[[], None]] = {"none": lambda: None}
Plant = Callable[[], None]


def plant(function: Plant) -> Plant:
    """Put a plant into the list under its name."""
    PLANTS[function.__name__] = function
    return function


def around(owner: Any, name: str, wrapper: Callable[..., Any]) -> None:
    """Replace `owner.name` by `wrapper`, which is given the honest function first."""
    honest = getattr(owner, name)
    setattr(owner, name, lambda *args, **kwargs: wrapper(honest, *args, **kwargs))


def after_init(owner: type, change: Callable[[Any], None]) -> None:
    """Change every new object of a class."""

    def init(honest, self, *args, **kwargs):
        honest(self, *args, **kwargs)
        change(self)

    around(owner, "__init__", init)


def on_weights(change: Callable[[str, np.ndarray], np.ndarray]) -> None:
    """Change weights as they are read."""
    around(data, "read_weights", lambda honest, folder: {n: change(n, w) for n, w in honest(folder).items()})


def on_images(change: Callable[[np.ndarray], np.ndarray]) -> None:
    """Change the bytes of images as they are read."""

    def read(honest, trial, split):
        images, labels = honest(trial, split)
        return np.ascontiguousarray(change(images)), labels

    around(data, "_read_split", read)


def on_labels(change: Callable[[np.ndarray], np.ndarray]) -> None:
    """Change labels as they are read."""

    def read(honest, trial, split):
        images, labels = honest(trial, split)
        return images, change(labels)

    around(data, "_read_split", read)


def rounded(array: np.ndarray, bits: int) -> np.ndarray:
    """Return float32 values with fewer bits of mantissa, rounded to nearest, ties to even."""
    drop = 23 - bits
    whole = np.ascontiguousarray(array, np.float32).view(np.uint32)
    whole = whole + ((1 << (drop - 1)) - 1 + ((whole >> drop) & 1)).astype(np.uint32)
    return (whole & np.uint32(0xFFFFFFFF << drop & 0xFFFFFFFF)).view(np.float32)


def rounded_products(bits: int) -> None:
    """Round the inputs of every matrix product."""
    around(np, "matmul", lambda honest, a, b, out: honest(rounded(a, bits), rounded(b, bits), out=out))


# Precision


@plant
def tf32():
    rounded_products(10)


@plant
def bfloat16():
    rounded_products(7)


@plant
def float16():
    def forward(honest, self, values, training):
        output = honest(self, values, training)
        output[...] = output.astype(np.float16)
        return output

    for layer in (layers.Dense, layers.Convolution):
        around(layer, "forward", forward)
    on_weights(lambda _, weight: weight.astype(np.float16).astype(np.float32))


# Loss


@plant
def loss_summed():
    def summed(honest, logits, labels):
        losses, delta = honest(logits, labels)
        return losses * len(labels), delta * len(labels)

    around(train, "softmax_cross_entropy", summed)


@plant
def softmax_twice():
    def twice(honest, logits, labels):
        exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
        probabilities = exponentials / exponentials.sum(axis=1, keepdims=True)
        losses, delta = honest(probabilities, labels)
        return losses, probabilities * (delta - (delta * probabilities).sum(axis=1, keepdims=True))

    around(train, "softmax_cross_entropy", twice)


# Layout


@plant
def kernel_flipped():
    around(layers, "sliding_window_view", lambda honest, *args, axis: honest(*args, axis=axis)[..., ::-1, ::-1])


@plant
def hwc_read_as_chw():
    on_images(lambda p: p.reshape(len(p), *p.shape[2:], p.shape[1]).transpose(0, 3, 1, 2))


@plant
def channels_reversed():
    on_images(lambda p: p[:, ::-1])


@plant
def images_turned():
    on_images(lambda p: p.swapaxes(2, 3))


@plant
def weights_transposed():
    on_weights(lambda _, w: w.reshape(w.shape[::-1]).T if w.ndim == 2 else w)


@plant
def flattened_hwc():
    def permuted(name, weight):
        if name != "hidden.weight":
            return weight
        side = round((weight.shape[1] / 64) ** 0.5)
        return weight.reshape(-1, side, side, 64).transpose(0, 3, 1, 2).reshape(weight.shape)

    on_weights(permuted)


@plant
def bias_missing():
    def forward(honest, self, values, training):
        output = honest(self, values, training)
        output -= self._bias
        return output

    around(layers.Dense, "forward", forward)


@plant
def bias_not_trained():
    def backward(honest, self, delta):
        back = honest(self, delta)
        self._bias_gradient.fill(0)
        return back

    around(layers.Convolution, "backward", backward)


# Batch norm


@plant
def norm_momentum_complemented():
    after_init(layers.BatchNorm, lambda norm: setattr(norm, "_momentum", 1 - norm._momentum))


@plant
def norm_epsilon_1e_3():
    after_init(layers.BatchNorm, lambda norm: setattr(norm, "_epsilon", 1e-3))


@plant
def running_variance_biased():
    def follow(honest, self, running, batch):
        honest(self, running, batch * ((self._count - 1) / self._count) if running is self._variance else batch)

    around(layers.BatchNorm, "_follow", follow)


@plant
def norm_in_training_mode_in_evaluation():
    around(layers.BatchNorm, "forward", lambda honest, self, values, training: honest(self, values, True))


# Optimizers


@plant
def decay_decoupled():
    def update(honest, self, values, gradients):
        values *= 1 - self.rate * self._decay
        decay, self._decay = self._decay, 0.0
        honest(self, values, gradients)
        self._decay = decay

    around(optimizer.Sgd, "update", update)


@plant
def decay_coupled():
    after_init(optimizer.Adam, lambda adam: setattr(adam, "_is_decoupled", False))


@plant
def decay_left_out():
    after_init(optimizer.Sgd, lambda sgd: setattr(sgd, "_decay", 0.0))


@plant
def adam_epsilon_ten_times_larger():
    after_init(optimizer.Adam, lambda adam: setattr(adam, "_epsilon", 10 * adam._epsilon))


@plant
def adam_epsilon_hat():
    def update(honest, self, values, gradients):
        self._epsilon /= (1 - self._betas[1] ** (self._steps + 1)) ** 0.5
        honest(self, values, gradients)
        self._epsilon *= (1 - self._betas[1] ** self._steps) ** 0.5

    around(optimizer.Adam, "update", update)


@plant
def adam_without_bias_correction():
    def update(honest, self, values, gradients):
        self._steps = 10**9
        honest(self, values, gradients)

    around(optimizer.Adam, "update", update)


@plant
def nesterov():
    def update(honest, self, values, gradients):
        honest(self, values, gradients)  # leaves the decayed gradient; plain step: -rate · v
        values += self.rate * (self._velocity - gradients - self._momentum * self._velocity)

    around(optimizer.Sgd, "update", update)


@plant
def momentum_dampened():
    def update(honest, self, values, gradients):
        if self._velocity.any():  # as PyTorch dampens: not the first gradient
            optimizer._add_decay(self._decay, values, gradients, self._scratch)
            gradients *= 1 - self._momentum
        decay, self._decay = self._decay, 0.0 if self._velocity.any() else self._decay
        honest(self, values, gradients)
        self._decay = decay

    around(optimizer.Sgd, "update", update)


@plant
def momentum_reset():
    def update(honest, self, values, gradients):
        self._velocity.fill(0)
        honest(self, values, gradients)

    around(optimizer.Sgd, "update", update)


@plant
def learning_rate_one_percent_off():
    for kind in (optimizer.Sgd, optimizer.Adam):
        after_init(kind, lambda made: setattr(made, "rate", 1.01 * made.rate))


@plant
def gradient_not_zeroed():
    def accumulated(honest, self, batch):
        held = self.__dict__.get("held", 0.0)
        result = honest(self, batch)
        self._parameters.gradients += held
        self.held = self._parameters.gradients.copy()
        return result

    def reset(honest, self, weights):
        honest(self, weights)
        self.held = 0.0

    around(train.Trainer, "_forward_and_backward", accumulated)
    around(train.Trainer, "reset", reset)


# Data and their order


@plant
def last_batch_dropped():
    def batches(honest, self, order):
        return [batch for batch in honest(self, order) if len(batch) == self.trial["batch_size"]]

    around(trainer.Trainer, "batches", batches)


@plant
def last_batch_padded():
    def batches(honest, self, order):
        return [np.concatenate([b, order[: self.trial["batch_size"] - len(b)]]) for b in honest(self, order)]

    around(trainer.Trainer, "batches", batches)


@plant
def shuffled_differently():
    around(
        trainer.Trainer,
        "batches",
        lambda honest, self, order: honest(self, np.random.default_rng(1).permutation(order)),
    )


@plant
def order_file_ignored():
    around(
        trainer.Trainer,
        "batches",
        lambda honest, self, order: honest(self, np.arange(len(order), dtype=np.int32)),
    )


@plant
def first_order_used_twice():
    def read(honest, trial):
        files = honest(trial)
        return replace(files, order=np.stack([files.order[0]] * len(files.order)))

    around(data, "read_files", read)


@plant
def labels_shifted_by_a_class():
    on_labels(lambda labels: (labels + 1) % 10)


@plant
def labels_shifted_by_an_example():
    on_labels(lambda labels: np.roll(labels, 1))


@plant
def data_not_normalised():
    around(data, "standardise", lambda _, __, pixels: pixels.astype(np.float32) / 255)


@plant
def data_normalised_twice():
    def twice(honest, trial, pixels):
        mean, std = (np.array(trial[key], np.float32)[:, None, None] for key in ("data.mean", "data.std"))
        return (honest(trial, pixels) - mean) / std

    around(data, "standardise", twice)


# Evaluation and dropout


@plant
def evaluated_on_the_training_set():
    def place(honest, trial, files):
        placed = honest(trial, files)
        return replace(placed, test_images=placed.train_images, test_labels=placed.train_labels)

    around(data, "place_data", place)


@plant
def evaluated_on_the_first_training_images():
    def place(honest, trial, files):
        placed, count = honest(trial, files), len(files.test_images)
        return replace(placed, test_images=placed.train_images[:count], test_labels=placed.train_labels[:count])

    around(data, "place_data", place)


@plant
def dropout_in_evaluation():
    around(layers.Dropout, "forward", lambda honest, self, values, training: honest(self, values, True))


@plant
def dropout_rate_complemented():
    after_init(layers.Dropout, lambda dropout: setattr(dropout, "_rate", 1 - dropout._rate if dropout._rate else 0.0))


@plant
def dropout_survivors_not_scaled():
    around(
        layers.Dropout,
        "forward",
        lambda honest, self, values, training: (
            honest(self, values, training) * np.float32(1 - self._rate if training else 1)
        ),
    )


@plant
def dropout_masks_repeated():
    def forward(honest, self, values, training):
        self._generator.bit_generator.state = np.random.SFC64(7).state
        return honest(self, values, training)

    around(layers.Dropout, "forward", forward)


@plant
def dropout_switched_off():
    around(layers.Dropout, "forward", lambda honest, self, values, training: honest(self, values, False))
