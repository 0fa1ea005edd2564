"""The equivalence gate: whether what a runner computed is what it must compute.

`collector.gate.inputs` lays out one short, real piece of work per workload, together with what the float64 reference
makes of it. A runner works on it in mode `gate`; `judge` compares its files with the reference, part by part.
Parts, tolerances and the noise they stand on: docs/explanation/gate.md.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from collector.datasets.files import read_split, standardised
from collector.gate.diagnosis import likely_causes
from collector.gate.evidence import EVERY_PART, Array, Evidence
from collector.plan.listed_forms import read_exceptions
from collector.reference.layers import Weights

NEAR_TIE = 1e-4  # examples whose top two logits are closer than this may be counted either way

TOLERANCES = {
    "losses": 1e-5,
    "logits": 5e-5,
    "gradient": 5e-3,
    "whole gradient": 2e-3,
    "given updates": 2e-4,
    "whole given updates": 5e-5,
    "one step": 2e-3,
    "two steps": 3e-2,
    "running statistics": 1e-5,
    "evaluation logits": 5e-5,
    "evaluation loss": 1e-5,
    "dropout mean": 6.0,  # standard errors of the mean
    "dropout variance": 0.15,  # relative; its standard error is 0.022
    "dropout masks": 0.01,  # share of repeats whose masks were seen before
    "loader examples": 0.0,
    "loader pixels": 1e-5,
}
# Rounding grows with depth: five times the largest error of the float32 reference on a ResNet-50.
RESNET50_TOLERANCES = {"gradient": 7e-2, "whole gradient": 2e-2, "one step": 2e-2, "two steps": 1.1e-1}
# With lower precision only the gradient is compared; and it must be seen that precision is lower.
LOWER_PRECISION = {"tf32": 0.1, "bf16": 0.5}
VISIBLE_ROUNDING = {"tf32": 1e-5, "bf16": 1e-4}


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One quantity of one part, compared with the reference."""

    part: str
    quantity: str
    expected: str
    found: str
    error: float  # inf where the quantity is missing, misshapen or not finite
    tolerance: float
    cause: str = ""
    exception: str = ""  # the listed form that was compared with, where it is not the contract's own

    @property
    def passed(self) -> bool:
        """Whether the difference lies within the tolerance."""
        return self.error <= self.tolerance

    @property
    def strain(self) -> float:
        """The difference in units of the tolerance: above 1 it fails."""
        return self.error / self.tolerance if self.tolerance else (0.0 if self.passed else np.inf)


def judge(
    evidence: Evidence,
    *,
    parameters: int | None,
    parts: str = EVERY_PART,
    dtype: str = "fp32",
    exceptions: Collection[str] = (),
) -> list[Check]:
    """Return every check of what a runner wrote.

    Parameters
    ----------
    evidence
        What it was given, what the reference expects, where it wrote.
    parameters
        Trainable parameters it counted; None where it did not say.
    parts
        Letters of the parts to compare; of them those that the model has.
    dtype
        In lower precision only the gradient is compared, at a wide tolerance.
    exceptions
        Names of the forms in exceptions.toml that the entry declares.
    """
    checks = _compared(evidence, parameters, parts, dtype, exceptions)
    causes = likely_causes(evidence, {check.part for check in checks if not check.passed})
    return [check if check.passed or check.cause else replace(check, cause=causes[check.part]) for check in checks]


def _compared(
    evidence: Evidence, parameters: int | None, parts: str, dtype: str, exceptions: Collection[str]
) -> list[Check]:
    comparison = _Comparison(evidence, exceptions)
    if dtype != "fp32":
        return list(comparison.lower_precision(dtype))
    count = _count_check(evidence, parameters) if "A" in parts else ()
    return [*count, *(check for part in parts for check in getattr(comparison, f"part_{part.lower()}")())]


def _count_check(evidence: Evidence, parameters: int | None) -> Iterator[Check]:
    wanted = evidence.workload.parameters
    if parameters is not None:
        yield Check(
            part="A",
            quantity="trainable parameters",
            expected=str(wanted),
            found=str(parameters),
            error=abs(parameters - wanted),
            tolerance=0.0,
            cause="" if parameters == wanted else "another architecture, or a layer without bias",
        )


class _Comparison:
    """The files of one runner beside the reference."""

    def __init__(self, evidence: Evidence, exceptions: Collection[str]) -> None:
        self._evidence = evidence
        self._exceptions = exceptions
        self._expected = evidence.expected
        is_deep = evidence.workload.model.name == "resnet50"
        self._tolerances = TOLERANCES | RESNET50_TOLERANCES if is_deep else TOLERANCES
        self._given = {name: evidence.given("weights", name) for name in evidence.architecture.shapes}

    def part_a(self) -> Iterator[Check]:
        """Check losses of all batches and logits of the first, weights frozen."""
        yield self._check("A", "losses", "a.losses", self._expected["losses"], _largest_relative)
        yield self._check("A", "logits", "a.logits", self._expected["logits"], _relative_to_largest)

    def part_b(self) -> Iterator[Check]:
        """Check the gradient of the first batch, per tensor and as a whole."""
        yield from self._in_a_declared_form("B", lambda form: list(self._gradient(form)))

    def part_c(self) -> Iterator[Check]:
        """Check the optimizer alone, on given gradients."""
        yield from self._in_a_declared_form("C", lambda form: list(self._given_updates(form)))

    def part_d(self) -> Iterator[Check]:
        """Check one and two real training steps."""
        for quantity, group, files in (("one step", "step1", "d.weights1"), ("two steps", "step2", "d.weights2")):
            yield from self._in_a_declared_form("D", self._updates_of(quantity, group, files))

    def part_e(self) -> Iterator[Check]:
        """Check the running statistics of batch norms after steps at a learning rate of 0."""
        yield from self._in_a_declared_form("E", lambda form: list(self._statistics(form)))

    def part_f(self) -> Iterator[Check]:
        """Check the evaluation of a trained checkpoint on the whole test set."""
        logits, labels = self._expected["test_logits"], self._expected["test_labels"].astype(np.int64)
        yield self._check("F", "evaluation logits", "f.logits", logits, _relative_to_largest)
        yield self._check("F", "evaluation loss", "f.loss", self._expected["test_loss"], _largest_error_of_loss)
        correct = float((logits.argmax(axis=1) == labels).sum())
        top = np.sort(logits, axis=1)
        ties = float((top[:, -1] - top[:, -2] < NEAR_TIE).sum())
        yield self._check("F", "correct count", "f.correct", np.array([correct]), _largest_difference, tolerance=ties)

    def part_g(self) -> Iterator[Check]:
        """Check mean and variance of logits under dropout against the closed form, and that masks differ."""
        if "dropout.mean" not in self._expected:
            return
        mean, variance = self._expected["dropout.mean"], self._expected["dropout.variance"]
        found = self._evidence.found("g.logits")
        if found is None or found.ndim != 2 or found.shape[1:] != mean.shape or not np.isfinite(found).all():
            yield self._check("G", "dropout mean", "g.logits", np.empty((0, *mean.shape)), _largest_difference)
            return
        errors = np.abs(found.mean(axis=0) - mean) / np.sqrt(variance / len(found))
        yield self._verdict("G", "dropout mean", "g.logits", float(errors.max()), mean, found.mean(axis=0))
        spread = found.var(axis=0)
        yield self._verdict("G", "dropout variance", "g.logits", _largest_relative(spread, variance), variance, spread)
        distinct = len(np.unique(found, axis=0))
        repeated = np.array([1 - distinct / len(found)])
        yield self._verdict("G", "dropout masks", "g.logits", float(repeated[0]), np.zeros(1), repeated)

    def part_l(self) -> Iterator[Check]:
        """Check that one epoch of the loader has every example once, standardised."""
        data = self._evidence.data
        images, labels = read_split(data, "train")
        found_images, found_labels = self._evidence.found("l.images"), self._evidence.found("l.labels")
        problem = _misfit(found_images, images.astype(np.float64)) or _misfit(found_labels, labels.astype(np.float64))
        if problem or found_images is None or found_labels is None:
            yield self._check("L", "loader examples", "l.images", images.astype(np.float64), _largest_difference)
            return
        mean, std = (np.array(values)[:, None, None] for values in (data.mean, data.std))
        pixels = np.clip(np.rint((found_images * std + mean) * 255), 0, 255).astype(np.uint8)
        missing = _examples(images, labels) - _examples(pixels, found_labels.astype(np.int64))
        lost = np.array([float(sum(missing.values()))])
        yield self._verdict("L", "loader examples", "l.images", float(lost[0]), np.zeros(1), lost)
        wanted = standardised(pixels, data)
        yield self._verdict(
            "L", "loader pixels", "l.images", _relative_to_largest(found_images, wanted), wanted, found_images
        )

    def lower_precision(self, dtype: str) -> Iterator[Check]:
        """Check the gradient alone, and that the lower precision is really in use."""
        whole = self._whole_gradient(LOWER_PRECISION[dtype])
        yield whole
        if np.isfinite(whole.error):
            floor = VISIBLE_ROUNDING[dtype]
            yield Check(
                part="B",
                quantity=f"visible rounding ({dtype})",
                expected=f"a difference of at least {floor:g}",
                found=f"{whole.error:.3g}",
                error=floor / max(whole.error, 1e-300),
                tolerance=1.0,
                cause="" if whole.error >= floor else f"{dtype} was asked for, and float32 was computed",
            )

    def _in_a_declared_form(self, part: str, checks_of: Callable[[str], Sequence[Check]]) -> Sequence[Check]:
        """Return the checks against the contract's own form, or against a declared one where only that passes."""
        own = checks_of("")
        if all(check.passed for check in own):
            return own
        for name in self._exceptions:
            if part not in read_exceptions()[name].parts or not any(f"@{name}." in key for key in self._expected):
                continue
            other = [replace(check, exception=name) for check in checks_of(f"@{name}")]
            if all(check.passed for check in other):
                return other
        return own

    def _gradient(self, form: str) -> Iterator[Check]:
        for name, tensor in self._evidence.expected_group(f"gradient{form}").items():
            yield self._check("B", "gradient", f"b.gradient.{name}", tensor, _relative_norm)
        yield self._whole_gradient(form=form)

    def _given_updates(self, form: str) -> Iterator[Check]:
        for name, tensor in self._evidence.expected_group(f"given{form}").items():
            updates = len(self._evidence.given("gradients", name))
            measure = partial(_relative_update, start=self._given[name], updates=updates)
            yield self._check("C", "given updates", f"c.weights.{name}", tensor, measure)
        yield self._whole("C", "whole given updates", "c.weights", f"given{form}")

    def _statistics(self, form: str) -> Iterator[Check]:
        for name, tensor in self._evidence.expected_group(f"statistics{form}").items():
            yield self._check("E", "running statistics", f"e.{name}", tensor, _relative_norm)

    def _updates_of(self, quantity: str, group: str, files: str) -> Callable[[str], list[Check]]:
        def checks_of(form: str) -> list[Check]:
            if self._evidence.workload.optimizer.name == "sgd":
                return [self._whole("D", quantity, files, f"{group}{form}")]
            expected = self._evidence.expected_group(f"{group}{form}")
            return [self._update(quantity, f"{files}.{name}", tensor, name) for name, tensor in expected.items()]

        return checks_of

    def _update(self, quantity: str, file: str, expected: Array, name: str) -> Check:
        """Adam: the median error of an element over its median update, because ± the learning rate is chaos."""
        found, start = self._evidence.found(file), self._given[name]
        problem = _misfit(found, expected)
        if problem or found is None:
            return self._unusable("D", quantity, file, expected, problem)
        error = float(np.median(np.abs(found - expected)) / np.median(np.abs(expected - start)))
        return self._verdict("D", quantity, file, error, expected - start, found - start)

    def _whole_gradient(self, tolerance: float | None = None, form: str = "") -> Check:
        return self._whole("B", "whole gradient", "b.gradient", f"gradient{form}", start={}, tolerance=tolerance)

    def _whole(
        self,
        part: str,
        quantity: str,
        files: str,
        group: str,
        *,
        start: Weights | None = None,
        tolerance: float | None = None,
    ) -> Check:
        """Return the check of all tensors at once: the relative L2 error of what changed since `start`."""
        begin = self._given if start is None else start
        expected = self._evidence.expected_group(group)
        found: Weights = {}
        for name, tensor in expected.items():
            array = self._evidence.found(f"{files}.{name}")
            problem = _misfit(array, tensor)
            if problem or array is None:
                return self._unusable(part, quantity, f"{files}.{name}", tensor, problem)
            found[name] = array
        expected_change, found_change = (
            np.concatenate([(tensor - begin.get(name, 0.0)).ravel() for name, tensor in tensors.items()])
            for tensors in (expected, found)
        )
        error = _relative_norm(found_change, expected_change)
        return self._verdict(part, quantity, files, error, expected_change, found_change, tolerance)

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
        found = self._evidence.found(file)
        problem = _misfit(found, expected)
        if problem or found is None:
            return self._unusable(part, quantity, file, expected, problem)
        return self._verdict(part, quantity, file, measure(found, expected), expected, found, tolerance)

    def _unusable(self, part: str, quantity: str, file: str, expected: Array, problem: str) -> Check:
        return Check(
            part=part,
            quantity=f"{quantity} ({file})",
            expected=f"shape {expected.shape}",
            found=problem,
            error=np.inf,
            tolerance=self._tolerances.get(quantity, 0.0),
        )

    def _verdict(
        self,
        part: str,
        quantity: str,
        file: str,
        error: float,
        expected: Array,
        found: Array,
        tolerance: float | None = None,
    ) -> Check:
        limit = self._tolerances[quantity] if tolerance is None else tolerance
        shown = _worst(expected, found)
        return Check(
            part=part,
            quantity=f"{quantity} ({file})",
            expected=shown[0],
            found=shown[1],
            error=error,
            tolerance=limit,
        )


def _misfit(found: Array | None, expected: Array) -> str:
    if found is None:
        return "file missing or unreadable"
    if found.shape != expected.shape:
        return f"shape {found.shape}"
    return "" if np.isfinite(found).all() else "a value that is not finite"


def _examples(images: NDArray[np.uint8], labels: NDArray[np.int64]) -> Counter[bytes]:
    """Return how often each labelled image occurs."""
    return Counter(image.tobytes() + label.tobytes() for image, label in zip(images, labels, strict=True))


def _largest_difference(found: Array, expected: Array) -> float:
    return float(np.abs(found - expected).max())


def _largest_relative(found: Array, expected: Array) -> float:
    return float((np.abs(found - expected) / np.abs(expected)).max())


def _relative_to_largest(found: Array, expected: Array) -> float:
    return float(np.abs(found - expected).max() / np.abs(expected).max())


def _relative_update(found: Array, expected: Array, *, start: Array, updates: int) -> float:
    """Return the error of an update beyond what storing the weights in float32 makes of it each time."""
    rounding = updates * np.finfo(np.float32).eps / 2 * np.linalg.norm(start)
    excess = max(0.0, float(np.linalg.norm(found - expected) - rounding))
    return excess / float(np.linalg.norm(expected - start))


def _largest_error_of_loss(found: Array, expected: Array) -> float:
    """Return the difference relative to the loss; a small loss counts as 0.1, because its own error is absolute."""
    return float((np.abs(found - expected) / np.maximum(np.abs(expected), 0.1)).max())


def _relative_norm(found: Array, expected: Array) -> float:
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))


def _worst(expected: Array, found: Array) -> tuple[str, str]:
    """Return expected and found value of the element that differs most, with its place."""
    place = np.unravel_index(int(np.abs(found - expected).argmax()), expected.shape)
    where = f"[{', '.join(str(int(i)) for i in place)}]"
    return f"{where} {expected[place]:.7g}", f"{where} {found[place]:.7g}"
