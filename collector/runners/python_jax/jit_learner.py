"""Variant jit: JAX alone, pure functions of a NamedTuple."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from layers import cross_entropy
from learner import Arrays
from model import apply_model
from optimizer import MOMENTS, Moments, update_parameters
from setting import Setting


class State(NamedTuple):
    """Everything that a training step changes, and the learning rate."""

    parameters: Arrays
    statistics: Arrays
    moments: Moments
    steps: Array
    learning_rate: Array
    key: Array


class JitLearner:
    """Model, loss and optimizer of one setting."""

    def __init__(self, setting: Setting) -> None:
        self.setting = setting

    def start(self, weights: Arrays, seed: int, learning_rate: float) -> State:
        """Return the state before the first step."""
        copies = {name: jnp.array(array) for name, array in weights.items()}
        parameters = {name: array for name, array in copies.items() if "running_" not in name}
        return State(
            parameters=parameters,
            statistics={name: array for name, array in copies.items() if "running_" in name},
            moments=tuple(jax.tree.map(jnp.zeros_like, parameters) for _ in range(MOMENTS[self.setting.optimizer])),
            steps=jnp.int32(0),
            learning_rate=jnp.float32(learning_rate),
            key=jax.random.key(seed, impl="threefry2x32"),
        )

    def step(self, state: State, images: Array, labels: Array) -> tuple[State, Array]:
        """Return the state after one training step, and the mean loss before it."""
        state, key = _with_next_key(state)
        (loss, (_, statistics)), gradient = jax.value_and_grad(self._loss, has_aux=True)(
            state.parameters, state.statistics, images, labels, key
        )
        return self.update(state, gradient)._replace(statistics=statistics), loss

    def logits_and_loss(self, state: State, images: Array, labels: Array) -> tuple[State, Array, Array]:
        """Return logits and mean loss in training mode; the state differs in its random key."""
        state, key = _with_next_key(state)
        loss, (logits, _) = self._loss(state.parameters, state.statistics, images, labels, key)
        return state, logits, loss

    def gradient(self, state: State, images: Array, labels: Array) -> Arrays:
        """Return the gradient of the mean loss in training mode."""
        loss = jax.grad(self._loss, has_aux=True)
        return loss(state.parameters, state.statistics, images, labels, state.key)[0]

    def update(self, state: State, gradient: Arrays) -> State:
        """Return the state after the optimizer's update with a given gradient."""
        steps = state.steps + 1
        parameters, moments = update_parameters(
            self.setting, state.parameters, gradient, state.moments, steps, state.learning_rate
        )
        return state._replace(parameters=parameters, moments=moments, steps=steps)

    def predict(self, state: State, images: Array) -> Array:
        """Return the logits in evaluation mode."""
        return apply_model(self.setting, state.parameters | state.statistics, images, key=None)[0]

    def losses(self, logits: Array, labels: Array) -> Array:
        """Return the softmax cross-entropy of each example."""
        return cross_entropy(logits, labels)

    def paced(self, state: State, learning_rate: float) -> State:
        """Return the state with another learning rate."""
        return state._replace(learning_rate=jnp.float32(learning_rate))

    def weights(self, state: State) -> Arrays:
        """Return the weights and the running statistics."""
        return state.parameters | state.statistics

    def _loss(
        self, parameters: Arrays, statistics: Arrays, images: Array, labels: Array, key: Array
    ) -> tuple[Array, tuple[Array, Arrays]]:
        """Return the mean loss in training mode, with logits and the running statistics after it."""
        logits, statistics = apply_model(self.setting, parameters | statistics, images, key)
        return cross_entropy(logits, labels).mean(), (logits, statistics)


def _with_next_key(state: State) -> tuple[State, Array]:
    """Return the state with a new key, and the key of this step's dropout mask."""
    key, mask_key = jax.random.split(state.key)
    return state._replace(key=key), mask_key
