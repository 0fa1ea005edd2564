"""Layers with a hand-written forward and backward pass in float32.

Arrays are made once per shape and then used again (`Buffers`): fresh ones would cost page faults in every step.
A layer's output is therefore valid until the next forward pass of the same batch size.
The first layer passes its delta on as it is: nobody needs the gradient of the images.
"""

# ruff: noqa: D102 -- `Layer` says what forward and backward do
from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from _python.data import Array, Weights
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray


class Layer(Protocol):
    """One step of the forward pass and its reverse."""

    def forward(self, values: Array, training: bool) -> Array:
        """Return the layer's output and keep what `backward` needs."""

    def backward(self, delta: Array) -> Array:
        """Return the gradient of the layer's input from that of its output; note those of its parameters."""


class Buffers:
    """Uninitialised arrays by name and shape, each made once."""

    def __init__(self) -> None:
        self._arrays: dict[tuple[str, tuple[int, ...]], NDArray[Any]] = {}

    def get(self, name: str, shape: tuple[int, ...], dtype: type[Any] = np.float32) -> NDArray[Any]:
        """Return the array of this name and shape with whatever it held last."""
        key = (name, shape)
        if key not in self._arrays:
            self._arrays[key] = np.empty(shape, dtype)
        return self._arrays[key]


class Dense:
    """An affine map with weights [out, in]; images are flattened in the order channel, height, width."""

    def __init__(self, name: str, weights: Weights, gradient: Weights, *, first: bool = False) -> None:
        self._weight, self._bias = weights[f"{name}.weight"], weights[f"{name}.bias"]
        self._weight_gradient, self._bias_gradient = gradient[f"{name}.weight"], gradient[f"{name}.bias"]
        self._first = first
        self._buffers = Buffers()

    def forward(self, values: Array, training: bool) -> Array:
        self._shape = values.shape
        self._input = values.reshape(len(values), -1)
        output = self._buffers.get("output", (len(values), len(self._bias)))
        np.matmul(self._input, self._weight.T, out=output)
        output += self._bias
        return output

    def backward(self, delta: Array) -> Array:
        np.matmul(delta.T, self._input, out=self._weight_gradient)
        np.sum(delta, axis=0, out=self._bias_gradient)
        if self._first:
            return delta
        back = np.matmul(delta, self._weight, out=self._buffers.get("back", self._input.shape))
        return back.reshape(self._shape)


class Relu:
    """max(x, 0), in place; its derivative at 0 is 0."""

    def __init__(self) -> None:
        self._buffers = Buffers()

    def forward(self, values: Array, training: bool) -> Array:
        self._output = np.maximum(values, 0, out=values)
        return self._output

    def backward(self, delta: Array) -> Array:
        positive = np.greater(self._output, 0, out=self._buffers.get("positive", delta.shape, np.bool_))
        delta *= positive
        return delta


class Dropout:
    """Drops activations with probability `rate` and scales the survivors by 1 / (1 - rate), while training."""

    def __init__(self, rate: float, generator: np.random.Generator) -> None:
        self._rate = rate
        self._generator = generator
        self._buffers = Buffers()

    def forward(self, values: Array, training: bool) -> Array:
        if not training or self._rate == 0:
            return values
        self._scale = self._generator.random(out=self._buffers.get("scale", values.shape), dtype=np.float32)
        kept = np.greater_equal(self._scale, self._rate, out=self._buffers.get("kept", values.shape, np.bool_))
        np.multiply(kept, np.float32(1 / (1 - self._rate)), out=self._scale)
        return np.multiply(values, self._scale, out=self._buffers.get("output", values.shape))

    def backward(self, delta: Array) -> Array:
        return delta if self._rate == 0 else np.multiply(delta, self._scale, out=delta)


class Convolution:
    """A cross-correlation without padding: windows copied to columns, then one matrix product per image.

    One product over the whole batch instead would read its columns from memory, not from the cache:
    three to five times slower in the first layer of LeNet-5.
    """

    def __init__(self, name: str, weights: Weights, gradient: Weights, *, first: bool = False) -> None:
        self._weight, self._bias = weights[f"{name}.weight"], weights[f"{name}.bias"]
        self._weight_gradient, self._bias_gradient = gradient[f"{name}.weight"], gradient[f"{name}.bias"]
        self._first = first
        self._matrix = self._weight.reshape(len(self._weight), -1)  # a view: [out, in · height · width]
        self._buffers = Buffers()

    def forward(self, values: Array, training: bool) -> Array:
        self._input_shape = values.shape
        size = self._weight.shape[2:]
        windows = sliding_window_view(values, size, axis=(2, 3)).transpose(0, 1, 4, 5, 2, 3)
        columns = self._buffers.get("columns", windows.shape)
        np.copyto(columns, windows)
        examples, height, width = len(values), *windows.shape[4:]
        self._columns = columns.reshape(examples, -1, height * width)
        output = self._buffers.get("output", (examples, len(self._bias), height * width))
        np.matmul(self._matrix, self._columns, out=output)
        output += self._bias[:, None]
        return output.reshape(examples, -1, height, width)

    def backward(self, delta: Array) -> Array:
        flat = delta.reshape(*delta.shape[:2], -1)
        per_image = self._buffers.get("per_image", (len(delta), *self._matrix.shape))
        np.matmul(flat, self._columns.transpose(0, 2, 1), out=per_image)
        np.sum(per_image, axis=0, out=self._weight_gradient.reshape(self._matrix.shape))
        np.sum(flat, axis=(0, 2), out=self._bias_gradient)
        return delta if self._first else self._input_gradient(flat, delta.shape[2:])

    def _input_gradient(self, flat: Array, size: tuple[int, ...]) -> Array:
        """Return the columns' gradient, added up where windows overlap."""
        columns = self._buffers.get("back_columns", self._columns.shape)
        np.matmul(self._matrix.T, flat, out=columns)
        parts = columns.reshape(*self._input_shape[:2], *self._weight.shape[2:], *size)
        back = self._buffers.get("back", self._input_shape)
        back.fill(0)
        for y in range(parts.shape[2]):
            for x in range(parts.shape[3]):
                back[:, :, y : y + size[0], x : x + size[1]] += parts[:, :, y, x]
        return back


class MaxPool:
    """The maximum of each 2 × 2 window; of equals the first one gets the gradient, an odd last row or column none."""

    CORNERS = ((0, 0), (0, 1), (1, 0), (1, 1))

    def __init__(self) -> None:
        self._buffers = Buffers()

    def forward(self, values: Array, training: bool) -> Array:
        self._input = values
        first, *others = self._corners(values)
        self._output = self._buffers.get("output", first.shape)
        np.copyto(self._output, first)
        for corner in others:
            np.maximum(self._output, corner, out=self._output)
        return self._output

    def backward(self, delta: Array) -> Array:
        back = self._buffers.get("back", self._input.shape)
        height, width = delta.shape[2:]
        back[:, :, 2 * height :], back[:, :, :, 2 * width :] = 0, 0
        won = self._buffers.get("won", delta.shape, np.bool_)
        taken = self._buffers.get("taken", delta.shape, np.bool_)
        taken.fill(False)
        for corner, corner_back in zip(self._corners(self._input), self._corners(back), strict=True):
            np.equal(corner, self._output, out=won)
            np.greater(won, taken, out=won)
            np.logical_or(taken, won, out=taken)
            np.multiply(delta, won, out=corner_back)
        return back

    def _corners(self, values: Array) -> list[Array]:
        """Return the views of the first, second, third and fourth element of every window."""
        height, width = (side // 2 * 2 for side in values.shape[2:])
        return [values[:, :, y:height:2, x:width:2] for y, x in self.CORNERS]


class BatchNorm:
    """Each channel normalised over examples, height and width; keeps running statistics for the evaluation."""

    def __init__(
        self, name: str, weights: Weights, gradient: Weights, statistics: Weights, *, epsilon: float, momentum: float
    ) -> None:
        self._weight, self._bias = weights[f"{name}.weight"], weights[f"{name}.bias"]
        self._weight_gradient, self._bias_gradient = gradient[f"{name}.weight"], gradient[f"{name}.bias"]
        self._mean, self._variance = statistics[f"{name}.running_mean"], statistics[f"{name}.running_var"]
        self._epsilon, self._momentum = epsilon, momentum
        self._buffers = Buffers()

    def forward(self, values: Array, training: bool) -> Array:
        flat = values.reshape(*values.shape[:2], -1)
        output = self._buffers.get("output", flat.shape)
        if training:
            normal = self._normalised(flat)
            np.multiply(normal, self._weight[:, None], out=output)
            output += self._bias[:, None]
        else:
            scale = self._weight / np.sqrt(self._variance + self._epsilon)
            np.multiply(flat, scale[:, None], out=output)
            output += (self._bias - self._mean * scale)[:, None]
        return output.reshape(values.shape)

    def backward(self, delta: Array) -> Array:
        flat = delta.reshape(self._normal.shape)
        np.sum(np.sum(flat, axis=2), axis=0, out=self._bias_gradient)
        np.sum(np.vecdot(flat, self._normal), axis=0, out=self._weight_gradient)
        self._normal *= (self._weight_gradient / self._count)[:, None]  # the next forward pass makes it anew
        flat -= self._normal
        flat -= (self._bias_gradient / self._count)[:, None]
        flat *= (self._weight / self._deviation)[:, None]
        return delta

    def _normalised(self, flat: Array) -> Array:
        """Return the values with mean 0 and variance 1; move the running statistics."""
        self._count = np.float32(flat.size // flat.shape[1])
        self._normal = self._buffers.get("normal", flat.shape)
        mean = np.sum(np.sum(flat, axis=2), axis=0) / self._count
        np.subtract(flat, mean[:, None], out=self._normal)
        variance = np.sum(np.vecdot(self._normal, self._normal), axis=0) / self._count
        self._deviation = np.sqrt(variance + self._epsilon)
        self._normal /= self._deviation[:, None]
        self._follow(self._mean, mean)
        self._follow(self._variance, variance * (self._count / (self._count - 1)))
        return self._normal

    def _follow(self, running: Array, batch: Array) -> None:
        running *= 1 - self._momentum
        running += self._momentum * batch
