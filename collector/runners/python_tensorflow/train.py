"""One training step and one evaluation in TensorFlow, and what the loop and the gate ask beside them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf
from _python.data import Array, Data, Labels, Weights
from _python.schedule import batch_slices
from _python.trainer import Trainer as BaseTrainer
from _python.trial import Trial
from loader import Examples, Loader
from model import Pass, canonical, logits_of, native
from numpy.typing import NDArray
from optimizer import Optimizer

Batch = tf.Tensor | Examples  # indices into the resident data, or what the loader made


@dataclass(frozen=True, slots=True)
class TensorData:
    """The data as tensors, images NHWC; the test set is cut into its batches."""

    train_images: tf.Tensor
    train_labels: tf.Tensor
    test_batches: list[tuple[tf.Tensor, tf.Tensor]]


def initialise(trial: Trial) -> None:
    """Set threads, device and precision; a device that is missing raises, and is never replaced by the CPU."""
    tf.config.threading.set_intra_op_parallelism_threads(trial["threads"])
    tf.config.threading.set_inter_op_parallelism_threads(1)
    tf.config.experimental.enable_tensor_float_32_execution(trial["dtype"] == "tf32")
    gpus = tf.config.list_physical_devices("GPU")
    if trial["device"] == "cpu":
        tf.config.set_visible_devices([], "GPU")
    elif not gpus:
        raise RuntimeError("device: got cuda; TensorFlow has no such device here")
    for gpu in gpus:
        tf.config.experimental.set_memory_growth(gpu, enable=True)


def place(trial: Trial, data: Data) -> TensorData:
    """Return the data as tensors on the device; the bytes of the loader `stream` stay on the host."""
    with tf.device("CPU:0" if trial["loader"] == "stream" else None):
        train_images, train_labels = tf.constant(_nhwc(data.train_images)), tf.constant(data.train_labels)
    cuts = batch_slices(len(data.test_labels), trial["eval_batch_size"])
    placed = TensorData(
        train_images=train_images,
        train_labels=train_labels,
        test_batches=[(tf.constant(_nhwc(data.test_images[cut])), tf.constant(data.test_labels[cut])) for cut in cuts],
    )
    tf.test.experimental.sync_devices()
    return placed


class Trainer(BaseTrainer[Batch]):
    """Model, optimizer and data of one trial."""

    def __init__(self, trial: Trial, data: TensorData, weights: Weights, dropout_rate: float) -> None:
        self.trial = trial
        self.data = data
        self.dropout_rate = dropout_rate
        self.streams = trial["loader"] == "stream"
        self.variables = {name: tf.Variable(native(trial, name, array)) for name, array in weights.items()}
        self.trainable = {name: self.variables[name] for name in weights if ".running_" not in name}
        self.parameters = sum(int(np.prod(variable.shape)) for variable in self.trainable.values())
        self.optimizer = Optimizer(trial, self.trainable)
        self.loss_sum = tf.Variable(0.0, trainable=False)
        self.masks = tf.Variable(0, dtype=tf.int64, trainable=False)  # drawn since the last reset
        self._build_functions()
        self.reset(weights)

    def reset(self, weights: Weights) -> None:
        """Start again from `weights`: fresh optimizer, fresh random state, no loss."""
        for name, array in weights.items():
            self.variables[name].assign(native(self.trial, name, array))
        self.optimizer.reset()
        self.loss_sum.assign(0.0)
        self.masks.assign(0)
        if self.streams:
            self.loader = Loader(self.trial, self.data.train_images, self.data.train_labels)
        self.synchronise()

    def batch(self, indices: NDArray[np.int32]) -> Batch:
        """Return the batch of these training examples."""
        return Examples(*self.loader.decode(indices)) if self.streams else tf.constant(indices)

    def stream(self, row: int) -> Iterator[Batch]:
        """Yield the batches of the next epoch of tf.data."""
        return self.loader.epoch()

    def step(self, batch: Batch) -> None:
        """Do one training step."""
        self._step(*_arguments(batch))

    def set_learning_rate(self, rate: float) -> None:
        """Train on with another learning rate."""
        self.optimizer.rate.assign(rate)

    def infer(self, batch: Batch) -> None:
        """Compute the predicted class of each example, in evaluation mode, and leave it on the device."""
        self.predicted = self._infer(*_arguments(batch))

    def synchronise(self) -> None:
        """Return when everything given to the device is done."""
        tf.test.experimental.sync_devices()

    def take_loss_sum(self) -> float:
        """Return the summed training loss since the last call, and begin a new sum."""
        loss_sum = float(self.loss_sum)
        self.loss_sum.assign(0.0)
        return loss_sum

    def predict(self) -> Iterator[Array]:
        """Yield the logits of the test set, batch by batch, in evaluation mode."""
        for images, labels in self.data.test_batches:
            yield self._evaluate(images, labels)[0].numpy()

    def evaluate(self) -> tuple[int, int, float]:
        """Return examples, correct predictions and mean loss on the whole test set."""
        results = [self._evaluate(*batch)[1:] for batch in self.data.test_batches]
        examples = sum(len(labels) for _, labels in self.data.test_batches)
        correct, loss_sums = zip(*results, strict=True)
        return examples, sum(map(int, correct)), sum(map(float, loss_sums)) / examples

    def logits_and_loss(self, batch: Batch) -> tuple[Array, float]:
        """Return logits and mean loss of one batch in training mode; the running statistics stay too."""
        logits, loss = self._logits_and_loss(*_arguments(batch))
        return logits.numpy(), float(loss)

    def gradient(self, batch: Batch) -> Weights:
        """Return the gradient of the mean loss of one batch."""
        return self._canonical(self._gradient(*_arguments(batch)))

    def update(self, gradient: Weights) -> None:
        """Do one optimizer update with a given gradient."""
        self._update({name: tf.constant(native(self.trial, name, gradient[name])) for name in self.trainable})

    def weights(self) -> Weights:
        """Return the trainable weights in the canonical layout."""
        return self._canonical(self.trainable)

    def statistics(self) -> Weights:
        """Return the running statistics of batch norms."""
        return self._canonical({name: self.variables[name] for name in self.variables.keys() - self.trainable.keys()})

    def streamed(self) -> Iterator[tuple[Array, Labels]]:
        """Yield images and labels of one epoch of the loader as the model is given them."""
        for batch in self.loader.epoch():
            yield batch.images.numpy().transpose(0, 3, 1, 2), batch.labels.numpy()

    def report(self) -> dict[str, Any]:
        """Return what the runtime knows of itself."""
        report = {
            "flushes_subnormals": _flushes_subnormals(),
            "threads": tf.config.threading.get_intra_op_parallelism_threads(),
        }
        if self.trial["device"] == "cuda":
            report["device_bytes_used"] = tf.config.experimental.get_memory_info("GPU:0")["peak"]
        return report

    def _build_functions(self) -> None:
        """Trace nothing yet; the signatures leave the number of examples open, so that each is traced once."""
        images, labels = (
            tf.TensorSpec([None, *self.data.test_batches[0][0].shape[1:]], tf.float32),
            tf.TensorSpec([None], tf.int32),
        )
        batch = [images, labels] if self.streams else [tf.TensorSpec([None], tf.int32)]
        gradient = [{name: tf.TensorSpec(variable.shape) for name, variable in self.trainable.items()}]
        self._step = self._function(self._trace_step, batch)
        self._infer = self._function(self._trace_inference, batch)
        self._evaluate = self._function(self._trace_evaluation, [images, labels])
        self._logits_and_loss = self._function(self._trace_logits_and_loss, batch)
        self._gradient = self._function(self._trace_gradient, batch)
        self._update = self._function(self.optimizer.apply, gradient)

    def _function(self, trace: Callable[..., Any], signature: Sequence[Any]) -> Callable[..., Any]:
        compiled = self.trial["variant"] == "xla"
        return tf.function(trace, input_signature=signature, autograph=False, jit_compile=compiled)

    def _trace_step(self, *batch: tf.Tensor) -> None:
        gradient, loss, statistics = self._differentiate(batch)
        self.optimizer.apply(gradient)
        for name, statistic in statistics.items():
            self.variables[name].assign(statistic, read_value=False)
        examples = tf.cast(tf.shape(batch[-1])[0], tf.float32)
        self.loss_sum.assign_add(loss * examples, read_value=False)

    def _trace_gradient(self, *batch: tf.Tensor) -> dict[str, tf.Tensor]:
        return self._differentiate(batch)[0]

    def _trace_logits_and_loss(self, *batch: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        logits, loss, _ = self._forward(batch)
        return logits, loss

    def _trace_inference(self, *batch: tf.Tensor) -> tf.Tensor:
        images, _ = self._examples(batch)
        return tf.math.argmax(logits_of(self._pass(None), images), axis=1)

    def _trace_evaluation(self, images: tf.Tensor, labels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        logits = logits_of(self._pass(None), images)
        correct = tf.math.equal(tf.math.argmax(logits, axis=1, output_type=tf.int32), labels)
        return logits, tf.math.count_nonzero(correct), tf.math.reduce_sum(_cross_entropy(labels, logits))

    def _differentiate(
        self, batch: Sequence[tf.Tensor]
    ) -> tuple[dict[str, tf.Tensor], tf.Tensor, dict[str, tf.Tensor]]:
        """Return gradient, mean loss and running statistics of one training pass."""
        with tf.GradientTape() as tape:
            _, loss, statistics = self._forward(batch)
        return tape.gradient(loss, self.trainable), loss, statistics

    def _forward(self, batch: Sequence[tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor, dict[str, tf.Tensor]]:
        """Return logits, mean loss and running statistics of one training pass."""
        images, labels = self._examples(batch)
        ops = self._pass(tf.stack([self.trial["seed"], self.masks.assign_add(1)]))
        logits = logits_of(ops, images)
        return logits, tf.math.reduce_mean(_cross_entropy(labels, logits)), ops.statistics

    def _examples(self, batch: Sequence[tf.Tensor]) -> Sequence[tf.Tensor]:
        """Return images and labels of a batch of indices, or those that the loader made."""
        if self.streams:
            return batch
        return tf.gather(self.data.train_images, batch[0]), tf.gather(self.data.train_labels, batch[0])

    def _pass(self, dropout_seed: tf.Tensor | None) -> Pass:
        return Pass(
            variables=self.variables, trial=self.trial, dropout_rate=self.dropout_rate, dropout_seed=dropout_seed
        )

    def _canonical(self, tensors: dict[str, Any]) -> Weights:
        return {name: canonical(self.trial, name, tensor.numpy()) for name, tensor in tensors.items()}


def _arguments(batch: Batch) -> tuple[tf.Tensor, ...]:
    return (batch.images, batch.labels) if isinstance(batch, Examples) else (batch,)


def _cross_entropy(labels: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    return tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits)


def _nhwc(images: NDArray[Any]) -> NDArray[Any]:
    return np.ascontiguousarray(images.transpose(0, 2, 3, 1))


@tf.function(autograph=False)
def _product(left: tf.Tensor, right: tf.Tensor) -> tf.Tensor:
    return left * right


def _flushes_subnormals() -> bool:
    return bool(_product(tf.constant(1e-38), tf.constant(0.01)) == 0)
