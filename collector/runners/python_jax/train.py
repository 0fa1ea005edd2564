"""One training step and one evaluation in JAX, and what the loop and the gate ask beside them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from _python.data import Data, Weights
from _python.schedule import batch_slices
from _python.trial import Trial
from jax import Array
from model import Model, Parameters, build_model, cross_entropy
from numpy.typing import NDArray
from optimizer import MOMENTS, Moments, Update, build_update

COMPILATIONS_S: list[float] = []  # seconds of each compilation by XLA, as JAX reports them
Indices = NDArray[np.int32]


class DeviceData(NamedTuple):
    """The data on the device; the order stays on the host, and each call passes its batch on."""

    train_images: Array
    train_labels: Array
    test_batches: list[tuple[Array, Array]]
    order: Indices


class State(NamedTuple):
    """Everything a training step changes; its buffers are donated to the next step."""

    parameters: Parameters
    moments: Moments
    steps: Array
    key: Array
    loss_sum: Array


Step = Callable[[State, Array, Array, Indices], State]


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


def place(trial: Trial, data: Data) -> DeviceData:
    """Return the data on the device, the test set cut into its batches."""
    cuts = batch_slices(len(data.test_labels), trial["eval_batch_size"])
    placed = DeviceData(
        train_images=jax.device_put(data.train_images),
        train_labels=jax.device_put(data.train_labels),
        test_batches=[jax.device_put((data.test_images[cut], data.test_labels[cut])) for cut in cuts],
        order=data.order,
    )
    jax.block_until_ready(placed[:-1])
    return placed


class Trainer:
    """Model, optimizer and resident data of one trial."""

    def __init__(self, trial: Trial, data: DeviceData, weights: Weights, dropout_rate: float) -> None:
        self.trial = trial
        self.data = data
        self.parameters = sum(array.size for array in weights.values())
        model, update = build_model(trial, dropout_rate), build_update(trial)
        self._step = jax.jit(build_step(model, update), donate_argnums=0)
        self._logits_and_loss = jax.jit(build_logits_and_loss(model))
        self._gradient = jax.jit(jax.grad(build_loss(model)))
        self._update = jax.jit(update)
        self._evaluate = jax.jit(build_evaluation(model))
        self.reset(weights)

    def reset(self, weights: Weights) -> None:
        """Start again from `weights`: fresh optimizer, fresh random state, no loss."""
        # jnp.array copies: a donated buffer must not be the memory of the given weights.
        zeros = {name: np.zeros_like(array) for name, array in weights.items()}
        self.state = State(
            parameters=jax.tree.map(jnp.array, weights),
            moments=tuple(jax.tree.map(jnp.array, zeros) for _ in range(MOMENTS[self.trial["optimizer"]])),
            steps=jnp.int32(0),
            key=jax.random.key(self.trial["seed"], impl="threefry2x32"),
            loss_sum=jnp.float32(0),
        )
        self.synchronise()

    def batches(self, row: int) -> Sequence[Indices]:
        """Return the indices of one epoch's batches."""
        order = self.data.order[row]
        return [order[cut] for cut in batch_slices(len(order), self.trial["batch_size"])]

    def step(self, batch: Indices) -> None:
        """Do one training step."""
        self.state = self._step(self.state, self.data.train_images, self.data.train_labels, batch)

    def synchronise(self) -> None:
        """Return when everything given to the device is done."""
        jax.block_until_ready(self.state)

    def take_loss_sum(self) -> float:
        """Return the summed training loss since the last call, and begin a new sum."""
        loss_sum = float(self.state.loss_sum)
        self.state = self.state._replace(loss_sum=jnp.float32(0))
        return loss_sum

    def predict(self) -> Iterator[Array]:
        """Yield the logits of the test set, batch by batch, in evaluation mode."""
        for images, labels in self.data.test_batches:
            yield self._evaluate(self.state.parameters, images, labels)[0]

    def evaluate(self) -> tuple[int, int, float]:
        """Return examples, correct predictions and mean loss on the whole test set."""
        results = [self._evaluate(self.state.parameters, *batch) for batch in self.data.test_batches]
        examples = sum(len(labels) for _, labels in self.data.test_batches)
        _, correct, loss_sums = zip(*results, strict=True)
        return examples, sum(map(int, correct)), sum(map(float, loss_sums)) / examples

    def logits_and_loss(self, batch: Indices) -> tuple[NDArray[np.float32], float]:
        """Return logits and mean loss of one batch in training mode."""
        logits, loss = self._logits_and_loss(self.state.parameters, *self._gather(batch), self.state.key)
        return np.asarray(logits), float(loss)

    def gradient(self, batch: Indices) -> Weights:
        """Return the gradient of the mean loss of one batch."""
        return _arrays(self._gradient(self.state.parameters, *self._gather(batch), self.state.key))

    def update(self, gradient: Weights) -> None:
        """Do one optimizer update with a given gradient."""
        number = self.state.steps + 1
        parameters, moments = self._update(self.state.parameters, gradient, self.state.moments, number)
        self.state = self.state._replace(parameters=parameters, moments=moments, steps=number)

    def weights(self) -> Weights:
        """Return a copy of the weights; their layout is the canonical one."""
        return _arrays(self.state.parameters)

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

    def _gather(self, batch: Indices) -> tuple[Array, Array]:
        return self.data.train_images[batch], self.data.train_labels[batch]


def build_step(model: Model, update: Update) -> Step:
    """Return one training step, from the indices of its batch to the next state."""
    loss_and_gradient = jax.value_and_grad(build_loss(model))

    def step(state: State, all_images: Array, all_labels: Array, batch: Indices) -> State:
        number = state.steps + 1
        key = jax.random.fold_in(state.key, number)
        loss, gradient = loss_and_gradient(state.parameters, all_images[batch], all_labels[batch], key)
        parameters, moments = update(state.parameters, gradient, state.moments, number)
        return State(parameters, moments, number, state.key, state.loss_sum + loss * len(batch))

    return step


def build_logits_and_loss(model: Model) -> Callable[[Parameters, Array, Array, Array], tuple[Array, Array]]:
    """Return the forward pass in training mode with the mean loss of the batch."""

    def logits_and_loss(parameters: Parameters, images: Array, labels: Array, key: Array) -> tuple[Array, Array]:
        logits = model(parameters, images, key)
        return logits, cross_entropy(logits, labels).mean()

    return logits_and_loss


def build_loss(model: Model) -> Callable[[Parameters, Array, Array, Array], Array]:
    """Return the mean loss of a batch in training mode."""
    logits_and_loss = build_logits_and_loss(model)
    return lambda parameters, images, labels, key: logits_and_loss(parameters, images, labels, key)[1]


def build_evaluation(model: Model) -> Callable[[Parameters, Array, Array], tuple[Array, Array, Array]]:
    """Return what an evaluation needs of one batch: logits, correct predictions and summed loss."""

    def evaluation(parameters: Parameters, images: Array, labels: Array) -> tuple[Array, Array, Array]:
        logits = model(parameters, images, None)
        return logits, (logits.argmax(axis=1) == labels).sum(), cross_entropy(logits, labels).sum()

    return evaluation


def _arrays(tree: Parameters) -> Weights:
    """Return copies on the host: a view would change when its buffer is donated."""
    return {name: np.array(array) for name, array in tree.items()}


def _note_compilation(event: str, duration_secs: float, **_: str | int) -> None:
    if event == "/jax/core/compile/backend_compile_duration":
        COMPILATIONS_S.append(duration_secs)
