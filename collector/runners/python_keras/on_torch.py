"""Keras on PyTorch: `fit` over a DataLoader, and a training step as the Keras guides write it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from _python.data import Data, Weights
from _python.trial import Trial
from base import Fitting, KerasTrainer, Placed
from base import place as place_arrays
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset


def initialise(trial: Trial) -> None:
    """Set threads and precision; the device is set by `train.initialise`, before Keras is imported."""
    torch.set_num_threads(trial["threads"])
    torch.set_num_interop_threads(1)
    torch.set_flush_denormal(True)
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    if trial["device"] == "cuda" and not torch.cuda.is_available():
        raise RuntimeError("device: got cuda; PyTorch has no such device here")


def place(trial: Trial, data: Data) -> Placed:
    """Return the data as tensors on the device."""
    device = torch.device(trial["device"])
    placed = place_arrays(trial, data, TorchTrainer.data_format, lambda array: torch.from_numpy(array).to(device))
    _synchronise()
    return placed


class TorchTrainer(KerasTrainer):
    """What `fit` and the custom step have in common on PyTorch."""

    jit_compile = False
    draws_from_layer = False  # without a seed of its own a layer calls PyTorch's dropout, else a slow one of Keras

    def batch(self, indices: NDArray[Any]) -> Tensor:
        """Return the batch of these training examples."""
        return torch.from_numpy(indices).to(self.trial["device"])

    def synchronise(self) -> None:
        """Return when everything given to the device is done."""
        _synchronise()

    @torch.no_grad()
    def infer(self, batch: Tensor) -> None:
        """Compute the predicted class of each example, and leave it on the device."""
        self.model(self.gather(batch)[0], training=False).argmax(dim=1)

    @torch.no_grad()
    def evaluate_batch(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return logits, correct predictions and summed loss of one batch, in evaluation mode."""
        return self.judged(self.model(images, training=False), labels)

    @torch.no_grad()
    def logits_and_loss(self, batch: Tensor) -> tuple[NDArray[Any], float]:
        """Return logits and mean loss of one batch in training mode."""
        images, labels = self.gather(batch)
        logits = self.model(images, training=True)
        return logits.cpu().numpy(), float(self.loss(labels, logits))

    def gradient(self, batch: Tensor) -> Weights:
        """Return the gradient of the mean loss of one batch."""
        return self.canonical(self.loss_and_gradient(batch)[1])

    def update(self, gradient: Weights) -> None:
        """Do one optimizer update with a given gradient."""
        with torch.no_grad():
            self.optimizer.apply(self.native(gradient), self.model.trainable_variables)

    def report(self) -> dict[str, Any]:
        """Return what the runtime knows of itself."""
        report = {
            "flushes_subnormals": bool(torch.tensor(1e-38) * 0.01 == 0),
            "threads": torch.get_num_threads(),
        }
        if self.trial["device"] == "cuda":
            report["device_bytes_used"] = torch.cuda.max_memory_allocated()
            report["device_bytes_reserved"] = torch.cuda.max_memory_reserved()
        return report

    def gather(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        """Return images and labels of these training examples."""
        return self.data.train_images.index_select(0, indices), self.data.train_labels.index_select(0, indices)

    def loss_and_gradient(self, batch: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Return the mean loss and its gradient for each trainable variable."""
        images, labels = self.gather(batch)
        self.model.zero_grad()
        loss = self.loss(labels, self.model(images, training=True))
        loss.backward()
        return loss.detach(), [variable.value.grad for variable in self.model.trainable_variables]


class FitTrainer(Fitting, TorchTrainer):
    """Training by `fit`."""

    def dataset(self, batches: Sequence[Tensor]) -> DataLoader:
        """Return a DataLoader that gathers whole batches by their indices."""
        examples = TensorDataset(self.data.train_images, self.data.train_labels)
        return DataLoader(examples, batch_size=None, sampler=batches, num_workers=0, pin_memory=False)


class StepTrainer(TorchTrainer):
    """Training by a step of our own."""

    def step(self, batch: Tensor) -> None:
        """Do one training step."""
        loss, gradient = self.loss_and_gradient(batch)
        with torch.no_grad():
            self.optimizer.apply(gradient, self.model.trainable_variables)
        self.loss_sum += loss * len(batch)


def _synchronise() -> None:
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()
