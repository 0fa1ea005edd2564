"""What most likely went wrong when a quantity of the gate differs: known errors, tried one after another."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

CLOSE = 1e-3  # a hypothesis explains the difference if it leaves at most this much of it


def likely_cause(quantity: str, expected: Array, found: Array) -> str:
    """Return the first known error that turns `expected` into `found`, or an empty string.

    `expected` and `found` have the same shape and are finite; for steps they are the changes of the weights.
    """
    factor = _common_factor(expected, found)
    if factor is not None:
        return _cause_of_factor(quantity, factor)
    if not found.any():
        return "nothing was computed: all values are zero (a parameter is not trained, or its bias is missing)"
    if quantity == "losses":
        return _cause_of_losses(expected, found)
    if expected.ndim == 2 and _same_values(expected, found):
        return "the values are right and their order is not: layout ([out, in], C order) or data order"
    return _cause_of_kind(quantity)


def _common_factor(expected: Array, found: Array) -> float | None:
    """Return c if found is c × expected, else None."""
    norm = float(np.vdot(expected, expected))
    factor = float(np.vdot(expected, found)) / norm if norm else 0.0
    close = np.linalg.norm(found - factor * expected) <= CLOSE * np.linalg.norm(found)
    return factor if close and factor != 0 else None


def _cause_of_factor(quantity: str, factor: float) -> str:
    if quantity in ("losses", "gradient", "whole gradient"):
        if factor > 1.5 and abs(factor - round(factor)) < CLOSE * factor:
            return f"{factor:.6g} times too large: the loss is summed over the batch instead of averaged"
        return f"{factor:.6g} times the expected: another reduction of the loss, or data standardised differently"
    if quantity in ("given updates", "one step", "two steps"):
        return f"{factor:.6g} times the expected: another learning rate"
    return f"{factor:.6g} times the expected"


def _cause_of_losses(expected: Array, found: Array) -> str:
    ratio = found / expected
    wrong = np.abs(ratio - 1) > 1e-5
    if wrong.mean() < 0.5 and not wrong[0]:
        return "only some batches differ: the last, smaller batch is padded or dropped"
    if ratio.min() > 1.5 and np.allclose(ratio, np.round(ratio), rtol=CLOSE):
        return "each loss is its batch size times too large: the loss is summed instead of averaged"
    if not wrong[0]:
        return "the first batch agrees and later ones do not: the data order, or weights that are not frozen"
    return "data standardised differently, labels shifted, another data order, or softmax applied twice"


def _same_values(expected: Array, found: Array) -> bool:
    return bool(np.allclose(np.sort(expected, axis=None), np.sort(found, axis=None), rtol=CLOSE, atol=1e-6))


def _cause_of_kind(quantity: str) -> str:
    return {
        "logits": "weights read in another layout, a bias left out, or data standardised differently",
        "gradient": "layout of this tensor, or dropout active where the gate switches it off",
        "whole gradient": "an error in the backward pass, or lower precision than claimed",
        "given updates": "another form of the optimizer: epsilon, weight decay, momentum or bias correction",
        "one step": "another form of the optimizer, or weight decay applied differently",
        "two steps": "state carried wrongly between steps: momentum, step count, or a gradient not zeroed",
        "evaluation logits": "dropout active in evaluation, data standardised differently, or the wrong test set",
        "evaluation loss": "another reduction of the evaluation loss over the batches",
        "correct count": "another way to pick the prediction, or labels shifted",
    }.get(quantity, "")
