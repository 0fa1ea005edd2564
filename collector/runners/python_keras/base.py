"""What all backends have in common: model, loss, optimizer and evaluation, and the way of `fit`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, ClassVar, NamedTuple

import _python.trainer
import keras
import numpy as np
from _python.data import Data, Weights
from _python.schedule import batch_slices
from _python.trial import Trial
from layout import Layout
from model import Kit, build_model
from numpy.typing import NDArray
from optimizer import build_optimizer, restart, set_learning_rate

Tensor = Any  # of the backend
Indices = Any  # an array or tensor of a batch's training examples: what the backend gathers fastest by
Dataset = Any  # what `fit` takes batches from


class Placed(NamedTuple):
    """The data on the device."""

    train_images: Tensor
    train_labels: Tensor
    test_batches: list[tuple[Tensor, Tensor]]


def place(trial: Trial, data: Data, data_format: str, put: Callable[[NDArray[Any]], Tensor]) -> Placed:
    """Return the data on the device, the test set cut into its batches; `put` brings one array there."""

    def formatted(images: NDArray[Any]) -> NDArray[Any]:
        return np.ascontiguousarray(images.transpose(0, 2, 3, 1)) if data_format == "channels_last" else images

    test_images, cuts = formatted(data.test_images), batch_slices(len(data.test_labels), trial["eval_batch_size"])
    return Placed(
        train_images=put(formatted(data.train_images)),
        train_labels=put(data.train_labels),
        test_batches=[(put(test_images[cut]), put(data.test_labels[cut])) for cut in cuts],
    )


class KerasTrainer(_python.trainer.Trainer[Indices]):
    """Model, optimizer and resident data of one trial; a subclass for each backend computes."""

    data_format: ClassVar[str] = "channels_last"
    jit_compile: ClassVar[bool]  # what "auto" means with this backend
    draws_from_layer: ClassVar[bool] = True  # dropout has a seed of its own

    def __init__(self, trial: Trial, data: Placed, weights: Weights, dropout_rate: float) -> None:
        self.trial = trial
        self.data = data
        seed = trial["seed"] if self.draws_from_layer else None
        kit = Kit(trial=trial, dropout_rate=dropout_rate, data_format=self.data_format, dropout_seed=seed)
        self.model = build_model(kit, tuple(data.train_images.shape[1:]))
        self.layout = Layout(self.model, self.data_format)
        self.loss = keras.losses.SparseCategoricalCrossentropy(
            from_logits=True, ignore_class=None, reduction="sum_over_batch_size", dtype="float32"
        )
        self.optimizer = build_optimizer(trial)
        self.optimizer.build(self.model.trainable_variables)
        self.parameters = sum(int(np.prod(variable.shape)) for variable in self.model.trainable_variables)
        self.names = _names(self.layout, self.model.trainable_variables)
        self.reset(weights)

    def reset(self, weights: Weights) -> None:
        """Start again from `weights`: fresh optimizer, fresh random state, no loss."""
        keras.utils.set_random_seed(self.trial["seed"])
        for layer in self.model.layers:
            if isinstance(layer, keras.layers.Dropout) and self.draws_from_layer:
                layer.seed_generator.state.assign([self.trial["seed"], 0])
        for name, variable in self.layout.variables.items():
            variable.assign(self.layout.to_keras(name, weights[name]))
        restart(self.optimizer, self.trial["optimizer.learning_rate"])
        self.loss_sum = 0.0

    def set_learning_rate(self, rate: float) -> None:
        """Train on with another learning rate."""
        set_learning_rate(self.optimizer, rate)

    def take_loss_sum(self) -> float:
        """Return the summed training loss since the last call, and begin a new sum."""
        loss_sum, self.loss_sum = float(self.loss_sum), 0.0
        return loss_sum

    def predict(self) -> Iterator[Tensor]:
        """Yield the logits of the test set, batch by batch, in evaluation mode."""
        for images, labels in self.data.test_batches:
            yield self.evaluate_batch(images, labels)[0]

    def evaluate(self) -> tuple[int, int, float]:
        """Return examples, correct predictions and mean loss on the whole test set."""
        results = [self.evaluate_batch(*batch) for batch in self.data.test_batches]
        examples = sum(len(labels) for _, labels in self.data.test_batches)
        _, correct, loss_sums = zip(*results, strict=True)
        return examples, sum(map(int, correct)), sum(map(float, loss_sums)) / examples

    def evaluate_batch(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return logits, correct predictions and summed loss of one batch, in evaluation mode."""
        raise NotImplementedError

    def judged(self, logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return logits, correct predictions and summed loss; backends compile it into `evaluate_batch`."""
        correct = keras.ops.sum(keras.ops.equal(keras.ops.argmax(logits, axis=-1), keras.ops.cast(labels, "int32")))
        return logits, correct, self.loss(labels, logits) * len_of(labels)

    def weights(self) -> Weights:
        """Return the trainable weights in the canonical layout."""
        return {name: array for name, array in self._arrays().items() if name in set(self.names)}

    def statistics(self) -> Weights:
        """Return the running statistics of batch norms."""
        return {name: array for name, array in self._arrays().items() if name not in set(self.names)}

    def canonical(self, tensors: Sequence[Tensor]) -> Weights:
        """Return what belongs to the trainable variables, in their order, in the canonical layout."""
        arrays = map(keras.ops.convert_to_numpy, tensors)
        return {name: self.layout.to_canonical(name, array) for name, array in zip(self.names, arrays, strict=True)}

    def native(self, gradient: Weights) -> list[Tensor]:
        """Return the inverse of `canonical`."""
        return [keras.ops.convert_to_tensor(self.layout.to_keras(name, gradient[name])) for name in self.names]

    def _arrays(self) -> Weights:
        return {
            name: self.layout.to_canonical(name, keras.ops.convert_to_numpy(variable))
            for name, variable in self.layout.variables.items()
        }


def len_of(labels: Tensor) -> Tensor:
    """Return the number of examples, as a float; known when TensorFlow runs a graph, not when it traces it."""
    return keras.ops.cast(keras.ops.shape(labels)[0], "float32")


def _names(layout: Layout, variables: Sequence[keras.Variable]) -> list[str]:
    names = {id(variable): name for name, variable in layout.variables.items()}
    return [names[id(variable)] for variable in variables]


class Fitting(KerasTrainer):
    """Training by `fit`: one call for each run of steps, with the order given."""

    def __init__(self, trial: Trial, data: Placed, weights: Weights, dropout_rate: float) -> None:
        super().__init__(trial, data, weights, dropout_rate)
        self.model.compile(
            optimizer=self.optimizer,
            loss=self.loss,
            loss_weights=None,
            metrics=None,
            weighted_metrics=None,
            run_eagerly=False,
            steps_per_execution=1,
            jit_compile=self.jit_compile,
            auto_scale_loss=False,
        )

    def dataset(self, batches: Sequence[Indices]) -> Dataset:
        """Return these batches in what `fit` takes them from fastest."""
        raise NotImplementedError

    def step(self, batch: Indices) -> None:
        """Do one training step."""
        self.run_steps([batch], [1], lambda _: None)

    def run_steps(self, batches: Iterable[Indices], stops: Sequence[int], mark: Callable[[int], None]) -> None:
        """Fit these batches, in their order; Keras's own mean of the loss weighs each batch by its examples."""
        batches = list(batches)
        history = self.model.fit(
            x=self.dataset(batches),
            epochs=1,
            shuffle=False,
            verbose=0,
            callbacks=[Marker(stops, self.synchronise, mark)],
        )
        self.loss_sum += history.history["loss"][0] * sum(map(len, batches))


class Marker(keras.callbacks.Callback):
    """Synchronises and calls `mark` after each number of steps in `stops`."""

    def __init__(self, stops: Iterable[int], synchronise: Callable[[], None], mark: Callable[[int], None]) -> None:
        super().__init__()
        self._due = set(stops)
        self._synchronise = synchronise
        self._mark = mark

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        """See the class; `batch` counts from 0."""
        if batch + 1 in self._due:
            self._synchronise()
            self._mark(batch + 1)
