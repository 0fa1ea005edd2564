"""The layers of the float64 reference: each a pair of forward and backward, written to be checked by eye.

Shapes are those of collector/protocol/README.md §5: images (examples, channels, height, width), dense weights
(out, in), convolutions (out, in, height, width). Every operation keeps the precision of its input.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

Array = NDArray[np.floating[Any]]
Weights = dict[str, Array]
SAME = 1e-12  # of a layer's size: equal but for the order in which float64 sums were taken
VarianceForm = Literal["unbiased", "biased"]
TieForm = Literal["exact", "near"]
NEAR = float(np.sqrt(np.finfo(np.float32).eps))  # how far apart, of their size, two near-equal values may be


@dataclass(slots=True, kw_only=True)
class Pass:
    """What one pass through a network reads, and what it leaves behind."""

    weights: Weights  # parameters and running statistics
    training: bool
    variance_form: VarianceForm = "unbiased"
    tie_form: TieForm = "exact"
    product_input: Callable[[Array], Array] = lambda values: values  # what products make of their inputs: rounding
    statistics: Weights = field(default_factory=dict)  # running statistics after a training pass
    nearest_kink: float | None = None  # smallest distance to a kink so far, where it is watched: see `watch`

    def watch(self, distances: Array, scale: Array) -> None:
        """Note the smallest of `distances` in units of the layer's own size; identical values have no kink."""
        if self.nearest_kink is not None:
            size = float(np.sqrt(np.mean(scale**2)))
            apart = distances[distances > SAME * size]
            self.nearest_kink = min(self.nearest_kink, float(apart.min()) / size if apart.size else np.inf)


# A backward step takes the gradient of a layer's output, notes those of its parameters, returns that of its input.
Backward = Callable[[Array, Weights], Array]
Layer = Callable[[Pass, Array], tuple[Array, Backward]]


def run_layers(layers: Sequence[Layer], state: Pass, values: Array) -> tuple[Array, Backward]:
    """Return the output of `layers` one after another and the way back."""
    steps: list[Backward] = []
    for layer in layers:
        values, step = layer(state, values)
        steps.append(step)

    def backward(delta: Array, gradient: Weights) -> Array:
        for step in reversed(steps):
            delta = step(delta, gradient)
        return delta

    return values, backward


def flatten(_: Pass, values: Array) -> tuple[Array, Backward]:
    """Return channels, height and width in one row, in that order."""
    return values.reshape(len(values), -1), lambda delta, _: delta.reshape(values.shape)


def relu(state: Pass, values: Array) -> tuple[Array, Backward]:
    """Return the larger of the value and 0; its derivative at 0 is 0."""
    state.watch(np.abs(values), values)
    return np.maximum(values, 0), lambda delta, _: delta * (values > 0)


def mean_pixels(_: Pass, values: Array) -> tuple[Array, Backward]:
    """Return the mean of each channel over height and width."""
    area = values.shape[2] * values.shape[3]

    def backward(delta: Array, _: Weights) -> Array:
        return np.broadcast_to((delta / area)[:, :, None, None], values.shape)

    return values.mean(axis=(2, 3)), backward


def dense(name: str) -> Layer:
    """Return the affine map `name`."""

    def layer(state: Pass, values: Array) -> tuple[Array, Backward]:
        weight, bias = state.product_input(state.weights[f"{name}.weight"]), state.weights[f"{name}.bias"]
        values = state.product_input(values)

        def backward(delta: Array, gradient: Weights) -> Array:
            gradient[f"{name}.weight"] = delta.T @ values
            gradient[f"{name}.bias"] = delta.sum(axis=0)
            return delta @ weight

        return values @ weight.T + bias, backward

    return layer


def convolution(name: str, *, stride: int = 1, padding: int = 0, bias: bool = True) -> Layer:
    """Return the cross-correlation `name`."""

    def layer(state: Pass, values: Array) -> tuple[Array, Backward]:
        weight = state.product_input(state.weights[f"{name}.weight"])
        out, size = len(weight), weight.shape[2:]
        padded = np.pad(state.product_input(values), [(0, 0), (0, 0), (padding,) * 2, (padding,) * 2])
        windows = sliding_window_view(padded, size, axis=(2, 3))[:, :, ::stride, ::stride]
        examples, _, height, width = windows.shape[:4]
        columns = windows.transpose(0, 1, 4, 5, 2, 3).reshape(examples, -1, height * width)
        output = (weight.reshape(out, -1) @ columns).reshape(examples, out, height, width)
        if bias:
            output = output + state.weights[f"{name}.bias"][:, None, None]

        def backward(delta: Array, gradient: Weights) -> Array:
            flat = delta.reshape(examples, out, -1)
            gradient[f"{name}.weight"] = (flat @ columns.transpose(0, 2, 1)).sum(axis=0).reshape(weight.shape)
            if bias:
                gradient[f"{name}.bias"] = delta.sum(axis=(0, 2, 3))
            parts = (weight.reshape(out, -1).T @ flat).reshape(examples, -1, *size, height, width)
            back = np.zeros_like(padded)
            for y, x in itertools.product(*map(range, size)):
                _shifted(back, y, x, stride, (height, width))[...] += parts[:, :, y, x]
            return _unpadded(back, padding)

        return output, backward

    return layer


def max_pool(size: int, *, stride: int, padding: int = 0) -> Layer:
    """Return the maximum of each window; of equals the first one gets the gradient, and padding never wins.

    With `tie_form` "near" the first that is nearly the maximum gets it: NNlib's `≈` (JuliaLang: isapprox).
    """

    def layer(state: Pass, values: Array) -> tuple[Array, Backward]:
        edges = [(0, 0), (0, 0), (padding,) * 2, (padding,) * 2]
        padded = np.pad(values, edges, constant_values=-np.inf)
        windows = sliding_window_view(padded, (size, size), axis=(2, 3))[:, :, ::stride, ::stride]
        flat = windows.reshape(*windows.shape[:4], -1)
        largest = flat.max(axis=-1)
        winners = flat.argmax(axis=-1) if state.tie_form == "exact" else _near(flat, largest).argmax(axis=-1)
        if state.nearest_kink is not None:
            second, first = np.partition(flat, (-2, -1), axis=-1)[..., -2:].transpose(4, 0, 1, 2, 3)
            state.watch(first - second, values)

        def backward(delta: Array, _: Weights) -> Array:
            back = np.zeros_like(padded)
            for number, (y, x) in enumerate(itertools.product(range(size), repeat=2)):
                _shifted(back, y, x, stride, winners.shape[2:])[...] += delta * (winners == number)
            return _unpadded(back, padding)

        return largest, backward

    return layer


def batch_norm(name: str, *, epsilon: float, momentum: float) -> Layer:
    """Return the normalisation `name` over examples, height and width (Ioffe & Szegedy 2015).

    `momentum` is the weight of the batch's statistics in the running averages.
    """

    def layer(state: Pass, values: Array) -> tuple[Array, Backward]:
        weight, bias = state.weights[f"{name}.weight"][:, None, None], state.weights[f"{name}.bias"][:, None, None]
        running = {key: state.weights[f"{name}.{key}"] for key in ("running_mean", "running_var")}
        if not state.training:
            mean, variance = running["running_mean"][:, None, None], running["running_var"][:, None, None]
            return (values - mean) / np.sqrt(variance + epsilon) * weight + bias, _no_way_back
        count = values.size // values.shape[1]
        mean, variance = values.mean(axis=(0, 2, 3)), values.var(axis=(0, 2, 3))
        kept = variance * (count / (count - 1)) if state.variance_form == "unbiased" else variance
        state.statistics[f"{name}.running_mean"] = (1 - momentum) * running["running_mean"] + momentum * mean
        state.statistics[f"{name}.running_var"] = (1 - momentum) * running["running_var"] + momentum * kept
        deviation = np.sqrt(variance + epsilon)[:, None, None]
        normal = (values - mean[:, None, None]) / deviation

        def backward(delta: Array, gradient: Weights) -> Array:
            gradient[f"{name}.weight"] = (delta * normal).sum(axis=(0, 2, 3))
            gradient[f"{name}.bias"] = delta.sum(axis=(0, 2, 3))
            inner = delta * weight
            along = (inner * normal).mean(axis=(0, 2, 3), keepdims=True)
            back: Array = (inner - inner.mean(axis=(0, 2, 3), keepdims=True) - normal * along) / deviation
            return back

        return normal * weight + bias, backward

    return layer


def residual(branch: Sequence[Layer], shortcut: Sequence[Layer]) -> Layer:
    """Return the sum of two ways through (He et al. 2015); an empty shortcut hands its input on."""

    def layer(state: Pass, values: Array) -> tuple[Array, Backward]:
        output, branch_backward = run_layers(branch, state, values)
        passed, shortcut_backward = run_layers(shortcut, state, values)

        def backward(delta: Array, gradient: Weights) -> Array:
            return branch_backward(delta, gradient) + shortcut_backward(delta, gradient)

        return output + passed, backward

    return layer


def _near(windows: Array, largest: Array) -> NDArray[np.bool_]:
    """Return which elements of each window are nearly its largest; padding is not."""
    apart = np.abs(windows - largest[..., None])
    return np.isfinite(windows) & (apart <= NEAR * np.maximum(np.abs(windows), np.abs(largest)[..., None]))


def _shifted(padded: Array, y: int, x: int, stride: int, size: tuple[int, ...]) -> Array:
    """Return the view of what window element (y, x) sees, one per window."""
    return padded[:, :, y : y + stride * size[0] : stride, x : x + stride * size[1] : stride]


def _unpadded(padded: Array, padding: int) -> Array:
    return padded[:, :, padding : padded.shape[2] - padding, padding : padded.shape[3] - padding]


def _no_way_back(_: Array, __: Weights) -> Array:
    raise AssertionError("an evaluation has no gradient")
