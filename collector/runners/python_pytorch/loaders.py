"""Where training examples come from: by index from the device, through the default loader, or decoded by workers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from _python.trial import Trial
from torch import Tensor
from torch.utils.data import BatchSampler, DataLoader, Dataset, RandomSampler, TensorDataset

PREFETCHED_BATCHES = 2  # of each worker


@dataclass(frozen=True, slots=True)
class Examples:
    """One batch, on the device."""

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)


class Resident(Dataset[tuple[Tensor, Tensor]]):
    """The standardised training set, on the device."""

    def __init__(self, images: Tensor, labels: Tensor) -> None:
        self.images = images
        self.labels = labels

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        """Return a whole batch; `index_select` makes a step of the perceptron 5 % faster than `images[indices]`."""
        return self.images.index_select(0, indices), self.labels.index_select(0, indices)


class Encoded(Dataset[tuple[Tensor, Tensor]]):
    """The training set as bytes in host memory: each batch is decoded and standardised where it is asked for."""

    def __init__(self, trial: Trial, pixels: Tensor, labels: Tensor) -> None:
        self.pixels = pixels
        self.labels = labels
        self.mean, self.std = (torch.tensor(trial[key])[:, None, None] for key in ("data.mean", "data.std"))

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, indices: Tensor | list[int]) -> tuple[Tensor, Tensor]:
        """Return a whole batch."""
        chosen = torch.as_tensor(indices)
        images = self.pixels.index_select(0, chosen).to(torch.float32)
        return images.div_(255).sub_(self.mean).div_(self.std), self.labels.index_select(0, chosen)


def stream_loader(trial: Trial, dataset: Encoded, shuffle: torch.Generator) -> DataLoader[tuple[Tensor, Tensor]]:
    """Return the loader `stream`: shuffled, the last batch smaller, its workers alive between epochs."""
    workers = trial["loader_workers"]
    batches = BatchSampler(RandomSampler(dataset, generator=shuffle), trial["batch_size"], drop_last=False)
    return DataLoader(
        dataset,
        sampler=batches,
        batch_size=None,  # the data set returns whole batches
        num_workers=workers,
        persistent_workers=workers > 0,
        prefetch_factor=PREFETCHED_BATCHES if workers else None,
        multiprocessing_context="fork" if workers else None,  # workers share the bytes
        pin_memory=trial["device"] == "cuda",
        generator=torch.Generator(),  # of the workers' seeds, which nothing reads: dropout's generator stays as it is
    )


def default_loader(dataset: Resident, batches: Iterable[Tensor]) -> Iterator[Examples]:
    """Yield the given batches as most training scripts get theirs: example by example, collated."""
    loader = DataLoader(
        TensorDataset(dataset.images, dataset.labels),
        batch_sampler=_as_lists(batches),
        num_workers=0,
    )
    for images, labels in loader:
        yield Examples(images, labels)


def _as_lists(batches: Iterable[Tensor]) -> Sequence[list[int]]:
    return [batch.tolist() for batch in batches]
