"""The loader `stream`: TensorFlow's own, tf.data, over the bytes of the training set."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import tensorflow as tf
from _python.trial import Trial


@dataclass(frozen=True, slots=True)
class Examples:
    """Standardised images, shape (examples, height, width, channels), with their labels."""

    images: tf.Tensor
    labels: tf.Tensor

    def __len__(self) -> int:
        return len(self.labels)


class Loader:
    """Shuffles, gathers, decodes and standardises batches, with workers that live as long as the loader."""

    def __init__(self, trial: Trial, images: tf.Tensor, labels: tf.Tensor) -> None:
        self._images = images
        self._labels = labels
        self._mean, self._std = (np.array(trial[key], np.float32) for key in ("data.mean", "data.std"))
        self._batches = -(-len(labels) // trial["batch_size"])
        self._iterator = iter(self._build(trial))

    def epoch(self) -> Iterator[Examples]:
        """Yield the batches of the next epoch; the loader goes on shuffling in the same order of its own."""
        for images, labels in itertools.islice(self._iterator, self._batches):
            yield Examples(images, labels)

    def decode(self, indices: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Return images, decoded and standardised, and labels of these training examples."""
        pixels = tf.cast(tf.gather(self._images, indices), tf.float32)
        return (pixels / 255.0 - self._mean) / self._std, tf.gather(self._labels, indices)

    def _build(self, trial: Trial) -> tf.data.Dataset:
        """Return a pipeline over indices: shuffling numbers instead of images copies each image once."""
        examples, workers = len(self._labels), trial["loader_workers"]
        dataset = (
            tf.data.Dataset.range(examples, output_type=tf.int32)
            .shuffle(examples, seed=trial["seed"], reshuffle_each_iteration=True)
            .batch(trial["batch_size"], drop_remainder=False)
            .repeat()
            .map(self.decode, num_parallel_calls=workers or None, deterministic=True)
        )
        dataset = dataset.prefetch(workers) if workers else dataset
        return dataset.with_options(_options(workers))


def _options(workers: int) -> tf.data.Options:
    """Return options under which nothing runs but what was asked for: no tuning, no prefetching added."""
    options = tf.data.Options()
    options.deterministic = True
    options.autotune.enabled = False
    options.experimental_optimization.inject_prefetch = False
    options.threading.private_threadpool_size = max(1, workers)
    options.threading.max_intra_op_parallelism = 1
    return options
