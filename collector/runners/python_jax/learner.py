"""What a variant must offer: pure functions from one state of training to the next."""

from __future__ import annotations

from typing import Any, Protocol

from jax import Array
from setting import Setting

State = Any  # a tree of arrays: weights, running statistics, optimizer, random key
Arrays = dict[str, Array]  # by canonical name, channels last


class Learner(Protocol):
    """Model, loss and optimizer of one setting; every method can be compiled but `start`, `weights` and `paced`."""

    def __init__(self, setting: Setting) -> None:
        """Describe the model and the optimizer; nothing is on the device yet."""

    def start(self, weights: Arrays, seed: int, learning_rate: float) -> State:
        """Return the state before the first step; its buffers are nobody else's and may be donated."""

    def step(self, state: State, images: Array, labels: Array) -> tuple[State, Array]:
        """Return the state after one training step, and the mean loss before it."""

    def logits_and_loss(self, state: State, images: Array, labels: Array) -> tuple[State, Array, Array]:
        """Return logits and mean loss in training mode; the state differs in its random key."""

    def gradient(self, state: State, images: Array, labels: Array) -> Arrays:
        """Return the gradient of the mean loss in training mode."""

    def update(self, state: State, gradient: Arrays) -> State:
        """Return the state after the optimizer's update with a given gradient."""

    def predict(self, state: State, images: Array) -> Array:
        """Return the logits in evaluation mode."""

    def losses(self, logits: Array, labels: Array) -> Array:
        """Return the softmax cross-entropy of each example."""

    def paced(self, state: State, learning_rate: float) -> State:
        """Return the state with another learning rate."""

    def weights(self, state: State) -> Arrays:
        """Return the weights and the running statistics."""
