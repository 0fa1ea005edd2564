"""One training step and one evaluation in PyTorch, and what the loop and the gate ask beside them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import _python.trainer
import numpy as np
import torch
from _python.data import Array, Data, Labels, Weights
from _python.trial import Trial
from device import autocast, flushes_subnormals, initialise, memory_format, reason_unsupported, synchronise
from loaders import Encoded, Examples, Resident, default_loader, stream_loader
from model import build_model, canonical_name
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

__all__ = ["Trainer", "initialise", "place", "reason_unsupported"]

COUNTER = "num_batches_tracked"  # in the state of a batch norm; it matters only without a momentum
COMPILED_GRAPHS = 64  # at most, in one process: the gate meets many shapes and models

Batch = Tensor | Examples  # indices of resident examples, or what a loader made of them


@dataclass(frozen=True, slots=True)
class Placed:
    """The data of a trial; test data lie on the device."""

    train: Resident | Encoded
    test_images: Tensor
    test_labels: Tensor


def place(trial: Trial, data: Data) -> Placed:
    """Return the data on the device; labels are int64 because `cross_entropy` asks for it."""
    device = torch.device(trial["device"])
    images, labels = torch.from_numpy(data.train_images), torch.from_numpy(data.train_labels).to(torch.int64)
    streams = trial["loader"] == "stream"
    placed = Placed(
        train=Encoded(trial, images, labels) if streams else Resident(images.to(device), labels.to(device)),
        test_images=torch.from_numpy(data.test_images).to(device),
        test_labels=torch.from_numpy(data.test_labels).to(device, torch.int64),
    )
    synchronise(device)
    return placed


class Trainer(_python.trainer.Trainer[Batch]):
    """Model, optimizer and data of one trial."""

    def __init__(self, trial: Trial, data: Placed, weights: Weights, dropout_rate: float) -> None:
        self.trial = trial
        self.data = data
        self.device = torch.device(trial["device"])
        self.model = build_model(trial, dropout_rate, tuple(data.test_images.shape[1:]))
        self.model.to(self.device, memory_format=memory_format(trial))
        self.parameters = sum(parameter.numel() for parameter in self.model.parameters())
        self.autocast = autocast(trial)
        compiled = trial["variant"] == "compile"
        self.logits_of, self.loss_of = (_compile(f) if compiled else f for f in (logits_of, loss_of))
        self.shuffle = torch.Generator()
        self.loader = stream_loader(trial, data.train, self.shuffle) if isinstance(data.train, Encoded) else None
        self.reset(weights)

    def reset(self, weights: Weights) -> None:
        """Start again from `weights`: fresh optimizer, fresh random state, no loss."""
        self.model.load_state_dict({name: _given(name, weights) for name in self.model.state_dict()})
        self.model.train(self.trial["mode"] != "infer")
        self.optimizer = build_optimizer(self.trial, self.model)
        self.loss_sum = torch.zeros((), device=self.device)
        self.shuffle.manual_seed(self.trial["seed"])
        torch.manual_seed(self.trial["seed"])
        self.synchronise()

    def batch(self, indices: NDArray[np.int32]) -> Tensor:
        """Return the indices on the device; bytes stay in host memory, and so do theirs."""
        placed = torch.from_numpy(indices)
        return placed if self.loader else placed.to(self.device)

    def batches(self, order: NDArray[np.int32]) -> Sequence[Tensor]:
        """Return the indices of one epoch's batches."""
        return self.batch(order).split(self.trial["batch_size"])

    def stream(self, row: int) -> Iterator[Examples]:
        """Yield the batches of one epoch of the loader; each epoch's shuffle follows that of the one before."""
        for images, labels in self.loader:
            yield self._on_device(images, labels)

    def run_steps(self, batches: Iterable[Batch], stops: Sequence[int], mark: Callable[[int], None]) -> None:
        """Do one step for each of `batches`; with the variant `loader` a DataLoader gathers them."""
        if self.trial["variant"] == "loader":
            batches = default_loader(self.data.train, batches)
        super().run_steps(batches, stops, mark)

    def step(self, batch: Batch) -> None:
        """Do one training step."""
        self.optimizer.zero_grad(set_to_none=True)
        _, loss = self._forward(batch)
        loss.backward()
        self.optimizer.step()
        self.loss_sum.add_(loss.detach(), alpha=len(batch))

    def set_learning_rate(self, rate: float) -> None:
        """Train on with another learning rate."""
        for group in self.optimizer.param_groups:
            group["lr"] = rate

    @torch.inference_mode()
    def infer(self, batch: Batch) -> None:
        """Compute the predicted class of each example, in evaluation mode, and leave it on the device."""
        images = self._examples(batch).images
        with self.autocast:
            self.logits_of(self.model, images).argmax(dim=1)

    def synchronise(self) -> None:
        """Return when everything given to the device is done."""
        synchronise(self.device)

    def take_loss_sum(self) -> float:
        """Return the summed training loss since the last call, and begin a new sum."""
        loss_sum = self.loss_sum.item()
        self.loss_sum.zero_()
        return float(loss_sum)

    def predict(self) -> Iterator[Array]:
        """Yield the logits of the test set, batch by batch, in evaluation mode."""
        return map(_array, self._test_logits())

    @torch.inference_mode()
    def evaluate(self) -> tuple[int, int, float]:
        """Return examples, correct predictions and mean loss on the whole test set."""
        correct, loss_sum = torch.zeros((), dtype=torch.int64, device=self.device), torch.zeros((), device=self.device)
        all_labels = self.data.test_labels
        for logits, labels in zip(self._test_logits(), all_labels.split(self.trial["eval_batch_size"]), strict=True):
            correct += (logits.argmax(dim=1) == labels).sum()
            loss_sum += cross_entropy(logits, labels, reduction="sum")
        return len(all_labels), int(correct), float(loss_sum) / len(all_labels)

    def logits_and_loss(self, batch: Batch) -> tuple[Array, float]:
        """Return logits and mean loss of one batch in training mode."""
        logits, loss = self._forward(batch)
        return _array(logits), loss.item()

    def gradient(self, batch: Batch) -> Weights:
        """Return the gradient of the mean loss of one batch."""
        self.optimizer.zero_grad(set_to_none=True)
        self._forward(batch)[1].backward()
        return {canonical_name(name): _array(parameter.grad) for name, parameter in self.model.named_parameters()}

    def update(self, gradient: Weights) -> None:
        """Do one optimizer update with a given gradient, in the layout of its parameter as autograd's are."""
        for name, parameter in self.model.named_parameters():
            given = torch.from_numpy(gradient[canonical_name(name)])
            parameter.grad = torch.empty_like(parameter).copy_(given)
        self.optimizer.step()

    def weights(self) -> Weights:
        """Return a copy of the weights; PyTorch's axes are the canonical ones."""
        return {canonical_name(name): _array(parameter).copy() for name, parameter in self.model.named_parameters()}

    def statistics(self) -> Weights:
        """Return a copy of the running statistics of batch norms."""
        buffers = self.model.named_buffers()
        return {canonical_name(name): _array(buffer).copy() for name, buffer in buffers if not name.endswith(COUNTER)}

    def streamed(self) -> Iterator[tuple[Array, Labels]]:
        """Yield images and labels of one epoch of the loader as the model is given them."""
        for batch in self.stream(0):
            yield _array(batch.images), batch.labels.cpu().numpy().astype(np.int32)

    def report(self) -> dict[str, Any]:
        """Return what the runtime knows of itself."""
        report = {"flushes_subnormals": flushes_subnormals(), "threads": torch.get_num_threads()}
        if self.device.type == "cuda":
            report["device_bytes_used"] = torch.cuda.max_memory_allocated()
            report["device_bytes_reserved"] = torch.cuda.max_memory_reserved()
        return report

    def _forward(self, batch: Batch) -> tuple[Tensor, Tensor]:
        examples = self._examples(batch)
        with self.autocast:
            return self.loss_of(self.model, examples.images, examples.labels)

    @torch.inference_mode()
    def _test_logits(self) -> Iterator[Tensor]:
        self.model.eval()
        for images in self.data.test_images.split(self.trial["eval_batch_size"]):
            with self.autocast:
                logits = self.logits_of(self.model, images)
            yield logits
        self.model.train()

    def _examples(self, batch: Batch) -> Examples:
        return batch if isinstance(batch, Examples) else self._on_device(*self.data.train[batch])

    def _on_device(self, images: Tensor, labels: Tensor) -> Examples:
        return Examples(images.to(self.device, non_blocking=True), labels.to(self.device, non_blocking=True))


def logits_of(model: nn.Module, images: Tensor) -> Tensor:
    """Return the logits, in float32 whatever they were computed in."""
    return model(images).float()


def loss_of(model: nn.Module, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Return logits and mean loss, both in float32."""
    logits = logits_of(model, images)
    return logits, cross_entropy(logits, labels, reduction="mean")


def build_optimizer(trial: Trial, model: nn.Module) -> torch.optim.Optimizer:
    """Return the optimizer with every hyperparameter given; fused: one kernel over all parameters."""
    common = {"lr": trial["optimizer.learning_rate"], "weight_decay": trial["optimizer.weight_decay"], "fused": True}
    if trial["optimizer"] == "sgd":
        momentum = trial["optimizer.momentum"]
        return torch.optim.SGD(model.parameters(), momentum=momentum, dampening=0.0, nesterov=False, **common)
    return {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[trial["optimizer"]](
        model.parameters(),
        betas=(trial["optimizer.beta1"], trial["optimizer.beta2"]),
        eps=trial["optimizer.epsilon"],
        amsgrad=False,
        **common,
    )


def _compile(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return `function` compiled by Inductor: whole graphs, one for each shape."""
    return torch.compile(
        function, fullgraph=True, dynamic=False, backend="inductor", mode="default", recompile_limit=COMPILED_GRAPHS
    )


def _given(name: str, weights: Weights) -> Tensor:
    return (
        torch.zeros((), dtype=torch.int64)
        if name.endswith(COUNTER)
        else torch.from_numpy(weights[canonical_name(name)])
    )


def _array(tensor: Tensor | None) -> Array:
    assert tensor is not None
    array: Array = tensor.detach().cpu().numpy()
    return array
