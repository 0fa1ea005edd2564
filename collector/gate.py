"""The equivalence gate: what a runner must compute, and whether it did.

`collector.gate_inputs` lays out one short, real piece of work per workload, together with what the float64 reference
makes of it. A runner works on it in mode `gate`; `judge` compares its files with the reference, part by part.
Parts, tolerances and the noise they stand on: METHODS §1, docs/explanation/gate.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from collector.causes import likely_cause
from collector.reference import Weights, parameter_shapes
from collector.workload import Workload

Array = NDArray[np.float64]

VERSION = 1  # raise it when inputs or tolerances change
NEAR_TIE = 1e-4  # examples whose top two logits are closer than this may be counted either way

TOLERANCES = {
    "losses": 1e-5,
    "logits": 5e-5,
    "gradient": 5e-3,
    "whole gradient": 2e-3,
    "given updates": 5e-5,
    "one step": 2e-3,
    "two steps": 3e-2,
    "evaluation logits": 5e-5,
    "evaluation loss": 1e-5,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One quantity of one part, compared with the reference."""

    part: str
    quantity: str
    expected: str
    found: str
    error: float  # inf where the quantity is missing, misshapen or not finite
    tolerance: float
    cause: str

    @property
    def passed(self) -> bool:
        """Whether the difference lies within the tolerance."""
        return self.error <= self.tolerance

    @property
    def strain(self) -> float:
        """The difference in units of the tolerance: above 1 it fails."""
        return self.error / self.tolerance if self.tolerance else (0.0 if self.passed else np.inf)


def judge(workload: Workload, inputs: Path, output: Path, parameters: int | None) -> list[Check]:
    """Return every check of parts A to D and F for what a runner wrote into `output`."""
    with np.load(inputs / "expected.npz") as file:
        expected = dict(file)
    given = {name: _read_array(inputs / "weights" / f"{name}.npy") for name in parameter_shapes(workload)}
    comparison = _Comparison(workload, expected, {n: g for n, g in given.items() if g is not None}, output)
    return [
        *_count_check(workload, parameters),
        *comparison.part_a(),
        *comparison.part_b(),
        *comparison.part_c(),
        *comparison.part_d(),
        *comparison.part_f(),
    ]


def _count_check(workload: Workload, parameters: int | None) -> Iterator[Check]:
    if parameters is not None:
        yield Check(
            part="A",
            quantity="trainable parameters",
            expected=str(workload.parameters),
            found=str(parameters),
            error=abs(parameters - workload.parameters),
            tolerance=0.0,
            cause="" if parameters == workload.parameters else "another architecture, or a layer without bias",
        )


class _Comparison:
    """The files of one runner beside the reference."""

    def __init__(self, workload: Workload, expected: dict[str, Array], given: Weights, output: Path) -> None:
        self._workload = workload
        self._expected = expected
        self._given = given
        self._output = output

    def part_a(self) -> Iterator[Check]:
        """Check losses of all batches and logits of the first, weights frozen."""
        yield self._check("A", "losses", "a.losses", self._expected["losses"], _largest_relative)
        yield self._check("A", "logits", "a.logits", self._expected["logits"], _relative_to_largest)

    def part_b(self) -> Iterator[Check]:
        """Check the gradient of the first batch, per tensor and as a whole."""
        expected = self._group("gradient")
        for name, tensor in expected.items():
            yield self._check("B", "gradient", f"b.gradient.{name}", tensor, _relative_norm)
        yield self._whole(
            "B", "whole gradient", "b.gradient", expected, {n: np.zeros_like(g) for n, g in expected.items()}
        )

    def part_c(self) -> Iterator[Check]:
        """Check the optimizer alone, on given gradients."""
        yield self._whole("C", "given updates", "c.weights", self._group("given"), self._given)

    def part_d(self) -> Iterator[Check]:
        """Check one and two real training steps."""
        for steps, prefix in ((1, "step1"), (2, "step2")):
            quantity = "one step" if steps == 1 else "two steps"
            expected = self._group(prefix)
            if self._workload.optimizer.name == "sgd":
                yield self._whole("D", quantity, f"d.weights{steps}", expected, self._given)
            else:
                for name, tensor in expected.items():
                    yield self._update(quantity, f"d.weights{steps}.{name}", tensor, self._given[name])

    def part_f(self) -> Iterator[Check]:
        """Check the evaluation of a trained checkpoint on the whole test set."""
        logits, labels = self._expected["test_logits"], self._expected["test_labels"].astype(np.int64)
        yield self._check("F", "evaluation logits", "f.logits", logits, _relative_to_largest)
        yield self._check("F", "evaluation loss", "f.loss", self._expected["test_loss"], _largest_relative)
        correct = float((logits.argmax(axis=1) == labels).sum())
        top = np.sort(logits, axis=1)
        ties = float((top[:, -1] - top[:, -2] < NEAR_TIE).sum())
        yield self._check("F", "correct count", "f.correct", np.array([correct]), _largest_difference, tolerance=ties)

    def _check(
        self,
        part: str,
        quantity: str,
        file: str,
        expected: Array,
        measure: Callable[[Array, Array], float],
        *,
        tolerance: float | None = None,
    ) -> Check:
        found = _read_array(self._output / f"{file}.npy")
        problem = _misfit(found, expected)
        error = np.inf if problem or found is None else measure(found, expected)
        return self._verdict(part, quantity, file, error, expected, found, problem, tolerance)

    def _update(self, quantity: str, file: str, expected: Array, start: Array) -> Check:
        """Adam: the median error of an element over its median update, because ± the learning rate is chaos."""
        found = _read_array(self._output / f"{file}.npy")
        problem = _misfit(found, expected)
        if problem or found is None:
            return self._verdict("D", quantity, file, np.inf, expected, found, problem, None)
        error = float(np.median(np.abs(found - expected)) / np.median(np.abs(expected - start)))
        return self._verdict("D", quantity, file, error, expected - start, found - start, "", None)

    def _whole(self, part: str, quantity: str, prefix: str, expected: Weights, start: Weights) -> Check:
        """Return the check of all tensors at once: the relative L2 error of what changed since `start`."""
        found = {name: _read_array(self._output / f"{prefix}.{name}.npy") for name in expected}
        for name, tensor in expected.items():
            if problem := _misfit(found[name], tensor):
                return self._verdict(part, quantity, f"{prefix}.{name}", np.inf, tensor, found[name], problem, None)
        expected_change = np.concatenate([(tensor - start[n]).ravel() for n, tensor in expected.items()])
        found_change = np.concatenate(
            [(tensor - start[n]).ravel() for n, tensor in found.items() if tensor is not None]
        )
        error = _relative_norm(found_change, expected_change)
        return self._verdict(part, quantity, prefix, error, expected_change, found_change, "", None)

    def _verdict(
        self,
        part: str,
        quantity: str,
        file: str,
        error: float,
        expected: Array,
        found: Array | None,
        problem: str,
        tolerance: float | None,
    ) -> Check:
        limit = TOLERANCES[quantity] if tolerance is None else tolerance
        passed = error <= limit
        cause = "" if passed or problem or found is None else likely_cause(quantity, expected, found)
        shown = _worst(expected, found) if found is not None and not problem else (f"shape {expected.shape}", problem)
        return Check(
            part=part,
            quantity=f"{quantity} ({file})",
            expected=shown[0],
            found=shown[1],
            error=float(error),
            tolerance=limit,
            cause=cause,
        )

    def _group(self, prefix: str) -> Weights:
        return {name: self._expected[f"{prefix}.{name}"] for name in parameter_shapes(self._workload)}


def _read_array(path: Path) -> Array | None:
    try:
        return np.load(path, allow_pickle=False).astype(np.float64)  # type: ignore[no-any-return]
    except (OSError, ValueError):
        return None


def _misfit(found: Array | None, expected: Array) -> str:
    if found is None:
        return "file missing or unreadable"
    if found.shape != expected.shape:
        return f"shape {found.shape}"
    return "" if np.isfinite(found).all() else "a value that is not finite"


def _largest_difference(found: Array, expected: Array) -> float:
    return float(np.abs(found - expected).max())


def _largest_relative(found: Array, expected: Array) -> float:
    return float((np.abs(found - expected) / np.abs(expected)).max())


def _relative_to_largest(found: Array, expected: Array) -> float:
    return float(np.abs(found - expected).max() / np.abs(expected).max())


def _relative_norm(found: Array, expected: Array) -> float:
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))


def _worst(expected: Array, found: Array) -> tuple[str, str]:
    """Return expected and found value of the element that differs most, with its place."""
    place = np.unravel_index(int(np.abs(found - expected).argmax()), expected.shape)
    where = f"[{', '.join(str(int(i)) for i in place)}]"
    return f"{where} {expected[place]:.7g}", f"{where} {found[place]:.7g}"
