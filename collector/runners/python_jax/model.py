"""The models of the contract (§5) as functions of the parameters, a flat dictionary of canonical names and layouts."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
from _python.trial import Trial
from jax import Array, lax

Parameters = dict[str, Array]
Model = Callable[[Parameters, Array, Array | None], Array]  # parameters, images, dropout key or None -> logits


def build_model(trial: Trial, dropout_rate: float) -> Model:
    """Return the forward pass of a trial's model; a key of None means evaluation mode."""
    if trial["model"] == "mlp":
        return lambda parameters, images, key: mlp(parameters, images, key, dropout_rate)
    return lambda parameters, images, _: lenet5(parameters, images)


def mlp(parameters: Parameters, images: Array, key: Array | None, dropout_rate: float) -> Array:
    """Return the logits of a perceptron with one hidden layer."""
    values = images.reshape(len(images), -1)
    values = jax.nn.relu(dense(parameters, "hidden", values))
    if key is not None and dropout_rate > 0:
        values = dropout(key, values, dropout_rate)
    return dense(parameters, "output", values)


def lenet5(parameters: Parameters, images: Array) -> Array:
    """Return the logits of LeNet-5 with ReLU and max-pooling."""
    values = max_pool(jax.nn.relu(convolution(parameters, "conv1", images)))
    values = max_pool(jax.nn.relu(convolution(parameters, "conv2", values)))
    values = values.reshape(len(values), -1)
    values = jax.nn.relu(dense(parameters, "dense1", values))
    values = jax.nn.relu(dense(parameters, "dense2", values))
    return dense(parameters, "dense3", values)


def dense(parameters: Parameters, layer: str, values: Array) -> Array:
    """Return an affine map; weights are [out, in], which XLA multiplies as fast as [in, out]."""
    return values @ parameters[f"{layer}.weight"].T + parameters[f"{layer}.bias"]


def convolution(parameters: Parameters, layer: str, values: Array) -> Array:
    """Return a cross-correlation without padding; NCHW is as fast as NHWC on the CPU and is what we are given."""
    output = lax.conv_general_dilated(
        values,
        parameters[f"{layer}.weight"],
        window_strides=(1, 1),
        padding="VALID",
        dimension_numbers=("NCHW", "OIHW", "NCHW"),
    )
    return output + parameters[f"{layer}.bias"][:, None, None]


def max_pool(values: Array) -> Array:
    """Return the maximum of each 2 × 2 window."""
    window = (1, 1, 2, 2)
    return lax.reduce_window(values, -jnp.inf, lax.max, window, window, padding="VALID")


def dropout(key: Array, values: Array, rate: float) -> Array:
    """Return the values with some dropped and the survivors scaled up."""
    kept = jax.random.bernoulli(key, 1 - rate, values.shape)
    return jnp.where(kept, values / (1 - rate), 0)


def cross_entropy(logits: Array, labels: Array) -> Array:
    """Return the softmax cross-entropy of each example."""
    chosen = jnp.take_along_axis(jax.nn.log_softmax(logits), labels[:, None], axis=1)
    return -chosen[:, 0]
