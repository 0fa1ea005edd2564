"""The optimizers of the contract (§6) on flat vectors, in place."""

from __future__ import annotations

import numpy as np
from _python.data import Array
from _python.trial import Trial


class Sgd:
    """Gradient descent with momentum and weight decay in the gradient."""

    def __init__(self, trial: Trial, size: int) -> None:
        self.rate = trial["optimizer.learning_rate"]
        self._momentum = trial["optimizer.momentum"]
        self._decay = trial["optimizer.weight_decay"]
        self._velocity = np.zeros(size, np.float32)
        self._scratch = np.empty(size, np.float32)

    def update(self, values: Array, gradients: Array) -> None:
        """Move `values`; `gradients` may be overwritten."""
        _add_decay(self._decay, values, gradients, self._scratch)
        self._velocity *= self._momentum
        self._velocity += gradients
        values -= np.multiply(self._velocity, self.rate, out=self._scratch)


class Adam:
    """Adam with weight decay in the gradient, AdamW with decay of the weights; epsilon stands outside the root."""

    def __init__(self, trial: Trial, size: int) -> None:
        self.rate = trial["optimizer.learning_rate"]
        self._betas = trial["optimizer.beta1"], trial["optimizer.beta2"]
        self._epsilon = trial["optimizer.epsilon"]
        self._decay = trial["optimizer.weight_decay"]
        self._is_decoupled = trial["optimizer"] == "adamw"
        self._steps = 0
        self._first = np.zeros(size, np.float32)
        self._second = np.zeros(size, np.float32)
        self._scratch = np.empty(size, np.float32)

    def update(self, values: Array, gradients: Array) -> None:
        """Move `values`; `gradients` may be overwritten."""
        scratch = self._scratch
        beta1, beta2 = self._betas
        self._steps += 1
        if self._is_decoupled:
            values *= 1 - self.rate * self._decay
        else:
            _add_decay(self._decay, values, gradients, scratch)
        self._first *= beta1
        self._first += np.multiply(gradients, 1 - beta1, out=scratch)
        self._second *= beta2
        np.multiply(gradients, gradients, out=scratch)
        scratch *= 1 - beta2
        self._second += scratch
        np.multiply(self._second, 1 / (1 - beta2**self._steps), out=scratch)
        np.sqrt(scratch, out=scratch)
        scratch += self._epsilon
        np.divide(self._first, scratch, out=scratch)
        scratch *= self.rate / (1 - beta1**self._steps)
        values -= scratch


def build_optimizer(trial: Trial, size: int) -> Sgd | Adam:
    """Return the optimizer of a trial for `size` parameters."""
    return Sgd(trial, size) if trial["optimizer"] == "sgd" else Adam(trial, size)


def _add_decay(decay: float, values: Array, gradients: Array, scratch: Array) -> None:
    if decay:
        gradients += np.multiply(values, decay, out=scratch)
