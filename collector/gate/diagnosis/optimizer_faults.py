"""Known mistakes in optimizers: the update rules of the contract, each with one thing changed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from collector.plan.workload import Adam, Sgd
from collector.reference.layers import Array


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """An optimizer as the contract writes it, and the ways in which it may be written differently."""

    is_adam: bool
    rate: float
    l2: float = 0.0  # decay in the gradient
    decay: float = 0.0  # decay of the weights
    is_decay_scaled: bool = True  # decay of the weights is multiplied by the learning rate
    momentum: float = 0.0
    beta1: float = 0.0
    beta2: float = 0.0
    epsilon: float = 0.0
    dampening: float = 0.0
    is_first_dampened: bool = True
    nesterov: bool = False
    is_corrected: bool = True
    is_epsilon_hat: bool = False
    is_epsilon_inside: bool = False
    forgets: bool = False  # moments and step count begin anew in every step
    accumulates: bool = False  # gradients are added to those of the steps before


def contract_rules(optimizer: Sgd | Adam) -> Rules:
    """Return the contract's own form of an optimizer."""
    if isinstance(optimizer, Sgd):
        return Rules(
            is_adam=False, rate=optimizer.learning_rate, l2=optimizer.weight_decay, momentum=optimizer.momentum
        )
    decoupled = optimizer.name == "adamw"
    return Rules(
        is_adam=True,
        rate=optimizer.learning_rate,
        l2=0.0 if decoupled else optimizer.weight_decay,
        decay=optimizer.weight_decay if decoupled else 0.0,
        beta1=optimizer.beta1,
        beta2=optimizer.beta2,
        epsilon=optimizer.epsilon,
    )


def known_update_mistakes(rules: Rules) -> Iterator[tuple[str, Rules]]:
    """Yield what can be wrong with an optimizer, in words, and the rules that are then followed."""
    yield from _adam_mistakes(rules) if rules.is_adam else _sgd_mistakes(rules)
    yield "gradients accumulate: they are not zeroed between steps", replace(rules, accumulates=True)
    if rules.l2:
        moved = replace(rules, l2=0.0, decay=rules.l2)
        yield "weight decay decoupled, as in AdamW, instead of in the gradient", moved
        yield (
            "weight decay decoupled and not multiplied by the learning rate",
            replace(moved, is_decay_scaled=False),
        )
        yield "weight decay counted twice, or twice as large", replace(rules, l2=2 * rules.l2)
    if rules.decay:
        yield (
            "weight decay coupled, in the gradient as in Adam, instead of decoupled",
            replace(rules, l2=rules.decay, decay=0.0),
        )
        yield "weight decay not multiplied by the learning rate", replace(rules, is_decay_scaled=False)
    if rules.l2 or rules.decay:
        yield "weight decay left out", replace(rules, l2=0.0, decay=0.0)
    for factor in (0.1, 10.0):
        yield f"learning rate {factor:g} times the given one", replace(rules, rate=rules.rate * factor)


def _sgd_mistakes(rules: Rules) -> Iterator[tuple[str, Rules]]:
    if rules.momentum:
        yield "Nesterov momentum instead of the plain one", replace(rules, nesterov=True)
        yield "momentum left out, or its state reset in every step", replace(rules, momentum=0.0)
        dampened = replace(rules, dampening=rules.momentum)
        yield "momentum dampened: the gradient is weighted by 1 - momentum", dampened
        yield "momentum dampened from the second step on", replace(dampened, is_first_dampened=False)
        yield "momentum complemented", replace(rules, momentum=1 - rules.momentum)
    else:
        yield "momentum of 0.9 where none is asked for", replace(rules, momentum=0.9)


def _adam_mistakes(rules: Rules) -> Iterator[tuple[str, Rules]]:
    yield "Adam without bias correction", replace(rules, is_corrected=False)
    yield (
        "Adam's epsilon in its hat form (added to the root of the uncorrected moment), not declared by the entry",
        replace(rules, is_epsilon_hat=True),
    )
    yield "Adam's epsilon inside the root", replace(rules, is_epsilon_inside=True)
    for factor in (10.0, 0.1, 100.0, 1e3, 1e4, 1e5):
        says = f"Adam's epsilon is {rules.epsilon * factor:g} instead of {rules.epsilon:g}"
        yield says, replace(rules, epsilon=rules.epsilon * factor)
    yield "Adam's state reset in every step", replace(rules, forgets=True)
    yield "Adam's beta1 and beta2 swapped", replace(rules, beta1=rules.beta2, beta2=rules.beta1)
    yield "Adam's beta2 is 0.99", replace(rules, beta2=0.99)
    yield "gradient descent instead of Adam", replace(rules, is_adam=False)


def follow_rules(rules: Rules, weight: Array, gradients: Sequence[Array]) -> Array:
    """Return `weight` after one update with each of `gradients`."""
    first, second, total = (np.zeros_like(weight) for _ in range(3))
    steps = 0
    for raw in gradients:
        if rules.forgets:
            first, second, steps = np.zeros_like(weight), np.zeros_like(weight), 0
        steps += 1
        total = total + raw if rules.accumulates else raw
        gradient = total + rules.l2 * weight
        weight = weight * (1 - rules.decay * (rules.rate if rules.is_decay_scaled else 1.0))
        if rules.is_adam:
            first = rules.beta1 * first + (1 - rules.beta1) * gradient
            second = rules.beta2 * second + (1 - rules.beta2) * gradient**2
            weight = weight - rules.rate * _adam_direction(rules, first, second, steps)
        else:
            dampening = rules.dampening if steps > 1 or rules.is_first_dampened else 0.0
            first = rules.momentum * first + (1 - dampening) * gradient
            weight = weight - rules.rate * (gradient + rules.momentum * first if rules.nesterov else first)
    return weight


def _adam_direction(rules: Rules, first: Array, second: Array, steps: int) -> Array:
    correction1, correction2 = (1 - beta**steps if rules.is_corrected else 1.0 for beta in (rules.beta1, rules.beta2))
    if rules.is_epsilon_hat:
        root = (np.sqrt(second) + rules.epsilon) / np.sqrt(correction2)
    elif rules.is_epsilon_inside:
        root = np.sqrt(second / correction2 + rules.epsilon)
    else:
        root = np.sqrt(second / correction2) + rules.epsilon
    direction: Array = first / correction1 / root
    return direction
