"""What each runner's train.py must offer.

- `Trainer`: a class with the hooks of loop.py and gate.py, as below;
- `initialise(trial)`: import the framework and set it up (threads, device, precision), before `import_stop`;
- `place(trial, data)`: put the standardised data on the device, synchronised, before `preprocess_stop`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence, Sized
from typing import Any, Protocol, TypeVar

from numpy.typing import NDArray

from _python.data import Data, Weights
from _python.trial import Trial

Batch = TypeVar("Batch", bound=Sized)  # the indices of one batch, in whatever array the framework gathers by


class Trainer(Protocol[Batch]):
    """Model, optimizer and resident data of one trial."""

    parameters: int  # trainable parameters, counted on the model

    def __init__(self, trial: Trial, data: Data, weights: Weights, dropout_rate: float) -> None: ...

    def reset(self, weights: Weights) -> None:
        """Start again from `weights`: fresh optimizer, fresh random state, no loss."""

    def batches(self, row: int) -> Sequence[Batch]:
        """Return the batches of one epoch, in order."""

    def step(self, batch: Batch) -> None:
        """Do one training step and add its loss, times its examples, to the sum on the device."""

    def synchronise(self) -> None:
        """Return when everything given to the device is done."""

    def take_loss_sum(self) -> float:
        """Return the summed training loss since the last call, and begin a new sum."""

    def predict(self) -> Iterable[Any]:
        """Yield the logits of the test set, batch by batch, in evaluation mode; each is valid until the next."""

    def evaluate(self) -> tuple[int, int, float]:
        """Return examples, correct predictions and mean loss on the whole test set."""

    def logits_and_loss(self, batch: Batch) -> tuple[NDArray[Any], float]:
        """Return logits and mean loss of one batch in training mode; the weights stay (gate A)."""

    def gradient(self, batch: Batch) -> Weights:
        """Return the gradient of the mean loss of one batch, without weight decay (gate B)."""

    def update(self, gradient: Weights) -> None:
        """Do one optimizer update with a given gradient (gate C)."""

    def weights(self) -> Weights:
        """Return the weights in the canonical layout."""

    def report(self) -> dict[str, Any]:
        """Return what the runtime knows of itself: the optional fields of run_stop."""
