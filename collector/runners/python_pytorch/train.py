"""One training step and one evaluation in PyTorch, and what the loop and the gate ask beside them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from _python.data import Array, Data, Weights
from _python.trial import Trial
from model import build_model
from torch import Tensor, nn
from torch.nn.functional import cross_entropy


@dataclass(frozen=True, slots=True)
class TensorData:
    """The fields of `_python.data.Data` as tensors on the device."""

    train_images: Tensor
    train_labels: Tensor
    test_images: Tensor
    test_labels: Tensor
    order: Tensor


def initialise(trial: Trial) -> None:
    """Set threads, device and precision; a device that is missing raises, and is never replaced by the CPU."""
    torch.set_num_threads(trial["threads"])
    torch.set_num_interop_threads(1)
    torch.set_flush_denormal(True)  # subnormals late in MNIST cost up to 15 %
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    if trial["device"] == "cuda" and not torch.cuda.is_available():
        raise RuntimeError("device: got cuda; PyTorch has no such device here")


def place(trial: Trial, data: Data) -> TensorData:
    """Return the data as tensors on the device; labels are int64 because `cross_entropy` asks for it."""
    device = torch.device(trial["device"])
    placed = TensorData(
        train_images=torch.from_numpy(data.train_images).to(device),
        train_labels=torch.from_numpy(data.train_labels).to(device, torch.int64),
        test_images=torch.from_numpy(data.test_images).to(device),
        test_labels=torch.from_numpy(data.test_labels).to(device, torch.int64),
        order=torch.from_numpy(data.order).to(device),
    )
    _synchronise(device)
    return placed


class Trainer:
    """Model, optimizer and resident data of one trial."""

    def __init__(self, trial: Trial, data: TensorData, weights: Weights, dropout_rate: float) -> None:
        self.trial = trial
        self.data = data
        self.device = torch.device(trial["device"])
        self.model = build_model(trial, dropout_rate).to(self.device)
        self.parameters = sum(parameter.numel() for parameter in self.model.parameters())
        self.reset(weights)

    def reset(self, weights: Weights) -> None:
        """Start again from `weights`: fresh optimizer, fresh random state, no loss."""
        self.model.load_state_dict({name: torch.from_numpy(array) for name, array in weights.items()})
        self.model.train()
        self.optimizer = build_optimizer(self.trial, self.model)
        self.loss_sum = torch.zeros((), device=self.device)
        torch.manual_seed(self.trial["seed"])
        self.synchronise()

    def batches(self, row: int) -> Sequence[Tensor]:
        """Return the indices of one epoch's batches."""
        batches: Sequence[Tensor] = self.data.order[row].split(self.trial["batch_size"])
        return batches

    def step(self, batch: Tensor) -> None:
        """Do one training step."""
        self.optimizer.zero_grad(set_to_none=True)
        _, loss = self._forward(batch)
        loss.backward()
        self.optimizer.step()
        self.loss_sum.add_(loss.detach(), alpha=len(batch))

    def synchronise(self) -> None:
        """Return when everything given to the device is done."""
        _synchronise(self.device)

    def take_loss_sum(self) -> float:
        """Return the summed training loss since the last call, and begin a new sum."""
        loss_sum = self.loss_sum.item()
        self.loss_sum.zero_()
        return float(loss_sum)

    @torch.inference_mode()
    def predict(self) -> Iterator[Tensor]:
        """Yield the logits of the test set, batch by batch, in evaluation mode."""
        self.model.eval()
        for images in self.data.test_images.split(self.trial["eval_batch_size"]):
            yield self.model(images)
        self.model.train()

    @torch.inference_mode()
    def evaluate(self) -> tuple[int, int, float]:
        """Return examples, correct predictions and mean loss on the whole test set."""
        correct, loss_sum = torch.zeros((), dtype=torch.int64, device=self.device), torch.zeros((), device=self.device)
        all_labels = self.data.test_labels
        for logits, labels in zip(self.predict(), all_labels.split(self.trial["eval_batch_size"]), strict=True):
            correct += (logits.argmax(dim=1) == labels).sum()
            loss_sum += cross_entropy(logits, labels, reduction="sum")
        return len(all_labels), int(correct), float(loss_sum) / len(all_labels)

    @torch.no_grad()
    def logits_and_loss(self, batch: Tensor) -> tuple[Array, float]:
        """Return logits and mean loss of one batch in training mode."""
        logits, loss = self._forward(batch)
        return _array(logits), float(loss)

    def gradient(self, batch: Tensor) -> Weights:
        """Return the gradient of the mean loss of one batch."""
        self.optimizer.zero_grad(set_to_none=True)
        self._forward(batch)[1].backward()
        return {name: _array(parameter.grad) for name, parameter in self.model.named_parameters()}

    def update(self, gradient: Weights) -> None:
        """Do one optimizer update with a given gradient."""
        for name, parameter in self.model.named_parameters():
            parameter.grad = torch.from_numpy(gradient[name]).to(self.device)
        self.optimizer.step()

    def weights(self) -> Weights:
        """Return a copy of the weights; PyTorch's layout is the canonical one."""
        return {name: _array(parameter).copy() for name, parameter in self.model.named_parameters()}

    def report(self) -> dict[str, Any]:
        """Return what the runtime knows of itself."""
        report = {"flushes_subnormals": _flushes_subnormals(), "threads": torch.get_num_threads()}
        if self.device.type == "cuda":
            report["device_bytes_used"] = torch.cuda.max_memory_allocated()
            report["device_bytes_reserved"] = torch.cuda.max_memory_reserved()
        return report

    def _forward(self, batch: Tensor) -> tuple[Tensor, Tensor]:
        images = self.data.train_images.index_select(0, batch)  # 5 % of a step faster than images[batch]
        labels = self.data.train_labels.index_select(0, batch)
        logits = self.model(images)
        return logits, cross_entropy(logits, labels, reduction="mean")


def build_optimizer(trial: Trial, model: nn.Module) -> torch.optim.Optimizer:
    """Return the optimizer with every hyperparameter given; fused: one kernel over all parameters."""
    decay, rate = trial["optimizer.weight_decay"], trial["optimizer.learning_rate"]
    if trial["optimizer"] == "sgd":
        return torch.optim.SGD(
            model.parameters(),
            lr=rate,
            momentum=trial["optimizer.momentum"],
            dampening=0.0,
            weight_decay=decay,
            nesterov=False,
            fused=True,
        )
    return torch.optim.Adam(
        model.parameters(),
        lr=rate,
        betas=(trial["optimizer.beta1"], trial["optimizer.beta2"]),
        eps=trial["optimizer.epsilon"],
        weight_decay=decay,
        amsgrad=False,
        fused=True,
    )


def _array(tensor: Tensor | None) -> Array:
    assert tensor is not None
    array: Array = tensor.detach().cpu().numpy()
    return array


def _synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _flushes_subnormals() -> bool:
    return bool(torch.tensor(1e-38) * 0.01 == 0)
