"""What each runner's train.py must offer.

- `Trainer`: a class that derives from the one below;
- `initialise(trial)`: import the framework and set it up (threads, device, precision), before `import_stop`; called
  once in a process, even where it works on several trials of mode `gate`;
- `reason_unsupported(trial)`, optional: why this machine cannot do what others can, or an empty string;
- `place(trial, data)`: put the data on the device, synchronised, before `preprocess_stop`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
from typing import Any, Protocol, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from _python.data import Array, Data, Labels, Weights
from _python.schedule import batch_slices
from _python.trial import Trial

Placed: TypeAlias = Any  # the data as the framework holds them
Batch = TypeVar("Batch", bound=Sized)  # what one step trains on: indices, or images with labels from the loader


class Framework(Protocol):
    """A runner's module train.py."""

    Trainer: type[Trainer[Any]]

    def initialise(self, trial: Trial) -> None: ...

    def place(self, trial: Trial, data: Data) -> Placed: ...


class Trainer(Protocol[Batch]):
    """Model, optimizer and resident data of one trial."""

    trial: Trial
    parameters: int  # trainable parameters, counted on the model

    def __init__(self, trial: Trial, data: Placed, weights: Weights, dropout_rate: float) -> None:
        """Build model and optimizer; `data` is what `place` returned, `weights` has running statistics too."""

    def reset(self, weights: Weights) -> None:
        """Start again from `weights`: fresh optimizer, fresh random state, no loss."""

    def batch(self, indices: NDArray[np.int32]) -> Batch:
        """Return the batch of these training examples."""

    def batches(self, order: NDArray[np.int32]) -> Sequence[Batch]:
        """Return the batches of one epoch, in order."""
        return [self.batch(order[cut]) for cut in batch_slices(len(order), self.trial["batch_size"])]

    def stream(self, row: int) -> Iterator[Batch]:
        """Yield the batches of epoch `row`, from 0, that the framework's own loader makes (loader `stream` only)."""

    def step(self, batch: Batch) -> None:
        """Do one training step and add its loss, times its examples, to the sum on the device."""

    def run_steps(self, batches: Iterable[Batch], stops: Sequence[int], mark: Callable[[int], None]) -> None:
        """Do one step for each of `batches`; after each number of steps in `stops` synchronise and call `mark`.

        The last of `stops` is the number of batches. A high-level loop that owns its steps replaces this.
        """
        due = set(stops)
        for done, batch in enumerate(batches, start=1):
            self.step(batch)
            if done in due:
                self.synchronise()
                mark(done)

    def set_learning_rate(self, rate: float) -> None:
        """Train on with another learning rate (schedule `cosine` only)."""

    def infer(self, batch: Batch) -> None:
        """Compute the predicted class of each example, in evaluation mode, and leave it on the device."""

    def synchronise(self) -> None:
        """Return when everything given to the device is done."""

    def take_loss_sum(self) -> float:
        """Return the summed training loss since the last call, and begin a new sum."""

    def predict(self) -> Iterable[Any]:
        """Yield the logits of the test set, batch by batch, in evaluation mode; each is valid until the next."""

    def evaluate(self) -> tuple[int, int, float]:
        """Return examples, correct predictions and mean loss on the whole test set."""

    def logits_and_loss(self, batch: Batch) -> tuple[NDArray[Any], float]:
        """Return logits and mean loss of one batch in training mode; the weights stay, and masks are new each time."""

    def gradient(self, batch: Batch) -> Weights:
        """Return the gradient of the mean loss of one batch, without weight decay (gate B)."""

    def update(self, gradient: Weights) -> None:
        """Do one optimizer update with a given gradient (gate C)."""

    def weights(self) -> Weights:
        """Return the trainable weights in the canonical layout."""

    def statistics(self) -> Weights:
        """Return the running statistics of batch norms, `<norm>.running_mean` and `<norm>.running_var` (gate E)."""
        return {}

    def streamed(self) -> Iterator[tuple[Array, Labels]]:
        """Yield images and labels of one epoch of the loader as the model is given them (gate L)."""

    def report(self) -> dict[str, Any]:
        """Return what the runtime knows of itself: the optional fields of run_stop."""
