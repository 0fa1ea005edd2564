"""Synthetic data: seeded random images and labels of any shape, the same bytes on every machine."""

from __future__ import annotations

import numpy as np

from collector.datasets.files import DataFiles, Split, write_split


def write_synthetic(data: DataFiles, seed: int) -> None:
    """Write uniformly random pixels and labels as the files of `data`: training images, their labels, then the test's.

    They are cut from the raw words of one PCG64 generator, little-endian; NumPy keeps that stream as it is (NEP 19),
    which it does not promise for the numbers its distributions draw.
    """
    generator = np.random.PCG64(seed)
    counts: dict[Split, int] = {"train": data.train_examples, "test": data.test_examples}
    for split, examples in counts.items():
        shape = (examples, *data.image_shape)
        pixels = int(np.prod(shape))
        words = generator.random_raw(-(-pixels // 8)).astype("<u8")
        images = words.view(np.uint8)[:pixels].reshape(shape)
        labels = generator.random_raw(examples) % np.uint64(data.classes)
        write_split(data, split, images, labels.astype(np.int64))
