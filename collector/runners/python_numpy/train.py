"""One training step and one evaluation in NumPy, and what the loop and the gate ask beside them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import numpy as np
from _python.data import Array, Data, Weights
from _python.schedule import batch_slices
from _python.trainer import Trainer as BaseTrainer
from _python.trial import Trial
from layers import Buffers
from model import Parameters, build_layers, softmax_cross_entropy
from numpy.typing import NDArray
from optimizer import build_optimizer

Indices = NDArray[np.int32]


def initialise(_: Trial) -> None:
    """Set nothing: OpenBLAS takes its threads from the environment, and NumPy cannot flush subnormals."""


def place(_: Trial, data: Data) -> Data:
    """Return the data as they are: they lie on the device already."""
    return data


class Trainer(BaseTrainer[Indices]):
    """Model, optimizer and resident data of one trial."""

    def __init__(self, trial: Trial, data: Data, weights: Weights, dropout_rate: float) -> None:
        self.trial = trial
        self.data = data
        self._parameters = Parameters(weights)
        self.parameters = self._parameters.values.size
        self._generator = np.random.Generator(np.random.SFC64(trial["seed"]))
        self._layers = build_layers(trial, self._parameters, dropout_rate, self._generator)
        self._buffers = Buffers()
        self.reset(weights)

    def reset(self, weights: Weights) -> None:
        """Start again from `weights`: fresh optimizer, fresh random state, no loss."""
        self._parameters.load(weights)
        self._optimizer = build_optimizer(self.trial, self.parameters)
        self._generator.bit_generator.state = np.random.SFC64(self.trial["seed"]).state
        self._loss_sum = 0.0

    def batch(self, indices: Indices) -> Indices:
        """Return the indices as they are: gathering the images is part of the step."""
        return indices

    def step(self, batch: Indices) -> None:
        """Do one training step."""
        losses, _ = self._forward_and_backward(batch)
        self._optimizer.update(self._parameters.values, self._parameters.gradients)
        self._loss_sum += float(losses.sum())

    def set_learning_rate(self, rate: float) -> None:
        """Train on with another learning rate."""
        self._optimizer.rate = rate

    def infer(self, batch: Indices) -> None:
        """Compute the predicted class of each example."""
        self._forward(self._gather(batch), training=False).argmax(axis=1)

    def synchronise(self) -> None:
        """Return at once: nothing runs in the background."""

    def take_loss_sum(self) -> float:
        """Return the summed training loss since the last call, and begin a new sum."""
        loss_sum, self._loss_sum = self._loss_sum, 0.0
        return loss_sum

    def predict(self) -> Iterator[Array]:
        """Yield the logits of the test set, batch by batch, in evaluation mode; each is valid until the next."""
        for cut in batch_slices(len(self.data.test_labels), self.trial["eval_batch_size"]):
            yield self._forward(self.data.test_images[cut], training=False)

    def evaluate(self) -> tuple[int, int, float]:
        """Return examples, correct predictions and mean loss on the whole test set."""
        correct, loss_sum, start = 0, 0.0, 0
        for logits in self.predict():
            labels = self.data.test_labels[start : start + len(logits)]
            losses, _ = softmax_cross_entropy(logits, labels)
            correct += int(np.count_nonzero(logits.argmax(axis=1) == labels))
            loss_sum += float(losses.sum())
            start += len(logits)
        return start, correct, loss_sum / start

    def logits_and_loss(self, batch: Indices) -> tuple[Array, float]:
        """Return logits and mean loss of one batch in training mode."""
        logits = self._forward(self._gather(batch), training=True)
        losses, _ = softmax_cross_entropy(logits, self.data.train_labels[batch])
        return logits.copy(), float(losses.mean())

    def gradient(self, batch: Indices) -> Weights:
        """Return the gradient of the mean loss of one batch."""
        self._forward_and_backward(batch)
        return {name: view.copy() for name, view in self._parameters.gradient.items()}

    def update(self, gradient: Weights) -> None:
        """Do one optimizer update with a given gradient."""
        for name, view in self._parameters.gradient.items():
            np.copyto(view, gradient[name])
        self._optimizer.update(self._parameters.values, self._parameters.gradients)

    def weights(self) -> Weights:
        """Return a copy of the weights; their layout is the canonical one."""
        return {name: view.copy() for name, view in self._parameters.weights.items()}

    def statistics(self) -> Weights:
        """Return a copy of the running statistics of batch norms."""
        return {name: array.copy() for name, array in self._parameters.statistics.items()}

    def report(self) -> dict[str, Any]:
        """Return what the runtime knows of itself."""
        return {
            "flushes_subnormals": bool(np.float32(1e-38) * np.float32(0.01) == 0),
            "threads": int(os.environ.get("OPENBLAS_NUM_THREADS", len(os.sched_getaffinity(0)))),
        }

    def _gather(self, batch: Indices) -> Array:
        images = self._buffers.get("images", (len(batch), *self.data.train_images.shape[1:]))
        # mode: the default one would copy `out` first to undo an index error
        return np.take(self.data.train_images, batch, axis=0, out=images, mode="clip")

    def _forward(self, values: Array, *, training: bool) -> Array:
        for layer in self._layers:
            values = layer.forward(values, training)
        return values

    def _forward_and_backward(self, batch: Indices) -> tuple[Array, Array]:
        """Return losses and logits of a batch; leave the gradient of the mean loss in the parameters' vector."""
        logits = self._forward(self._gather(batch), training=True)
        losses, delta = softmax_cross_entropy(logits, self.data.train_labels[batch])
        for layer in reversed(self._layers):
            delta = layer.backward(delta)
        return losses, logits
