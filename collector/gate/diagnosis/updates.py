"""Causes in parts C and D: the optimizer, and how it is put together with the gradient."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import numpy as np

from collector.gate.diagnosis.diagnosis import Inquiry, cause_by_size, convict, few, flat
from collector.gate.diagnosis.optimizer_faults import Rules, contract_rules, follow_rules, known_update_mistakes
from collector.reference.layers import Array

SAME_STEP = 2e-3  # relative L2 of the first step's update below which it is right


def cause_of_given_updates(inquiry: Inquiry) -> str:
    """Return the cause of part C."""
    gradients = {name: inquiry.evidence.given("gradients", name) for name in inquiry.given}
    count = len(next(iter(gradients.values())))
    given = [few({name: gradient[n] for name, gradient in gradients.items()}) for n in range(count)]
    return _cause_of_update(inquiry, given, "given", "c.weights")


def cause_of_steps(inquiry: Inquiry) -> str:
    """Return the cause of part D where optimizer and gradient are right on their own."""
    (step1, found), first = inquiry.pair("step1", "d.weights1"), few(inquiry.evidence.expected_group("gradient"))
    change, error = flat(step1) - flat(inquiry.given), flat(found) - flat(step1)
    if np.linalg.norm(error) > SAME_STEP * np.linalg.norm(change):
        return _cause_of_update(inquiry, [first], "step1", "d.weights1")
    one, two = inquiry.batches[:2]
    moved = inquiry.moved(step1)
    others = {
        "the first batch is used again in the second step": few(inquiry.gradient(moved, one)),
        "the second step uses the gradient at the weights before the first": few(
            inquiry.gradient(inquiry.training, two)
        ),
    }
    return _cause_of_update(inquiry, [first, few(inquiry.gradient(moved, two))], "step2", "d.weights2", others)


def _cause_of_update(
    inquiry: Inquiry,
    gradients: Sequence[Array],
    group: str,
    files: str,
    others: Mapping[str, Array] | None = None,  # gradients that may have been used in place of the last
) -> str:
    start = few(inquiry.given)
    expected, found = (few(tensors) - start for tensors in inquiry.pair(group, files))
    rules = contract_rules(inquiry.evidence.workload.optimizer)

    def change(other: Rules, given: Sequence[Array]) -> Callable[[], Array]:
        return lambda: follow_rules(other, start, given) - start

    suspects = [(says, change(other, gradients)) for says, other in known_update_mistakes(rules)]
    suspects += [(says, change(rules, [*gradients[:-1], last])) for says, last in (others or {}).items()]
    factor = float(np.vdot(expected, found) / np.vdot(expected, expected))
    suspects.append((f"learning rate {factor:.6g} times the given one", partial(np.multiply, factor, expected)))
    otherwise = "another form of the optimizer, or state carried wrongly between steps"
    return convict(suspects, expected, found) or cause_by_size(expected, found, otherwise)
