"""LeNet-5 in PyTorch as the 2022 PyTorch/Flux repository trained it: an example at a time through a loader.

    python benchmarks/bare/study.py TRIAL.JSON

As that repository is described: the default DataLoader with two workers, shuffling by itself; each example an image
object that becomes a standardised tensor in Python, with the operations of torchvision's `MNIST`, `ToTensor` and
`Normalize` (which itself took 82 µs for an image; it does not load beside PyTorch's CPU build, so they stand here);
SGD with momentum; loss and running accuracy read back after every batch; PyTorch's own initialisation, layout and
defaults. One epoch of the trial's data and batch size. Prints the seconds of its epoch loop.
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
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

WORKERS = 2


class Mnist(Dataset[tuple[Tensor, int]]):
    """Images as bytes; each becomes an image object, and that a standardised tensor, when it is asked for."""

    def __init__(self, trial: dict[str, Any]) -> None:
        self._pixels = np.fromfile(trial["data.train_images"], np.uint8)[16:].reshape(-1, 28, 28)
        self._labels = np.fromfile(trial["data.train_labels"], np.uint8)[8:]
        self._mean, self._std = trial["data.mean"], trial["data.std"]

    def __len__(self) -> int:
        return len(self._labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self._standardised(to_tensor(Image.fromarray(self._pixels[index]))), int(self._labels[index])

    def _standardised(self, image: Tensor) -> Tensor:
        image = image.clone()
        mean, std = (torch.as_tensor(given, dtype=image.dtype).view(-1, 1, 1) for given in (self._mean, self._std))
        if (std == 0).any():
            raise ValueError(f"standard deviation: got {self._std}; expected none to be 0")
        return image.sub_(mean).div_(std)


def to_tensor(image: Image.Image) -> Tensor:
    """Return a grey image as a tensor of (1, height, width) between 0 and 1."""
    pixels = torch.from_numpy(np.array(image, np.uint8, copy=True)).view(image.height, image.width, 1)
    return pixels.permute(2, 0, 1).contiguous().to(torch.get_default_dtype()).div(255)


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
