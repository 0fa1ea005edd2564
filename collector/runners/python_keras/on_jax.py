"""Keras on JAX: `fit` over a PyDataset, and a stateless training step as the Keras guides write it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import keras
import numpy as np
from _python.data import Data, Weights
from _python.trial import Trial
from base import Fitting, KerasTrainer, Placed
from base import place as place_arrays
from jax import Array
from numpy.typing import NDArray

COMPILATIONS_S: list[float] = []  # seconds of each compilation by XLA, as JAX reports them
Indices = NDArray[np.int32]


class State(NamedTuple):
    """The values of the variables: what the compiled functions are given and return."""

    trainable: list[Array]
    other: list[Array]  # running statistics and random states
    optimizer: list[Array]


def initialise(trial: Trial) -> None:
    """Choose the device and full float32 precision; a device that is missing raises, and is never replaced."""
    jax.config.update("jax_platforms", trial["device"])
    jax.config.update("jax_default_matmul_precision", "float32")  # no TF32
    jax.config.update("jax_enable_compilation_cache", False)
    jax.monitoring.register_event_duration_secs_listener(_note_compilation)
    try:
        jax.devices()
    except (RuntimeError, AssertionError):
        raise RuntimeError(f"device: got {trial['device']}; JAX has no such device here") from None


def place(trial: Trial, data: Data) -> Placed:
    """Return the data on the device."""
    placed = place_arrays(trial, data, JaxTrainer.data_format, jax.device_put)
    jax.block_until_ready(placed)
    return placed


class JaxTrainer(KerasTrainer):
    """What `fit` and the custom step have in common on JAX."""

    jit_compile = True
    state: State

    def __init__(self, trial: Trial, data: Placed, weights: Weights, dropout_rate: float) -> None:
        super().__init__(trial, data, weights, dropout_rate)
        self._evaluate = jax.jit(self._judge)
        self._infer = jax.jit(self._classify)
        self._differentiate = jax.jit(jax.value_and_grad(self._loss_and_updates, has_aux=True))
        self._apply = jax.jit(self.optimizer.stateless_apply)

    def reset(self, weights: Weights) -> None:
        """Start again from `weights`: fresh optimizer, fresh random state, no loss."""
        super().reset(weights)
        self.read_state()

    def read_state(self) -> None:
        """Take the values of the variables into `state`."""
        self.state = State(*([variable.value for variable in variables] for variables in self._variables()))

    def write_state(self) -> None:
        """Give the variables their values out of `state`."""
        for variables, values in zip(self._variables(), self.state, strict=True):
            for variable, value in zip(variables, values, strict=True):
                variable.assign(value)

    def set_learning_rate(self, rate: float) -> None:
        """Train on with another learning rate."""
        self.write_state()
        super().set_learning_rate(rate)
        self.read_state()

    def batch(self, indices: Indices) -> Indices:
        """Return the batch of these training examples."""
        return indices

    def synchronise(self) -> None:
        """Return when everything given to the device is done."""
        jax.block_until_ready((self.state, self.loss_sum))

    def infer(self, batch: Indices) -> None:
        """Compute the predicted class of each example, and leave it on the device."""
        self._classes = self._infer(self.state, self.data.train_images, batch)

    def evaluate_batch(self, images: Array, labels: Array) -> tuple[Array, Array, Array]:
        """Return logits, correct predictions and summed loss of one batch, in evaluation mode."""
        return self._evaluate(self.state, images, labels)

    def logits_and_loss(self, batch: Indices) -> tuple[NDArray[np.float32], float]:
        """Return logits and mean loss of one batch in training mode."""
        (loss, (logits, other)), _ = self._differentiate(self.state.trainable, self.state.other, *self._gather(batch))
        self.state = self.state._replace(other=other)
        return np.asarray(logits), float(loss)

    def gradient(self, batch: Indices) -> Weights:
        """Return the gradient of the mean loss of one batch."""
        _, gradient = self._differentiate(self.state.trainable, self.state.other, *self._gather(batch))
        return self.canonical(gradient)

    def update(self, gradient: Weights) -> None:
        """Do one optimizer update with a given gradient."""
        trainable, optimizer = self._apply(self.state.optimizer, self.native(gradient), self.state.trainable)
        self.state = self.state._replace(trainable=trainable, optimizer=optimizer)

    def weights(self) -> Weights:
        """Return the trainable weights in the canonical layout."""
        self.write_state()
        return super().weights()

    def statistics(self) -> Weights:
        """Return the running statistics of batch norms."""
        self.write_state()
        return super().statistics()

    def report(self) -> dict[str, Any]:
        """Return what the runtime knows of itself; the CPU device has no memory statistics."""
        memory = jax.devices()[0].memory_stats() or {}
        device = {"device_bytes_used": memory["peak_bytes_in_use"]} if "peak_bytes_in_use" in memory else {}
        return {
            "flushes_subnormals": bool(jnp.float32(1e-38) * jnp.float32(0.01) == 0),
            "threads": len(os.sched_getaffinity(0)),  # how XLA sizes its pool
            "compile_s": sum(COMPILATIONS_S),
            **device,
        }

    def _variables(self) -> tuple[list[keras.Variable], ...]:
        return self.model.trainable_variables, self.model.non_trainable_variables, self.optimizer.variables

    def _gather(self, batch: Indices) -> tuple[Array, Array]:
        return self.data.train_images[batch], self.data.train_labels[batch]

    def _loss_and_updates(
        self, trainable: list[Array], other: list[Array], images: Array, labels: Array
    ) -> tuple[Array, tuple[Array, list[Array]]]:
        logits, other = self.model.stateless_call(trainable, other, images, training=True)
        return self.loss(labels, logits), (logits, other)

    def _judge(self, state: State, images: Array, labels: Array) -> tuple[Array, Array, Array]:
        logits, _ = self.model.stateless_call(state.trainable, state.other, images, training=False)
        return self.judged(logits, labels)

    def _classify(self, state: State, all_images: Array, batch: Indices) -> Array:
        logits, _ = self.model.stateless_call(state.trainable, state.other, all_images[batch], training=False)
        return logits.argmax(axis=-1)


class Batches(keras.utils.PyDataset):
    """Batches of the resident data, gathered on the device."""

    def __init__(self, data: Placed, batches: Sequence[Indices]) -> None:
        super().__init__(workers=1, use_multiprocessing=False, max_queue_size=10)
        self._data = data
        self._batches = batches

    def __len__(self) -> int:
        return len(self._batches)

    def __getitem__(self, index: int) -> tuple[Array, Array]:
        return gather(self._data.train_images, self._data.train_labels, self._batches[index])


@jax.jit
def gather(images: Array, labels: Array, batch: Indices) -> tuple[Array, Array]:
    """Return images and labels of these training examples."""
    return images[batch], labels[batch]


class FitTrainer(Fitting, JaxTrainer):
    """Training by `fit`, which owns the state while it runs."""

    def dataset(self, batches: Sequence[Indices]) -> Batches:
        """Return these batches as a dataset of Keras."""
        return Batches(self.data, batches)

    def run_steps(self, batches: Iterable[Indices], stops: Sequence[int], mark: Callable[[int], None]) -> None:
        """Fit these batches, in their order."""
        self.write_state()
        super().run_steps(batches, stops, mark)
        self.read_state()

    def synchronise(self) -> None:
        """Return at once: before Keras calls back or returns it has read the loss of the step, so the step is done."""


class StepTrainer(JaxTrainer):
    """Training by a compiled step of our own; its state is donated to the next."""

    def __init__(self, trial: Trial, data: Placed, weights: Weights, dropout_rate: float) -> None:
        super().__init__(trial, data, weights, dropout_rate)
        self._step = jax.jit(self._train_step, donate_argnums=(0, 1))

    def step(self, batch: Indices) -> None:
        """Do one training step."""
        self.state, self.loss_sum = self._step(
            self.state, self.loss_sum, self.data.train_images, self.data.train_labels, batch
        )

    def reset(self, weights: Weights) -> None:
        """Start again from `weights`: fresh optimizer, fresh random state, no loss."""
        super().reset(weights)
        self.loss_sum = jnp.float32(0)

    def take_loss_sum(self) -> float:
        """Return the summed training loss since the last call, and begin a new sum."""
        loss_sum, self.loss_sum = float(self.loss_sum), jnp.float32(0)
        return loss_sum

    def _train_step(
        self, state: State, loss_sum: Array, all_images: Array, all_labels: Array, batch: Indices
    ) -> tuple[State, Array]:
        images, labels = all_images[batch], all_labels[batch]
        differentiate = jax.value_and_grad(self._loss_and_updates, has_aux=True)
        (loss, (_, other)), gradient = differentiate(state.trainable, state.other, images, labels)
        trainable, optimizer = self.optimizer.stateless_apply(state.optimizer, gradient, state.trainable)
        return State(trainable, other, optimizer), loss_sum + loss * len(batch)


def _note_compilation(event: str, duration_secs: float, **_: str | int) -> None:
    if event == "/jax/core/compile/backend_compile_duration":
        COMPILATIONS_S.append(duration_secs)
