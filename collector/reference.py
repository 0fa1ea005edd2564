"""The float64 reference: the models, losses and optimizers of the contract in plain NumPy.

It is written to be checked by eye, not to be fast. Shapes are those of collector/protocol/README.md §5:
images (examples, channels, height, width), dense weights (out, in), convolutions (out, in, height, width).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from collector.workload import Adam, MlpOptions, Sgd, Workload

Array = NDArray[np.float64]
Weights = dict[str, Array]
Integers = NDArray[np.integer]

IMAGE_SHAPE = (1, 28, 28)
CLASSES = 10


def parameter_shapes(workload: Workload) -> dict[str, tuple[int, ...]]:
    """Return the shape of every parameter, in the order of the layers."""
    if isinstance(workload.model_options, MlpOptions):
        hidden = workload.model_options.hidden_units
        layers: dict[str, tuple[int, ...]] = {"hidden": (hidden, 784), "output": (CLASSES, hidden)}
    else:
        layers = {
            "conv1": (6, 1, 5, 5),
            "conv2": (16, 6, 5, 5),
            "dense1": (120, 256),
            "dense2": (84, 120),
            "dense3": (CLASSES, 84),
        }
    shapes: dict[str, tuple[int, ...]] = {}
    for layer, shape in layers.items():
        shapes[f"{layer}.weight"] = shape
        shapes[f"{layer}.bias"] = shape[:1]
    return shapes


def initial_weights(workload: Workload, generator: np.random.Generator) -> Weights:
    """Return weights and biases drawn from U(±1/sqrt(fan_in)), the initialisation `fan_in_uniform`.

    Source: LeCun et al. (1998), Efficient BackProp, with the bound that PyTorch's layers use.
    """
    weights: Weights = {}
    bound = 0.0
    for name, shape in parameter_shapes(workload).items():
        if name.endswith(".weight"):
            bound = 1 / np.sqrt(np.prod(shape[1:]))
        weights[name] = generator.uniform(-bound, bound, shape)
    return weights


def logits_of(workload: Workload, weights: Weights, images: Array) -> Array:
    """Return the logits, shape (examples, 10), without dropout."""
    return _forward(workload, weights, images)[0]


def loss_of(logits: Array, labels: Integers) -> float:
    """Return the softmax cross-entropy, mean over the examples."""
    shifted = logits - logits.max(axis=1, keepdims=True)
    log_norms = np.log(np.exp(shifted).sum(axis=1))
    return float(np.mean(log_norms - shifted[np.arange(len(labels)), labels]))


def gradient_of(workload: Workload, weights: Weights, images: Array, labels: Integers) -> tuple[float, Weights]:
    """Return the mean loss of a batch and its gradient, without dropout and without weight decay."""
    logits, backward = _forward(workload, weights, images)
    probabilities = np.exp(logits - logits.max(axis=1, keepdims=True))
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    probabilities[np.arange(len(labels)), labels] -= 1
    gradient: Weights = {}
    delta = probabilities / len(labels)
    for step in backward:
        delta = step(delta, gradient)
    return loss_of(logits, labels), {name: gradient[name] for name in weights}


@dataclass(slots=True)
class OptimizerState:
    """Steps done and running moments; a fresh one for each training."""

    steps: int = 0
    first: Weights = field(default_factory=dict)
    second: Weights = field(default_factory=dict)


def update_weights(optimizer: Sgd | Adam, weights: Weights, gradient: Weights, state: OptimizerState) -> Weights:
    """Return the weights after one update; `state` moves on. Formulas: collector/protocol/README.md §6."""
    state.steps += 1
    updated: Weights = {}
    for name, weight in weights.items():
        decayed = gradient[name] + optimizer.weight_decay * weight
        if isinstance(optimizer, Sgd):
            updated[name] = weight - _sgd_step(optimizer, name, decayed, state)
        else:
            updated[name] = weight - _adam_step(optimizer, name, decayed, state)
    return updated


def _sgd_step(optimizer: Sgd, name: str, gradient: Array, state: OptimizerState) -> Array:
    velocity = optimizer.momentum * state.first.get(name, np.zeros_like(gradient)) + gradient
    state.first[name] = velocity
    return optimizer.learning_rate * velocity


def _adam_step(optimizer: Adam, name: str, gradient: Array, state: OptimizerState) -> Array:
    zeros = np.zeros_like(gradient)
    first = optimizer.beta1 * state.first.get(name, zeros) + (1 - optimizer.beta1) * gradient
    second = optimizer.beta2 * state.second.get(name, zeros) + (1 - optimizer.beta2) * gradient**2
    state.first[name], state.second[name] = first, second
    unbiased_first = first / (1 - optimizer.beta1**state.steps)
    unbiased_second = second / (1 - optimizer.beta2**state.steps)
    return optimizer.learning_rate * unbiased_first / (np.sqrt(unbiased_second) + optimizer.epsilon)


# A backward step takes the gradient of a layer's output, notes those of its parameters, returns that of its input.
Backward = Callable[[Array, Weights], Array]


def _forward(workload: Workload, weights: Weights, images: Array) -> tuple[Array, list[Backward]]:
    """Return logits and the backward steps, last layer first."""
    layers = _mlp_layers() if workload.model == "mlp" else _lenet5_layers()
    backward: list[Backward] = []
    values = images
    for layer in layers:
        values, step = layer(weights, values)
        backward.insert(0, step)
    return values, backward


Layer = Callable[[Weights, Array], tuple[Array, Backward]]


def _mlp_layers() -> list[Layer]:
    return [_flatten, _dense("hidden"), _relu, _dense("output")]


def _lenet5_layers() -> list[Layer]:
    features = [_convolution("conv1"), _relu, _max_pool, _convolution("conv2"), _relu, _max_pool]
    return [*features, _flatten, _dense("dense1"), _relu, _dense("dense2"), _relu, _dense("dense3")]


def _flatten(_: Weights, values: Array) -> tuple[Array, Backward]:
    return values.reshape(len(values), -1), lambda delta, _: delta.reshape(values.shape)


def _relu(_: Weights, values: Array) -> tuple[Array, Backward]:
    return np.maximum(values, 0), lambda delta, _: delta * (values > 0)


def _dense(name: str) -> Layer:
    def layer(weights: Weights, values: Array) -> tuple[Array, Backward]:
        weight, bias = weights[f"{name}.weight"], weights[f"{name}.bias"]

        def backward(delta: Array, gradient: Weights) -> Array:
            gradient[f"{name}.weight"] = delta.T @ values
            gradient[f"{name}.bias"] = delta.sum(axis=0)
            return delta @ weight

        return values @ weight.T + bias, backward

    return layer


def _convolution(name: str) -> Layer:
    def layer(weights: Weights, values: Array) -> tuple[Array, Backward]:
        weight, bias = weights[f"{name}.weight"], weights[f"{name}.bias"]
        size = weight.shape[2:]
        windows = sliding_window_view(values, size, axis=(2, 3))  # (examples, in, y, x, height, width)
        output = np.einsum("ncyxhw,ochw->noyx", windows, weight, optimize=True) + bias[:, None, None]

        def backward(delta: Array, gradient: Weights) -> Array:
            gradient[f"{name}.weight"] = np.einsum("noyx,ncyxhw->ochw", delta, windows, optimize=True)
            gradient[f"{name}.bias"] = delta.sum(axis=(0, 2, 3))
            pad = [(0, 0), (0, 0), (size[0] - 1,) * 2, (size[1] - 1,) * 2]
            padded = sliding_window_view(np.pad(delta, pad), size, axis=(2, 3))
            back: Array = np.einsum("noyxhw,ochw->ncyx", padded, weight[:, :, ::-1, ::-1], optimize=True)
            return back

        return output, backward

    return layer


def _max_pool(_: Weights, values: Array) -> tuple[Array, Backward]:
    examples, channels, height, width = values.shape
    cells = values.reshape(examples, channels, height // 2, 2, width // 2, 2).transpose(0, 1, 2, 4, 3, 5)
    flat = cells.reshape(*cells.shape[:4], 4)
    winners = flat.argmax(axis=-1)[..., None]  # the first of equals

    def backward(delta: Array, _: Weights) -> Array:
        routed = np.zeros_like(flat)
        np.put_along_axis(routed, winners, delta[..., None], axis=-1)
        return routed.reshape(cells.shape).transpose(0, 1, 2, 4, 3, 5).reshape(values.shape)

    return np.take_along_axis(flat, winners, axis=-1)[..., 0], backward
