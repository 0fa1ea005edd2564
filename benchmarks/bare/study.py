"""LeNet-5 in PyTorch as the 2022 PyTorch/Flux repository trained it: an example at a time through a loader.

    python benchmarks/bare/study.py TRIAL.JSON

As that repository is described: the default DataLoader with two workers, shuffling by itself, each image made a tensor
and standardised in Python; SGD with momentum; loss and running accuracy read back after every batch; PyTorch's own
initialisation, layout and defaults. One epoch of the trial's data and batch size. Prints the seconds of its epoch loop.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

sys.path.pop(0)  # this file's folder, where other frameworks' names are those of such files

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

WORKERS = 2


class Mnist(Dataset[tuple[Tensor, int]]):
    """Images as bytes; each becomes a standardised tensor when it is asked for."""

    def __init__(self, trial: dict[str, Any]) -> None:
        self._pixels = np.fromfile(trial["data.train_images"], np.uint8)[16:].reshape(-1, 28, 28)
        self._labels = np.fromfile(trial["data.train_labels"], np.uint8)[8:]
        self._mean, self._std = (torch.tensor(trial[f"data.{name}"])[:, None, None] for name in ("mean", "std"))

    def __len__(self) -> int:
        return len(self._labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        image = torch.from_numpy(self._pixels[index]).unsqueeze(0).float().div(255)
        return image.sub(self._mean).div(self._std), int(self._labels[index])


def main() -> None:
    """Train one epoch and print."""
    trial = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    convolutions = nn.Conv2d(1, 6, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2)
    dense = nn.Linear(256, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10)
    model = nn.Sequential(*convolutions, nn.Flatten(), *dense)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-4)
    loader = DataLoader(Mnist(trial), batch_size=trial["batch_size"], shuffle=True, num_workers=WORKERS)
    criterion = nn.CrossEntropyLoss()
    loss_sum, correct, seen = 0.0, 0, 0
    start_s = time.perf_counter()
    for images, labels in loader:
        optimizer.zero_grad()
        logits = model(images)
        loss = criterion(logits, labels)
        loss.backward()
        optimizer.step()
        loss_sum += loss.item()
        correct += (logits.argmax(1) == labels).sum().item()
        seen += len(labels)
    elapsed_s = time.perf_counter() - start_s
    if correct < seen / 2:
        raise SystemExit(f"{correct} of {seen} training images correct; expected half: the loop does not train")
    print(f"{elapsed_s:.4f} {loss_sum / len(loader):.6f}")


if __name__ == "__main__":
    main()
