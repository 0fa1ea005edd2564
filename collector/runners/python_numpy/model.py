"""The models of the contract (§5) as lists of layers over one flat vector of parameters."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from _python.data import Array, Labels, Weights
from _python.trial import Trial
from layers import BatchNorm, Convolution, Dense, Dropout, Layer, MaxPool, Relu


class Parameters:
    """All parameters and their gradients: two flat vectors, for the optimizer, and named views, for the layers.

    Running statistics of batch norms stand apart: no optimizer moves them.
    """

    def __init__(self, weights: Weights) -> None:
        self.statistics = {name: array.copy() for name, array in weights.items() if ".running_" in name}
        shapes = {name: array.shape for name, array in weights.items() if name not in self.statistics}
        count = sum(int(np.prod(shape)) for shape in shapes.values())
        self.values = np.zeros(count, np.float32)
        self.gradients = np.zeros(count, np.float32)
        self.weights = _named_views(self.values, shapes)
        self.gradient = _named_views(self.gradients, shapes)

    def load(self, weights: Weights) -> None:
        """Take parameters and running statistics from `weights`."""
        for name, view in (self.weights | self.statistics).items():
            np.copyto(view, weights[name])


def build_layers(trial: Trial, parameters: Parameters, rate: float, generator: np.random.Generator) -> list[Layer]:
    """Return the layers of a trial's model."""
    named = parameters.weights, parameters.gradient
    dropout = Dropout(rate, generator)
    match trial["model"]:
        case "mlp":
            hidden = [Dense("hidden", *named, first=True), Relu()]
            second = [Dense("hidden2", *named), Relu()] if trial["model.hidden_layers"] == 2 else []
            return [*hidden, *second, dropout, Dense("output", *named)]
        case "lenet5":
            return [
                *(Convolution("conv1", *named, first=True), Relu(), MaxPool()),
                *(Convolution("conv2", *named), Relu(), MaxPool()),
                *(Dense("dense1", *named), Relu()),
                *(Dense("dense2", *named), Relu()),
                Dense("dense3", *named),
            ]
        case "cnn":
            return [
                *(Convolution("conv1", *named, first=True), Relu(), *_norm("norm1", trial, parameters), MaxPool()),
                *(Convolution("conv2", *named), Relu(), *_norm("norm2", trial, parameters), MaxPool()),
                *(Dense("hidden", *named), Relu(), dropout),
                Dense("output", *named),
            ]
        case "keras_cnn":
            return [
                *(Convolution("conv1", *named, first=True), Relu(), MaxPool()),
                *(Convolution("conv2", *named), Relu(), MaxPool()),
                *(dropout, Dense("output", *named)),
            ]
    raise AssertionError(trial["model"])


def _norm(name: str, trial: Trial, parameters: Parameters) -> list[Layer]:
    """Return a batch norm, or nothing for the model that leaves its norms out."""
    if not trial["model.batch_norm"]:
        return []
    named = parameters.weights, parameters.gradient, parameters.statistics
    return [BatchNorm(name, *named, epsilon=trial["model.norm_epsilon"], momentum=trial["model.norm_momentum"])]


def softmax_cross_entropy(logits: Array, labels: Labels) -> tuple[Array, Array]:
    """Return the loss of each example and the gradient of their mean."""
    rows = np.arange(len(labels))
    shifted = logits - logits.max(axis=1, keepdims=True)
    exponentials = np.exp(shifted)
    norms = exponentials.sum(axis=1)
    losses = np.log(norms) - shifted[rows, labels]
    delta = exponentials / norms[:, None]
    delta[rows, labels] -= 1
    delta /= len(labels)
    return losses, delta


def _named_views(vector: Array, shapes: Mapping[str, tuple[int, ...]]) -> Weights:
    views: Weights = {}
    start = 0
    for name, shape in shapes.items():
        stop = start + int(np.prod(shape))
        views[name] = vector[start:stop].reshape(shape)
        start = stop
    return views
