"""Keras on TensorFlow: `fit` over tf.data, and a training step as the Keras guides write it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf
from _python.data import Data, Weights
from _python.trial import Trial
from base import Fitting, KerasTrainer, Placed
from base import place as place_arrays
from numpy.typing import NDArray

INDICES = tf.TensorSpec([None], tf.int32)


def initialise(trial: Trial) -> None:
    """Set threads, device and precision; a device that is missing raises, and is never replaced by the CPU."""
    tf.config.threading.set_intra_op_parallelism_threads(trial["threads"])
    tf.config.threading.set_inter_op_parallelism_threads(1)
    tf.config.experimental.enable_tensor_float_32_execution(False)
    devices = tf.config.list_physical_devices("GPU")
    if trial["device"] == "cpu":
        tf.config.set_visible_devices([], "GPU")
    elif not devices:
        raise RuntimeError("device: got cuda; TensorFlow has no such device here")
    else:
        for device in devices:
            tf.config.experimental.set_memory_growth(device, True)


def place(trial: Trial, data: Data) -> Placed:
    """Return the data as tensors on the device."""
    placed = place_arrays(trial, data, TensorFlowTrainer.data_format, tf.constant)
    tf.test.experimental.sync_devices()
    return placed


class TensorFlowTrainer(KerasTrainer):
    """What `fit` and the custom step have in common on TensorFlow."""

    jit_compile = False  # with a GPU, "auto" would be True

    def __init__(self, trial: Trial, data: Placed, weights: Weights, dropout_rate: float) -> None:
        super().__init__(trial, data, weights, dropout_rate)
        images = tf.TensorSpec([None, *data.train_images.shape[1:]], tf.float32)
        labels = tf.TensorSpec([None], tf.int32)
        self._evaluate = tf.function(self._judge, input_signature=[images, labels], jit_compile=self.jit_compile)
        self._infer = tf.function(self._classify, input_signature=[INDICES], jit_compile=self.jit_compile)

    def batch(self, indices: NDArray[Any]) -> tf.Tensor:
        """Return the batch of these training examples."""
        return tf.constant(indices)

    def synchronise(self) -> None:
        """Return when everything given to the device is done."""
        tf.test.experimental.sync_devices()

    def infer(self, batch: tf.Tensor) -> None:
        """Compute the predicted class of each example, and leave it on the device."""
        self._infer(batch)

    def evaluate_batch(self, images: tf.Tensor, labels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Return logits, correct predictions and summed loss of one batch, in evaluation mode."""
        return self._evaluate(images, labels)

    def logits_and_loss(self, batch: tf.Tensor) -> tuple[NDArray[Any], float]:
        """Return logits and mean loss of one batch in training mode."""
        images, labels = self.gather(batch)
        logits = self.model(images, training=True)
        return logits.numpy(), float(self.loss(labels, logits))

    def gradient(self, batch: tf.Tensor) -> Weights:
        """Return the gradient of the mean loss of one batch."""
        return self.canonical(self.loss_and_gradient(*self.gather(batch))[1])

    def update(self, gradient: Weights) -> None:
        """Do one optimizer update with a given gradient."""
        self.optimizer.apply(self.native(gradient), self.model.trainable_variables)

    def report(self) -> dict[str, Any]:
        """Return what the runtime knows of itself."""
        report = {
            "flushes_subnormals": bool(tf.constant(1e-38) * tf.constant(0.01) == 0),
            "threads": tf.config.threading.get_intra_op_parallelism_threads(),
        }
        if self.trial["device"] == "cuda":
            report["device_bytes_used"] = tf.config.experimental.get_memory_info("GPU:0")["peak"]
        return report

    def gather(self, indices: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Return images and labels of these training examples."""
        return tf.gather(self.data.train_images, indices), tf.gather(self.data.train_labels, indices)

    def loss_and_gradient(self, images: tf.Tensor, labels: tf.Tensor) -> tuple[tf.Tensor, list[tf.Tensor]]:
        """Return the mean loss and its gradient for each trainable variable."""
        with tf.GradientTape() as tape:
            loss = self.loss(labels, self.model(images, training=True))
        return loss, tape.gradient(loss, [variable.value for variable in self.model.trainable_variables])

    def _judge(self, images: tf.Tensor, labels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        return self.judged(self.model(images, training=False), labels)

    def _classify(self, indices: tf.Tensor) -> tf.Tensor:
        return tf.argmax(self.model(self.gather(indices)[0], training=False), axis=-1)


class FitTrainer(Fitting, TensorFlowTrainer):
    """Training by `fit`."""

    def __init__(self, trial: Trial, data: Placed, weights: Weights, dropout_rate: float) -> None:
        super().__init__(trial, data, weights, dropout_rate)
        self._gather = tf.function(self.gather, input_signature=[INDICES])

    def dataset(self, batches: Sequence[tf.Tensor]) -> tf.data.Dataset:
        """Return these batches as a tf.data pipeline over indices; all but the last have the same size.

        Everything about it is fixed, so tf.data's tuning has nothing to do. On one core its thread, which looks after
        10 ms, 20 ms, 40 ms and so on, holds up the end of the epoch until it wakes: an epoch of 2.7 s lasted 5.4 s.
        """
        options = tf.data.Options()
        options.autotune.enabled = False
        indices = tf.data.Dataset.from_tensor_slices(tf.concat(batches, axis=0))
        return (
            indices.batch(len(batches[0]), drop_remainder=False)
            .map(self._gather, num_parallel_calls=1, deterministic=True)
            .prefetch(2)
            .with_options(options)
        )


class StepTrainer(TensorFlowTrainer):
    """Training by a compiled step of our own."""

    def __init__(self, trial: Trial, data: Placed, weights: Weights, dropout_rate: float) -> None:
        self._loss_sum = tf.Variable(0.0, trainable=False)
        super().__init__(trial, data, weights, dropout_rate)
        self._step = tf.function(self._train_step, input_signature=[INDICES], jit_compile=self.jit_compile)

    def reset(self, weights: Weights) -> None:
        """Start again from `weights`: fresh optimizer, fresh random state, no loss."""
        super().reset(weights)
        self._loss_sum.assign(0.0)

    def step(self, batch: tf.Tensor) -> None:
        """Do one training step."""
        self._step(batch)

    def take_loss_sum(self) -> float:
        """Return the summed training loss since the last call, and begin a new sum."""
        loss_sum = float(self._loss_sum)
        self._loss_sum.assign(0.0)
        return loss_sum

    def _train_step(self, indices: tf.Tensor) -> None:
        images, labels = self.gather(indices)
        loss, gradient = self.loss_and_gradient(images, labels)
        self.optimizer.apply(gradient, self.model.trainable_variables)
        self._loss_sum.assign_add(loss * tf.cast(tf.size(labels), tf.float32))
