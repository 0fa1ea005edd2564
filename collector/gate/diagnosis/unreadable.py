"""Causes that show before any value is compared: files that are missing, misshapen or not finite."""

from __future__ import annotations

import numpy as np

from collector.gate.diagnosis.diagnosis import Inquiry

GROUPS = {"B": [("gradient", "b.gradient")], "C": [("given", "c.weights")], "E": [("statistics", "e")]}
GROUPS["D"] = [("step1", "d.weights1"), ("step2", "d.weights2")]
ARRAYS = {
    "A": {"a.logits": "logits", "a.losses": "losses"},
    "F": {"f.logits": "test_logits", "f.loss": "test_loss"},
}


def cause_of_damage(inquiry: Inquiry, part: str) -> str:
    """Return why something that a part needs cannot be compared; empty where everything can."""
    for name, shape in _shapes(inquiry, part).items():
        found = inquiry.evidence.found(name)
        if found is None:
            return f"{name}.npy is missing or unreadable: the runner leaves this part out, or a parameter of it"
        if found.shape != shape:
            return _cause_of_shape(inquiry, name, shape, found.shape)
        if not np.isfinite(found).all():
            return f"{name}.npy is not finite: an overflow, a division by zero or a logarithm of zero"
    return ""


def _shapes(inquiry: Inquiry, part: str) -> dict[str, tuple[int, ...]]:
    """Return the shape of every file of a part."""
    expected, data = inquiry.expected, inquiry.evidence.data
    shapes = {name: expected[key].shape for name, key in ARRAYS.get(part, {}).items()}
    for group, files in GROUPS.get(part, []):
        shapes |= {f"{files}.{name}": array.shape for name, array in inquiry.evidence.expected_group(group).items()}
    if part == "L":
        shapes |= {"l.images": (data.train_examples, *data.image_shape), "l.labels": (data.train_examples,)}
    if part == "G":
        found = inquiry.evidence.found("g.logits")  # as many repeats as there are
        shapes |= {"g.logits": (0 if found is None else len(found), *expected["dropout.mean"].shape)}
    return shapes


def _cause_of_shape(inquiry: Inquiry, name: str, wanted: tuple[int, ...], found: tuple[int, ...]) -> str:
    says = f"{name} has shape {found} instead of {wanted}"
    if name == "a.losses" and len(found) == 1 and found < wanted:
        return f"the last, smaller batch of an epoch is dropped: {says}"
    if name == "f.logits" and found[:1] == (inquiry.evidence.data.train_examples,):
        return f"evaluated on the training set instead of the test set: {says}"
    if name[:2] in ("f.", "l."):
        return f"another number of examples, as where a last, smaller batch is dropped or padded: {says}"
    if sorted(found) == sorted(wanted):
        return f"layout: {says}"
    return f"another architecture: {says}"
