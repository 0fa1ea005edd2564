"""CIFAR-10's published binary files, rebuilt from a package that holds each batch as one PNG image."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import png
from numpy.typing import NDArray

PIXELS = 32 * 32
BATCHES = ("data_batch_1", "data_batch_2", "data_batch_3", "data_batch_4", "data_batch_5")


def write_cifar10_batch(package: Path, path: Path) -> None:
    """Write the batch that `path` is named after: for each example its label, then its red, green and blue planes.

    The package has one image per batch, with one example in each row of 1024 RGB pixels, and the labels as JSON.

    Raises
    ------
    ValueError
        If the package does not have this form; OSError if it lacks a file.
    """
    pixels = _read_pixels(package / f"{path.stem}.png")
    labels = _read_labels(package, path.stem, len(pixels))
    planes = pixels.transpose(0, 2, 1).reshape(len(pixels), 3 * PIXELS)
    path.write_bytes(np.concatenate([labels[:, None], planes], axis=1).tobytes())


def _read_pixels(path: Path) -> NDArray[np.uint8]:
    """Return the examples of an image, shape (examples, pixels, 3)."""
    try:
        with path.open("rb") as file:
            width, height, values, form = png.Reader(file=file).read_flat()
    except png.Error as reason:
        raise ValueError(f"{path.name} is not a whole PNG image ({reason})") from None
    found = (width, form["planes"], form["bitdepth"])
    if found != (PIXELS, 3, 8):
        raise ValueError(f"{path.name} has width, planes and depth {found}; expected {(PIXELS, 3, 8)}")
    return np.frombuffer(values, dtype=np.uint8).reshape(height, PIXELS, 3)


def _read_labels(package: Path, batch: str, examples: int) -> NDArray[np.uint8]:
    """Return a batch's labels; the training batches share one list, in their order. The files' names are misspelt."""
    name, position = ("train_lables.json", BATCHES.index(batch)) if batch in BATCHES else ("test_lables.json", 0)
    labels = json.loads((package / name).read_bytes())[position * examples : (position + 1) * examples]
    if len(labels) != examples:
        raise ValueError(f"{name} has {len(labels)} labels for {batch}; expected {examples}")
    return np.array(labels, dtype=np.uint8)
