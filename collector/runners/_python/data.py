"""Data set, batch order and weights: read from their files and standardised. NumPy only."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from _python.trial import Trial

Array = NDArray[np.float32]
Labels = NDArray[np.int32]
Order = NDArray[np.int32]
Weights = dict[str, Array]

IDX_TYPES = {0x08: np.dtype(np.uint8), 0x0C: np.dtype(">i4")}  # IDX's codes of the element types in use
CIFAR10_IMAGE = (3, 32, 32)


@dataclass(frozen=True, slots=True)
class Files:
    """What the files of a trial hold, as they hold it; images have shape (examples, channels, height, width)."""

    train_images: NDArray[np.uint8]
    train_labels: Labels
    test_images: NDArray[np.uint8]
    test_labels: Labels
    order: Order
    weights: Weights


@dataclass(frozen=True, slots=True)
class Data:
    """Standardised images, shape (examples, channels, height, width), with labels and order.

    With the loader `stream` the training images are bytes: the loader standardises each batch.
    """

    train_images: NDArray[Any]
    train_labels: Labels
    test_images: Array
    test_labels: Labels
    order: Order


def read_files(trial: Trial) -> Files:
    """Return everything a trial points to, apart from what only the gate needs."""
    return Files(
        *_read_split(trial, "train"),
        *_read_split(trial, "test"),
        order=np.load(trial["order"]),
        weights=read_weights(Path(trial["weights"])),
    )


def _read_split(trial: Trial, split: str) -> tuple[NDArray[np.uint8], Labels]:
    if trial["data.format"] == "cifar10_binary":
        size = 1 + int(np.prod(CIFAR10_IMAGE))
        records = np.concatenate([np.fromfile(p, np.uint8).reshape(-1, size) for p in trial[f"data.{split}_batches"]])
        return records[:, 1:].reshape(-1, *CIFAR10_IMAGE), records[:, 0].astype(np.int32)
    images = read_idx(Path(trial[f"data.{split}_images"]))
    labels = read_idx(Path(trial[f"data.{split}_labels"])).astype(np.int32)
    return images if images.ndim == 4 else images[:, None], labels


def read_idx(path: Path) -> NDArray[Any]:
    """Return the array in an IDX file of unsigned bytes or of int32."""
    content = path.read_bytes()
    zero, kind, dimensions = struct.unpack_from(">HBB", content)
    if zero != 0 or kind not in IDX_TYPES:
        raise ValueError(f"{path}: starts with {content[:4].hex()}; expected IDX of bytes, 000008, or int32, 00000c.")
    shape = struct.unpack_from(f">{dimensions}I", content, 4)
    return np.frombuffer(content, dtype=IDX_TYPES[kind], offset=4 + 4 * dimensions).reshape(shape)


def read_weights(folder: Path) -> Weights:
    """Return `<layer>.<parameter>.npy` of a folder by `<layer>.<parameter>`."""
    return {path.stem: np.load(path) for path in sorted(folder.glob("*.npy"))}


def write_weights(folder: Path, prefix: str, weights: Weights) -> None:
    """Write each array as `<prefix>.<layer>.<parameter>.npy`, in C order."""
    for name, array in weights.items():
        write_array(folder / f"{prefix}.{name}.npy", array)


def write_array(path: Path, array: NDArray[Any]) -> None:
    """Write one array in C order."""
    np.save(path, np.ascontiguousarray(array))


def place_data(trial: Trial, files: Files) -> Data:
    """Return the data as training and evaluation read them; with the loader `stream` training images stay bytes."""
    resident = trial["loader"] == "resident"
    return Data(
        train_images=standardise(trial, files.train_images) if resident else files.train_images,
        train_labels=files.train_labels,
        test_images=standardise(trial, files.test_images),
        test_labels=files.test_labels,
        order=files.order,
    )


def standardise(trial: Trial, pixels: NDArray[np.uint8]) -> Array:
    """Return `(pixel / 255 - mean) / std` of each channel, axis -3, in float32."""
    mean, std = (np.array(trial[key], np.float32)[:, None, None] for key in ("data.mean", "data.std"))
    images = pixels.astype(np.float32)
    images /= 255
    images -= mean
    images /= std
    return images
