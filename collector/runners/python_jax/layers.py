"""The layers of the contract (§5), channels last, and the softmax cross-entropy, as functions of a tree of weights."""

from __future__ import annotations

from dataclasses import dataclass, field

import jax
import jax.numpy as jnp
from jax import Array, lax
from learner import Arrays
from setting import Setting

PIXELS = (0, 1, 2)  # examples, height and width: what batch norm averages over


@dataclass(frozen=True, slots=True, kw_only=True)
class Layers:
    """The layers of one pass: their weights, the dropout key, and where their batch norms leave new statistics."""

    setting: Setting
    weights: Arrays
    key: Array | None  # None: evaluation
    statistics: Arrays = field(default_factory=dict)  # after a training pass

    def dense(self, name: str, values: Array) -> Array:
        """Return an affine map."""
        dtype = self.setting.operand_dtype
        product = jnp.dot(
            values.astype(dtype), self.weights[f"{name}.weight"].astype(dtype), preferred_element_type=jnp.float32
        )
        return product + self.weights[f"{name}.bias"]

    def convolution(self, name: str, values: Array, *, stride: int = 1, padding: int = 0) -> Array:
        """Return a cross-correlation, with bias where there is one."""
        dtype = self.setting.operand_dtype
        output = lax.conv_general_dilated(
            values.astype(dtype),
            self.weights[f"{name}.weight"].astype(dtype),
            window_strides=(stride, stride),
            padding=((padding, padding), (padding, padding)),
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        ).astype(jnp.float32)
        return output + self.weights[f"{name}.bias"] if f"{name}.bias" in self.weights else output

    def norm(self, name: str, values: Array) -> Array:
        """Return the batch norm, and note its running statistics after a training pass."""
        running_mean, running_var = self.weights[f"{name}.running_mean"], self.weights[f"{name}.running_var"]
        mean, variance = running_mean, running_var
        if self.key is not None:
            mean, variance = values.mean(PIXELS), values.var(PIXELS)
            count, momentum = values.size // values.shape[-1], self.setting.norm_momentum
            unbiased = variance * (count / (count - 1))
            self.statistics[f"{name}.running_mean"] = (1 - momentum) * running_mean + momentum * mean
            self.statistics[f"{name}.running_var"] = (1 - momentum) * running_var + momentum * unbiased
        scale = self.weights[f"{name}.weight"] * lax.rsqrt(variance + self.setting.norm_epsilon)
        return (values - mean) * scale + self.weights[f"{name}.bias"]

    def dropout(self, values: Array) -> Array:
        """Return the values with some dropped and the survivors scaled up, in evaluation all of them."""
        rate = self.setting.dropout_rate
        if self.key is None or rate == 0:
            return values
        kept = jax.random.bernoulli(self.key, 1 - rate, values.shape)
        return jnp.where(kept, values / (1 - rate), 0)


def flatten(values: Array) -> Array:
    """Return each example's values in one row."""
    return values.reshape(len(values), -1)


def max_pool(values: Array) -> Array:
    """Return the maximum of each 2 × 2 window, without an odd last row or column.

    The gradient of `lax.reduce_window`, which `nnx.max_pool` calls too, is a select-and-scatter: on the CPU it makes a
    training step of the CNNs 1.4 to 1.7 times as long. That of `jnp.max` asks which value equals the maximum, and finds
    none, or a wrong one, where XLA rounds a fused batch norm another way in the backward pass. A choice does not.
    """
    height, width = (side // 2 * 2 for side in values.shape[1:3])
    corners = [values[:, top:height:2, left:width:2] for top in (0, 1) for left in (0, 1)]
    return _larger(_larger(corners[0], corners[1]), _larger(corners[2], corners[3]))


def max_pool_3x3(values: Array) -> Array:
    """Return the maximum of each 3 × 3 window with stride 2; the padding of 1 never wins."""
    padding = ((0, 0), (1, 1), (1, 1), (0, 0))
    return lax.reduce_window(values, -jnp.inf, lax.max, (1, 3, 3, 1), (1, 2, 2, 1), padding)


def cross_entropy(logits: Array, labels: Array) -> Array:
    """Return the softmax cross-entropy of each example."""
    chosen = jnp.take_along_axis(jax.nn.log_softmax(logits), labels[:, None], axis=1)
    return -chosen[:, 0]


def _larger(first: Array, second: Array) -> Array:
    """Return the larger of each pair, of equals the first, which gets the gradient."""
    return jnp.where(second > first, second, first)
