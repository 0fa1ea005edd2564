"""Data set files as first published: what they are, and their arrays."""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Images = NDArray[np.uint8]
Labels = NDArray[np.int64]
DataFormat = Literal["idx", "cifar10_binary"]
Split = Literal["train", "test"]

# IDX's codes of the element types in use.
IDX_TYPES: dict[int, np.dtype[Any]] = {0x08: np.dtype(np.uint8), 0x0C: np.dtype(">i4")}
CIFAR10_IMAGE = (3, 32, 32)


@dataclass(frozen=True, slots=True, kw_only=True)
class DataFiles:
    """Where the files of a data set lie, what they hold, and how its pixels are standardised.

    `train` and `test` are the paths of images and labels for `idx`, those of the batches in order for
    `cifar10_binary`. `mean` and `std` are those of each channel.
    """

    format: DataFormat
    train: tuple[Path, ...]
    test: tuple[Path, ...]
    train_examples: int
    test_examples: int
    image_shape: tuple[int, int, int]  # channels, height, width
    classes: int
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def unstandardised(self) -> DataFiles:
        """Return the same files with pixels left between 0 and 1."""
        return replace(self, mean=(0.0,) * len(self.mean), std=(1.0,) * len(self.std))

    def paths(self, split: Split) -> tuple[Path, ...]:
        """Return the files of one part."""
        return self.train if split == "train" else self.test


def read_split(data: DataFiles, split: Split) -> tuple[Images, Labels]:
    """Return images, shape (examples, channels, height, width), and labels of one part."""
    if data.format == "cifar10_binary":
        records = np.concatenate([_read_cifar10_records(path) for path in data.paths(split)])
        return records[:, 1:].reshape(-1, *CIFAR10_IMAGE), records[:, 0].astype(np.int64)
    images, labels = map(read_idx, data.paths(split))
    return images.reshape(len(images), *data.image_shape).astype(np.uint8), labels.astype(np.int64)


def write_split(data: DataFiles, split: Split, images: Images, labels: Labels) -> None:
    """Write images and labels of one part in the data set's own format; CIFAR-10's batches get equal shares."""
    paths = data.paths(split)
    if data.format == "cifar10_binary":
        records = np.concatenate([labels.astype(np.uint8)[:, None], images.reshape(len(images), -1)], axis=1)
        for path, share in zip(paths, np.array_split(records, len(paths)), strict=True):
            path.write_bytes(share.tobytes())
        return
    write_idx(paths[0], images[:, 0] if images.shape[1] == 1 else images)
    write_idx(paths[1], labels.astype(np.uint8 if data.classes <= 256 else np.int32))


def standardised(images: Images, data: DataFiles) -> NDArray[np.float64]:
    """Return `(pixel / 255 - mean) / std` of each channel."""
    mean, std = (np.array(values)[:, None, None] for values in (data.mean, data.std))
    pixels: NDArray[np.float64] = images.astype(np.float64) / 255
    return np.asarray((pixels - mean) / std, dtype=np.float64)


def read_idx(path: Path) -> NDArray[Any]:
    """Return the array in an IDX file of unsigned bytes or of int32."""
    with path.open("rb") as file:
        zero, kind, dimensions = struct.unpack(">HBB", file.read(4))
        if zero != 0 or kind not in IDX_TYPES:
            raise ValueError(
                f"{path}: starts with {zero:#06x} {kind:#04x}; expected IDX of bytes (0x08) or int32 (0x0c)."
            )
        shape = struct.unpack(f">{dimensions}I", file.read(4 * dimensions))
        return np.frombuffer(file.read(), dtype=IDX_TYPES[kind]).reshape(shape)


def write_idx(path: Path, array: NDArray[Any]) -> None:
    """Write `array` as an IDX file of unsigned bytes or of int32."""
    kind = 0x08 if array.dtype == np.uint8 else 0x0C
    header = struct.pack(">HBB", 0, kind, array.ndim) + struct.pack(f">{array.ndim}I", *array.shape)
    path.write_bytes(header + array.astype(IDX_TYPES[kind]).tobytes())


def _read_cifar10_records(path: Path) -> Images:
    return np.fromfile(path, dtype=np.uint8).reshape(-1, 1 + int(np.prod(CIFAR10_IMAGE)))
