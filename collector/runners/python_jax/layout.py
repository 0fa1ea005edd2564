"""Between the canonical layout (contract §5) and that of JAX's own libraries, off the clock.

Images are channels last, dense kernels [in, out] and convolutions [height, width, in, out], as in Flax. On the CPU
the CNNs train 1.2 to 1.3 times as fast as with channels first, and LeNet as fast.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from _python.data import Weights
from numpy.typing import ArrayLike, NDArray
from setting import Setting

# The dense layer behind the flattening, and the channels that it flattens; an mlp flattens the image itself.
FLATTENED = {"lenet5": ("dense1", 16), "cnn": ("hidden", 64), "keras_cnn": ("output", 64)}


def to_channels_last(images: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return images (examples, channels, height, width) as (examples, height, width, channels)."""
    return np.ascontiguousarray(images.transpose(0, 2, 3, 1))


def from_canonical(setting: Setting, weights: Weights) -> Weights:
    """Return weights as the models here use them, by the same names."""
    return {name: np.ascontiguousarray(_from_canonical(setting, name, array)) for name, array in weights.items()}


def to_canonical(setting: Setting, weights: Mapping[str, ArrayLike]) -> Weights:
    """Return weights in the canonical layout, copied to the host: a view would change with a donated buffer."""
    return {name: np.array(_to_canonical(setting, name, np.asarray(array))) for name, array in weights.items()}


def _from_canonical(setting: Setting, name: str, array: NDArray[np.float32]) -> NDArray[np.float32]:
    if array.ndim == 4:
        return array.transpose(2, 3, 1, 0)
    if array.ndim == 2:
        out, inputs = array.shape
        return array.reshape(out, _channels(setting, name, inputs), -1).transpose(2, 1, 0).reshape(inputs, out)
    return array


def _to_canonical(setting: Setting, name: str, array: NDArray[np.float32]) -> NDArray[np.float32]:
    if array.ndim == 4:
        return array.transpose(3, 2, 0, 1)
    if array.ndim == 2:
        inputs, out = array.shape
        return array.reshape(-1, _channels(setting, name, inputs), out).transpose(2, 1, 0).reshape(out, inputs)
    return array


def _channels(setting: Setting, name: str, inputs: int) -> int:
    """Return how many channels a dense layer reads pixel by pixel: all its inputs where no image was flattened."""
    layer, channels = FLATTENED.get(setting.model, ("hidden", setting.image_shape[-1]))
    return channels if name == f"{layer}.weight" else inputs
