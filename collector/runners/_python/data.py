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

UNSIGNED_BYTE = 8  # IDX's code of the element type


@dataclass(frozen=True, slots=True)
class Files:
    """What the files of a trial hold, as they hold it."""

    train_images: NDArray[np.uint8]
    train_labels: NDArray[np.uint8]
    test_images: NDArray[np.uint8]
    test_labels: NDArray[np.uint8]
    order: Order
    weights: Weights


@dataclass(frozen=True, slots=True)
class Data:
    """Standardised images, shape (examples, channels, height, width), with labels and order."""

    train_images: Array
    train_labels: Labels
    test_images: Array
    test_labels: Labels
    order: Order


def read_files(trial: Trial) -> Files:
    """Return everything a trial points to, apart from what only the gate needs."""
    return Files(
        train_images=read_idx(Path(trial["data.train_images"])),
        train_labels=read_idx(Path(trial["data.train_labels"])),
        test_images=read_idx(Path(trial["data.test_images"])),
        test_labels=read_idx(Path(trial["data.test_labels"])),
        order=np.load(trial["order"]),
        weights=read_weights(Path(trial["weights"])),
    )


def read_idx(path: Path) -> NDArray[np.uint8]:
    """Return the array in an IDX file of unsigned bytes."""
    content = path.read_bytes()
    zero, kind, dimensions = struct.unpack_from(">HBB", content)
    if zero != 0 or kind != UNSIGNED_BYTE:
        raise ValueError(f"{path}: starts with {content[:4].hex()}; expected IDX of unsigned bytes, 000008.")
    shape = struct.unpack_from(f">{dimensions}I", content, 4)
    return np.frombuffer(content, dtype=np.uint8, offset=4 + 4 * dimensions).reshape(shape)


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


def standardise(files: Files, mean: float, std: float) -> Data:
    """Return `(pixel / 255 - mean) / std` in float32, with a channel axis, and labels as int32."""
    return Data(
        train_images=_standardised(files.train_images, mean, std),
        train_labels=files.train_labels.astype(np.int32),
        test_images=_standardised(files.test_images, mean, std),
        test_labels=files.test_labels.astype(np.int32),
        order=files.order,
    )


def _standardised(pixels: NDArray[np.uint8], mean: float, std: float) -> Array:
    images = pixels[:, None].astype(np.float32)
    images /= 255
    images -= mean
    images /= std
    return images
