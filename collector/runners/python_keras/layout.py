"""Where each canonical array (contract §5) lies among the variables of a Keras model, and in which layout."""

from __future__ import annotations

import keras
import numpy as np
from _python.data import Array

PARAMETERS = {
    "kernel": "weight",
    "bias": "bias",
    "gamma": "weight",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}


class Layout:
    """The variables of a model by canonical name, and the way of an array there and back."""

    def __init__(self, model: keras.Model, data_format: str) -> None:
        self.variables: dict[str, keras.Variable] = {
            f"{layer.name}.{PARAMETERS[variable.name]}": variable
            for layer in model.layers
            for variable in layer.weights
        }
        self._channels_last = data_format == "channels_last"
        self._flattened: dict[str, tuple[int, ...]] = {}  # weights behind a flatten: height, width, channels
        self._note_flattened(model)

    def to_keras(self, name: str, array: Array) -> Array:
        """Return a fresh array in Keras's layout: kernels HWIO, dense weights [in, out]."""
        if array.ndim == 4:
            array = array.transpose(2, 3, 1, 0)
        elif array.ndim == 2:
            if name in self._flattened:
                height, width, channels = self._flattened[name]
                array = array.reshape(-1, channels, height, width).transpose(0, 2, 3, 1).reshape(array.shape)
            array = array.T
        return np.array(array, dtype=np.float32, order="C")

    def to_canonical(self, name: str, array: Array) -> Array:
        """Return the inverse of `to_keras`."""
        if array.ndim == 4:
            array = array.transpose(3, 2, 0, 1)
        elif array.ndim == 2:
            array = array.T
            if name in self._flattened:
                height, width, channels = self._flattened[name]
                array = array.reshape(-1, height, width, channels).transpose(0, 3, 1, 2).reshape(array.shape)
        return np.array(array, dtype=np.float32, order="C")

    def _note_flattened(self, model: keras.Model) -> None:
        """Keras flattens height, width, channels where those lie last: the next dense layer's inputs are permuted."""
        names = [layer.name for layer in model.layers]
        if "flatten" not in names or not self._channels_last:
            return
        behind = model.layers[names.index("flatten") :]
        dense = next(layer for layer in behind if isinstance(layer, keras.layers.Dense))
        self._flattened[f"{dense.name}.weight"] = tuple(behind[0].input.shape[1:])
