"""The models of the contract (§5) as lists of layers over one flat vector of parameters."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from _python.data import Array, Labels, Weights
from _python.trial import Trial
from layers import Convolution, Dense, Dropout, Layer, MaxPool, Relu


class Parameters:
    """All parameters and their gradients: two flat vectors, for the optimizer, and named views, for the layers."""

    def __init__(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        count = sum(int(np.prod(shape)) for shape in shapes.values())
        self.values = np.zeros(count, np.float32)
        self.gradients = np.zeros(count, np.float32)
        self.weights = _named_views(self.values, shapes)
        self.gradient = _named_views(self.gradients, shapes)


def build_layers(trial: Trial, parameters: Parameters, rate: float, generator: np.random.Generator) -> list[Layer]:
    """Return the layers of a trial's model."""
    named = parameters.weights, parameters.gradient
    if trial["model"] == "mlp":
        hidden = (Dense("hidden", *named, first=True), Relu(), Dropout(rate, generator))
        return [*hidden, Dense("output", *named)]
    return [
        *(Convolution("conv1", *named, first=True), Relu(), MaxPool()),
        *(Convolution("conv2", *named), Relu(), MaxPool()),
        *(Dense("dense1", *named), Relu()),
        *(Dense("dense2", *named), Relu()),
        Dense("dense3", *named),
    ]


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
