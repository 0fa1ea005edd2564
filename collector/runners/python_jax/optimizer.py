"""The optimizers of the contract (§6) as pure updates of a tree of parameters."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
from jax import Array
from learner import Arrays
from setting import Setting

Moments = tuple[Arrays, ...]  # sgd: the velocity; adam and adamw: first and second moment

MOMENTS = {"sgd": 1, "adam": 2, "adamw": 2}


def update_parameters(
    setting: Setting, parameters: Arrays, gradient: Arrays, moments: Moments, number: Array, rate: Array
) -> tuple[Arrays, Moments]:
    """Return parameters and moments after step `number`, counted from 1."""
    decay = setting.weight_decay
    if decay and setting.optimizer == "adamw":
        parameters = jax.tree.map(lambda w: w - rate * decay * w, parameters)
    elif decay:
        gradient = jax.tree.map(lambda g, w: g + decay * w, gradient, parameters)
    if setting.optimizer == "sgd":
        return _descend(setting, parameters, gradient, moments, rate)
    return _adapt(setting, parameters, gradient, moments, number, rate)


def _descend(
    setting: Setting, parameters: Arrays, gradient: Arrays, moments: Moments, rate: Array
) -> tuple[Arrays, Moments]:
    """Return gradient descent with momentum."""
    velocity = jax.tree.map(lambda v, g: setting.momentum * v + g, moments[0], gradient)
    return jax.tree.map(lambda w, v: w - rate * v, parameters, velocity), (velocity,)


def _adapt(
    setting: Setting, parameters: Arrays, gradient: Arrays, moments: Moments, number: Array, rate: Array
) -> tuple[Arrays, Moments]:
    """Return Adam with epsilon outside the root."""
    beta1, beta2 = setting.beta1, setting.beta2
    first = jax.tree.map(lambda m, g: beta1 * m + (1 - beta1) * g, moments[0], gradient)
    second = jax.tree.map(lambda v, g: beta2 * v + (1 - beta2) * g * g, moments[1], gradient)
    scale1, scale2 = _one_minus_power(beta1, number), _one_minus_power(beta2, number)

    def move(weight: Array, mean: Array, square: Array) -> Array:
        return weight - rate * (mean / scale1) / (jnp.sqrt(square / scale2) + setting.epsilon)

    return jax.tree.map(move, parameters, first, second), (first, second)


def _one_minus_power(beta: float, number: Array) -> Array:
    """Return 1 - beta^number; the plain formula loses four of float32's seven digits at the first step."""
    return -jnp.expm1(number * math.log(beta))
