"""One training step and one evaluation in JAX, and what the loop and the gate ask beside them."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any, NamedTuple

import _python.trainer
import jax
import jax.numpy as jnp
import numpy as np
from _python.data import Data, Weights
from _python.schedule import batch_slices
from _python.trial import Trial
from jax import Array
from layout import from_canonical, to_canonical, to_channels_last
from learner import Learner, State
from numpy.typing import NDArray
from setting import Setting, read_setting

COMPILATIONS_S: list[float] = []  # seconds of each compilation by XLA, as JAX reports them
LEARNERS = {"jit": ("jit_learner", "JitLearner"), "nnx": ("nnx_learner", "NnxLearner")}
# The precision of products of float32; bf16 rounds its operands itself.
PRECISIONS = {"fp32": "float32", "tf32": "tensorfloat32", "bf16": "float32"}

Indices = NDArray[np.int32]


class DeviceData(NamedTuple):
    """The data on the device, channels last; the order stays on the host, and each call passes its batch on."""

    train_images: Array
    train_labels: Array
    test_batches: list[tuple[Array, Array]]


class Compiled(NamedTuple):
    """The functions of a learner, compiled at their first call for each batch shape."""

    learner: Learner
    step: Callable[..., tuple[State, Array]]
    logits_and_loss: Callable[..., tuple[State, Array, Array]]
    gradient: Callable[..., dict[str, Array]]
    update: Callable[..., State]
    predict: Callable[..., Array]
    infer: Callable[..., Array]
    evaluate: Callable[..., tuple[Array, Array]]


def initialise(trial: Trial) -> None:
    """Choose device and precision and import the variant; a device that is missing raises, and is never replaced."""
    jax.config.update("jax_platforms", trial["device"])
    jax.config.update("jax_default_matmul_precision", PRECISIONS[trial["dtype"]])
    jax.config.update("jax_default_prng_impl", "threefry2x32")
    jax.config.update("jax_enable_compilation_cache", False)
    jax.monitoring.register_event_duration_secs_listener(_note_compilation)
    importlib.import_module(LEARNERS[trial["variant"]][0])
    try:
        jax.devices()
    except (RuntimeError, AssertionError):
        raise RuntimeError(f"device: got {trial['device']}; JAX has no such device here") from None


def place(trial: Trial, data: Data) -> DeviceData:
    """Return the data on the device, the test set cut into its batches."""
    test_images = to_channels_last(data.test_images)
    cuts = batch_slices(len(data.test_labels), trial["eval_batch_size"])
    placed = DeviceData(
        train_images=jax.device_put(to_channels_last(data.train_images)),
        train_labels=jax.device_put(data.train_labels),
        test_batches=[jax.device_put((test_images[cut], data.test_labels[cut])) for cut in cuts],
    )
    jax.block_until_ready(placed)
    return placed


@cache
def compile_learner(variant: str, setting: Setting) -> Compiled:
    """Return the functions of a variant's learner; trainers of the same setting share them."""
    module, name = LEARNERS[variant]
    learner: Learner = getattr(importlib.import_module(module), name)(setting)

    def step(state: State, loss_sum: Array, images: Array, labels: Array, batch: Array) -> tuple[State, Array]:
        state, loss = learner.step(state, images[batch], labels[batch])
        return state, loss_sum + loss * len(batch)

    def infer(state: State, images: Array, batch: Array) -> Array:
        return learner.predict(state, images[batch]).argmax(axis=1)

    def evaluate(state: State, images: Array, labels: Array) -> tuple[Array, Array]:
        logits = learner.predict(state, images)
        return (logits.argmax(axis=1) == labels).sum(), learner.losses(logits, labels).sum()

    return Compiled(
        learner=learner,
        step=jax.jit(step, donate_argnums=(0, 1)),
        logits_and_loss=jax.jit(learner.logits_and_loss),
        gradient=jax.jit(learner.gradient),
        update=jax.jit(learner.update),
        predict=jax.jit(learner.predict),
        infer=jax.jit(infer),
        evaluate=jax.jit(evaluate),
    )


class Trainer(_python.trainer.Trainer[Indices]):
    """Model, optimizer and resident data of one trial."""

    def __init__(self, trial: Trial, data: DeviceData, weights: Weights, dropout_rate: float) -> None:
        self.trial = trial
        self.data = data
        self.setting = read_setting(trial, data.train_images.shape[1:], dropout_rate)
        self.compiled = compile_learner(trial["variant"], self.setting)
        self.reset(weights)
        self.parameters = sum(array.size for array in self._trained(running=False).values())

    def reset(self, weights: Weights) -> None:
        """Start again from `weights`: fresh optimizer, fresh random state, no loss."""
        own = from_canonical(self.setting, weights)
        self.state = self.compiled.learner.start(own, self.trial["seed"], self.trial["optimizer.learning_rate"])
        self.loss_sum = jnp.float32(0)
        self.prediction = jnp.int32(0)
        self.synchronise()

    def batch(self, indices: Indices) -> Indices:
        """Return the indices themselves: the compiled step gathers its batch."""
        return indices

    def step(self, batch: Indices) -> None:
        """Do one training step."""
        self.state, self.loss_sum = self.compiled.step(
            self.state, self.loss_sum, self.data.train_images, self.data.train_labels, batch
        )

    def set_learning_rate(self, rate: float) -> None:
        """Train on with another learning rate."""
        self.state = self.compiled.learner.paced(self.state, rate)

    def infer(self, batch: Indices) -> None:
        """Predict the class of each example, on the device."""
        self.prediction = self.compiled.infer(self.state, self.data.train_images, batch)

    def synchronise(self) -> None:
        """Return when everything given to the device is done."""
        jax.block_until_ready((self.state, self.loss_sum, self.prediction))

    def take_loss_sum(self) -> float:
        """Return the summed training loss since the last call, and begin a new sum."""
        loss_sum, self.loss_sum = float(self.loss_sum), jnp.float32(0)
        return loss_sum

    def predict(self) -> Iterator[Array]:
        """Yield the logits of the test set, batch by batch, in evaluation mode."""
        for images, _ in self.data.test_batches:
            yield self.compiled.predict(self.state, images)

    def evaluate(self) -> tuple[int, int, float]:
        """Return examples, correct predictions and mean loss on the whole test set."""
        results = [self.compiled.evaluate(self.state, *batch) for batch in self.data.test_batches]
        examples = sum(len(labels) for _, labels in self.data.test_batches)
        correct, loss_sums = zip(*jax.device_get(results), strict=True)
        return examples, int(sum(correct)), float(sum(map(float, loss_sums))) / examples

    def logits_and_loss(self, batch: Indices) -> tuple[NDArray[np.float32], float]:
        """Return logits and mean loss of one batch in training mode, with masks of its own."""
        self.state, logits, loss = self.compiled.logits_and_loss(self.state, *self._gathered(batch))
        return np.asarray(logits), float(loss)

    def gradient(self, batch: Indices) -> Weights:
        """Return the gradient of the mean loss of one batch."""
        return to_canonical(self.setting, self.compiled.gradient(self.state, *self._gathered(batch)))

    def update(self, gradient: Weights) -> None:
        """Do one optimizer update with a given gradient."""
        self.state = self.compiled.update(self.state, from_canonical(self.setting, gradient))

    def weights(self) -> Weights:
        """Return the trainable weights in the canonical layout."""
        return self._trained(running=False)

    def statistics(self) -> Weights:
        """Return the running statistics of batch norms."""
        return self._trained(running=True)

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

    def _gathered(self, batch: Indices) -> tuple[Array, Array]:
        return self.data.train_images[batch], self.data.train_labels[batch]

    def _trained(self, *, running: bool) -> Weights:
        arrays = self.compiled.learner.weights(self.state)
        return to_canonical(
            self.setting, {name: array for name, array in arrays.items() if ("running_" in name) == running}
        )


def _note_compilation(event: str, duration_secs: float, **_: str | int) -> None:
    if event == "/jax/core/compile/backend_compile_duration":
        COMPILATIONS_S.append(duration_secs)
