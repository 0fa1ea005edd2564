"""The optimizers of the contract (§6) as pure updates over the parameters' tree."""

from __future__ import annotations

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from _python.trial import Trial
from jax import Array
from model import Parameters

Moments = tuple[Parameters, ...]  # sgd: the velocity; adam: first and second moment
# parameters, gradient, moments, number of this step (from 1) -> parameters, moments
Update = Callable[[Parameters, Parameters, Moments, Array], tuple[Parameters, Moments]]

MOMENTS = {"sgd": 1, "adam": 2}


def build_update(trial: Trial) -> Update:
    """Return the update rule of a trial."""
    update = sgd_update(trial) if trial["optimizer"] == "sgd" else adam_update(trial)
    decay = trial["optimizer.weight_decay"]

    def decayed(
        parameters: Parameters, gradient: Parameters, moments: Moments, number: Array
    ) -> tuple[Parameters, Moments]:
        gradient = jax.tree.map(lambda g, w: g + decay * w, gradient, parameters)
        return update(parameters, gradient, moments, number)

    return decayed if decay else update


def sgd_update(trial: Trial) -> Update:
    """Return gradient descent with momentum."""
    rate, momentum = trial["optimizer.learning_rate"], trial["optimizer.momentum"]

    def update(parameters: Parameters, gradient: Parameters, moments: Moments, _: Array) -> tuple[Parameters, Moments]:
        velocity = jax.tree.map(lambda v, g: momentum * v + g, moments[0], gradient)
        return jax.tree.map(lambda w, v: w - rate * v, parameters, velocity), (velocity,)

    return update


def adam_update(trial: Trial) -> Update:
    """Return Adam with epsilon outside the root."""
    rate, epsilon = trial["optimizer.learning_rate"], trial["optimizer.epsilon"]
    beta1, beta2 = trial["optimizer.beta1"], trial["optimizer.beta2"]

    def update(
        parameters: Parameters, gradient: Parameters, moments: Moments, number: Array
    ) -> tuple[Parameters, Moments]:
        first = jax.tree.map(lambda m, g: beta1 * m + (1 - beta1) * g, moments[0], gradient)
        second = jax.tree.map(lambda v, g: beta2 * v + (1 - beta2) * g * g, moments[1], gradient)
        scale1, scale2 = _one_minus_power(beta1, number), _one_minus_power(beta2, number)
        moved = jax.tree.map(
            lambda w, m, v: w - rate * (m / scale1) / (jnp.sqrt(v / scale2) + epsilon), parameters, first, second
        )
        return moved, (first, second)

    return update


def _one_minus_power(beta: float, number: Array) -> Array:
    """Return 1 - beta^number; the plain formula loses four of float32's seven digits at the first step."""
    return -jnp.expm1(number * math.log(beta))
