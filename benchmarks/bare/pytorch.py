"""A training loop in PyTorch as one writes it by hand for one model on one CPU: what deadheat's runner is held to.

    python benchmarks/bare/pytorch.py TRIAL.JSON

Trains the model (mlp, lenet5 or cnn) of a trial of mode `steps` on its data, weights and order, and prints seconds in
all, the fastest twentieth times twenty, and the mean loss. Nothing of deadheat is used but the files that it wrote.
"""

from __future__ import annotations

import itertools
import json
import math
import sys
import time
from pathlib import Path
from typing import Any

sys.path.pop(0)  # this file's folder, where other frameworks' names are those of such files

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

CHUNKS = 20


def main() -> None:
    """Train and print."""
    trial = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    torch.set_flush_denormal(True)
    torch.set_num_threads(trial["threads"])
    images, labels = read_data(trial)
    model = {"mlp": mlp, "lenet5": lenet5, "cnn": cnn}[trial["model"]](trial)
    if trial["model"] == "lenet5":
        model.to(memory_format=torch.channels_last)  # not the cnn: its batch norm would lose two digits
    batches = torch.from_numpy(np.load(trial["order"])[0]).split(trial["batch_size"])
    train(trial, model, images, labels, batches[:1])
    edges_s, loss = train(trial, model, images, labels, batches)
    chunks_s = [after - before for before, after in itertools.pairwise(edges_s)]
    print(f"{edges_s[-1] - edges_s[0]:.4f} {CHUNKS * min(chunks_s):.4f} {loss:.6f}")


def train(
    trial: dict[str, Any], model: nn.Module, images: Tensor, labels: Tensor, batches: tuple[Tensor, ...]
) -> tuple[list[float], float]:
    """Train from the trial's weights; return the clock at the edges of the chunks and the mean loss."""
    load_weights(model, Path(trial["weights"]))
    optimizer = build_optimizer(trial, model)
    loss_sum, edges_s = torch.zeros(()), [time.perf_counter()]
    for chunk in range(CHUNKS):
        for batch in batches[len(batches) * chunk // CHUNKS : len(batches) * (chunk + 1) // CHUNKS]:
            optimizer.zero_grad()
            loss = cross_entropy(model(images.index_select(0, batch)), labels.index_select(0, batch))
            loss.backward()
            optimizer.step()
            loss_sum += loss.detach()
        edges_s.append(time.perf_counter())
    return edges_s, float(loss_sum) / len(batches)


def build_optimizer(trial: dict[str, Any], model: nn.Module) -> torch.optim.Optimizer:
    """Return SGD with momentum, or Adam."""
    rate, decay = trial["optimizer.learning_rate"], trial["optimizer.weight_decay"]
    if trial["optimizer"] == "sgd":
        momentum = trial["optimizer.momentum"]
        return torch.optim.SGD(model.parameters(), lr=rate, momentum=momentum, weight_decay=decay, fused=True)
    return torch.optim.Adam(model.parameters(), lr=rate, weight_decay=decay, fused=True)


def mlp(trial: dict[str, Any]) -> nn.Module:
    """Return the perceptron."""
    units = trial["model.hidden_units"]
    dropout = nn.Dropout(trial["model.dropout_rate"])
    return nn.Sequential(nn.Flatten(), nn.Linear(784, units), nn.ReLU(), dropout, nn.Linear(units, 10))


def lenet5(_: dict[str, Any]) -> nn.Module:
    """Return LeNet-5."""
    convolutions = nn.Conv2d(1, 6, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2)
    dense = nn.Linear(256, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10)
    return nn.Sequential(*convolutions, nn.Flatten(), *dense)


def cnn(trial: dict[str, Any]) -> nn.Module:
    """Return the convolutional network with batch norm."""
    first = nn.Conv2d(3, 32, 3), nn.ReLU(), nn.BatchNorm2d(32), nn.MaxPool2d(2)
    second = nn.Conv2d(32, 64, 3), nn.ReLU(), nn.BatchNorm2d(64), nn.MaxPool2d(2)
    head = nn.Linear(2304, 64), nn.ReLU(), nn.Dropout(trial["model.dropout_rate"]), nn.Linear(64, 10)
    return nn.Sequential(*first, *second, nn.Flatten(), *head)


def load_weights(model: nn.Module, folder: Path) -> None:
    """Copy the given weights into the layers that have some, in the order of the network."""
    layers = {
        4: ["hidden", "output"],
        10: ["conv1", "conv2", "dense1", "dense2", "dense3"],
        12: ["conv1", "norm1", "conv2", "norm2", "hidden", "output"],
    }[len(list(model.parameters()))]
    owners = [layer for layer in model if layer.state_dict()]
    for name, layer in zip(layers, owners, strict=True):
        for parameter, tensor in layer.state_dict().items():
            if parameter != "num_batches_tracked":
                tensor.copy_(torch.from_numpy(np.load(folder / f"{name}.{parameter}.npy")))


def read_data(trial: dict[str, Any]) -> tuple[Tensor, Tensor]:
    """Return standardised training images, and labels."""
    if trial["data.format"] == "cifar10_binary":
        records = np.concatenate(
            [np.fromfile(path, np.uint8).reshape(-1, 3073) for path in trial["data.train_batches"]]
        )
        labels, pixels = records[:, 0], records[:, 1:].reshape(-1, 3, 32, 32)
    else:
        labels = np.fromfile(trial["data.train_labels"], np.uint8)[8:]
        side = math.isqrt((Path(trial["data.train_images"]).stat().st_size - 16) // len(labels))
        pixels = np.fromfile(trial["data.train_images"], np.uint8)[16:].reshape(-1, 1, side, side)
    mean, std = (torch.tensor(trial[f"data.{name}"])[:, None, None] for name in ("mean", "std"))
    images = (torch.from_numpy(pixels.astype(np.float32)) / 255 - mean) / std
    return images, torch.from_numpy(labels.astype(np.int64))


if __name__ == "__main__":
    main()
