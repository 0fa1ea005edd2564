"""What every question about a failed part needs: the gate's work, the reference's and the runner's results."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from collector.gate.diagnosis.faults import Batch, Mistake, Work, known_mistakes, read_work
from collector.gate.evidence import Evidence
from collector.reference.layers import Array, Weights
from collector.reference.reference import gradient_of

CERTAIN = 0.01  # a mistake that leaves at most this share of the difference is the one
EXPLAINED = 0.5  # below this share, the one that leaves least is named
EQUAL = 5e-5  # relative difference below which something is right
FOLLOWED = 200_000  # parameters on which mistakes of an optimizer are tried

Suspects = Iterable[tuple[str, Callable[[], Array]]]  # what one would say, and what it would have computed


class Inquiry:
    """One runner's results; what is costly is computed when it is first asked for."""

    def __init__(self, evidence: Evidence) -> None:
        self.evidence = evidence
        self.expected = evidence.expected

    @cached_property
    def given(self) -> Weights:
        """The trainable weights that each part begins with."""
        return {name: self.evidence.given("weights", name) for name in self.evidence.architecture.shapes}

    @cached_property
    def training(self) -> Work:
        """The work of parts A to E."""
        return read_work(self.evidence, "train", "weights", training=True)

    @cached_property
    def evaluation(self) -> Work:
        """The work of part F."""
        return read_work(self.evidence, "test", "checkpoint", training=False)

    @cached_property
    def order(self) -> Batch:
        """The order file: (epochs, examples)."""
        return np.asarray(np.load(self.evidence.inputs / "order.npy"), dtype=np.int64)

    @cached_property
    def batches(self) -> list[Batch]:
        """The indices of every batch of the short epochs."""
        size = len(self.expected["logits"])
        return [row[start : start + size] for row in self.order for start in range(0, len(row), size)]

    def found(self, name: str) -> NDArray[np.float64]:
        """Return what the runner wrote; it is known to be there."""
        array = self.evidence.found(name)
        assert array is not None
        return array

    def pair(self, group: str, files: str) -> tuple[Weights, Weights]:
        """Return the expected arrays of one group and those found, by parameter."""
        expected: Weights = dict(self.evidence.expected_group(group))
        return expected, {name: self.found(f"{files}.{name}") for name in expected}

    def gradient(self, work: Work, batch: Batch) -> Weights:
        """Return the gradient of one batch."""
        images = work.scale(work.pixels[batch])
        return gradient_of(work.architecture, work.weights, images, work.labels[batch]).gradient

    def moved(self, weights: Weights) -> Work:
        """Return the training work with other weights."""
        return replace(self.training, weights=self.training.weights | weights)

    def model_suspects(self, work: Work, results: Callable[[Work], Array]) -> Suspects:
        """Yield what each known mistake in data, weights and model would make of `results`."""

        def predict(mistake: Mistake) -> Callable[[], Array]:
            return lambda: results(mistake.spoil(work))

        return ((mistake.says, predict(mistake)) for mistake in known_mistakes(self.evidence, work))


def convict(suspects: Suspects, expected: Array, found: Array, *, explained: float = EXPLAINED) -> str:
    """Return the suspect whose values are closest to those found; empty if none is clearly closer than the expected."""
    best, least = "", explained
    difference = np.linalg.norm(found - expected)
    for says, predict in suspects:
        predicted = predict()
        if predicted.shape != found.shape:
            continue
        rest = float(np.linalg.norm(found - predicted) / difference)
        if rest <= CERTAIN:
            return says
        if rest < least:
            best, least = says, rest
    return best


def differs(found: Array, expected: Array, tolerance: float = EQUAL) -> bool:
    """Whether the largest difference is visible beside the largest value."""
    return bool(np.abs(found - expected).max() > tolerance * np.abs(expected).max())


def flat(tensors: Mapping[str, Array]) -> Array:
    """Return all elements of all tensors, in their order."""
    return np.concatenate([tensor.ravel() for tensor in tensors.values()])


def few(tensors: Mapping[str, Array]) -> Array:
    """Return evenly spread elements of all tensors, enough to tell update rules apart."""
    every = flat(tensors)
    return every[:: -(-len(every) // FOLLOWED)]


def cause_by_size(expected: Array, found: Array, otherwise: str) -> str:
    """Return what the kind of difference says: a common factor, noise of a lower precision, or neither."""
    factor = float(np.vdot(expected, found) / np.vdot(expected, expected))
    if np.linalg.norm(found - factor * expected) <= CERTAIN * np.linalg.norm(found - expected):
        return f"every value is {factor:.6g} times the expected one"
    error = float(np.linalg.norm(found - expected) / np.linalg.norm(expected))
    if error < 2e-2:
        return f"a relative difference of {error:.1g}, as lower precision makes it; or {otherwise}"
    return otherwise
