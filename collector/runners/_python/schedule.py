"""Where epochs are cut into pairs, and pairs into chunks (contract §2). Pure arithmetic."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence, Sized
from dataclasses import dataclass
from typing import TypeVar

from _python.trial import Trial

T = TypeVar("T", bound=Sized)


@dataclass(frozen=True, slots=True)
class Pair:
    """One epoch pair: the batches of one evaluation interval."""

    row: int  # the epoch, from 0: a row of `order`
    epoch: float  # position at the end of the pair, in epochs
    first_batch: int
    last_batch: int  # the first batch behind the pair
    examples: int
    chunk_stops: tuple[int, ...]  # steps since epoch_start after which a chunk ends; the last is all of them


def reason_uncut(trial: Trial, examples: int) -> str:
    """Return why an epoch cannot be cut into pairs of at least one step, or an empty string."""
    batches, parts = -(-examples // trial["batch_size"]), trial["evaluations_per_epoch"]
    if batches >= max(1, parts):
        return ""
    return f"evaluations_per_epoch: got {parts}; expected at most {batches}, the batches of an epoch"


def epoch_pairs(trial: Trial, epochs: int, examples: int) -> list[Pair]:
    """Return the pairs of all epochs, in order; `examples` are those of one epoch."""
    size = trial["batch_size"]
    parts = max(1, trial["evaluations_per_epoch"])
    batches = -(-examples // size)
    cuts = [batches * part // parts for part in range(parts + 1)]
    chunks = max(1, trial["chunks_per_epoch"] // parts)
    return [
        Pair(
            row=row,
            epoch=row + part / parts,
            first_batch=start,
            last_batch=stop,
            examples=min(stop * size, examples) - start * size,
            chunk_stops=chunk_stops(stop - start, chunks),
        )
        for row in range(epochs)
        for part, (start, stop) in enumerate(itertools.pairwise(cuts), start=1)
    ]


def chunk_stops(steps: int, chunks: int) -> tuple[int, ...]:
    """Return after which steps a chunk ends, leaving out chunks of no steps."""
    stops = (steps * chunk // chunks for chunk in range(1, chunks + 1))
    return tuple(sorted({stop for stop in stops if stop > 0}))


def learning_rate(trial: Trial, row: int) -> float:
    """Return the learning rate of an epoch, counted from 0 (contract §1, `optimizer.schedule`)."""
    rate: float = trial["optimizer.learning_rate"]
    if trial["optimizer.schedule"] == "cosine":
        rate *= (1 + math.cos(math.pi * row / trial["optimizer.schedule_epochs"])) / 2
    return rate


def batch_slices(examples: int, size: int) -> list[slice]:
    """Return where each batch of an epoch lies in its row of `order`; the last one may be smaller."""
    return [slice(start, min(start + size, examples)) for start in range(0, examples, size)]


def one_per_length(batches: Sequence[T]) -> list[T]:
    """Return the first batch of each length that occurs."""
    by_length: dict[int, T] = {}
    for batch in batches:
        by_length.setdefault(len(batch), batch)
    return list(by_length.values())
