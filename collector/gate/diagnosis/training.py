"""Causes in parts A and B: the forward pass, the loss, the order of the data, the gradient."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from collector.gate.diagnosis.diagnosis import EQUAL, Inquiry, cause_by_size, convict, differs, flat
from collector.reference.layers import Array, Weights
from collector.reference.reference import Integers, loss_of


def cause_of_losses_and_logits(inquiry: Inquiry) -> str:
    """Return the cause of part A: the logits of the first batch are asked first, then the losses."""
    logits, losses = inquiry.found("a.logits"), inquiry.found("a.losses")
    if differs(logits, inquiry.expected["logits"]):
        return _cause_of_logits(inquiry, logits)
    return _cause_of_losses(inquiry, losses)


def narrow_format(values: Array) -> str:
    """Return the narrow float format that holds every value exactly; empty if none does."""
    with np.errstate(over="ignore"):
        if (values.astype(np.float16).astype(np.float64) == values).all():
            return "lower precision: every value is a float16 number, where float32 is claimed"
    bits = values.astype(np.float32).view(np.uint32)
    if not (bits & 0xFFFF).any():
        return "lower precision: every value is a bfloat16 number, where float32 is claimed"
    return ""


def _cause_of_logits(inquiry: Inquiry, found: Array) -> str:
    expected, first = inquiry.expected["logits"], inquiry.batches[0]
    return (
        narrow_format(found)
        or convict(_order_suspects(inquiry), expected, found)
        or convict(inquiry.model_suspects(inquiry.training, lambda work: work.logits(first)), expected, found)
        or _cause_of_other_examples(inquiry, found)
        or cause_by_size(expected, found, "another model, layout or activation, or data standardised differently")
    )


def _order_suspects(inquiry: Inquiry) -> Iterator[tuple[str, Callable[[], Array]]]:
    first, work = inquiry.batches[0], inquiry.training
    yield (
        "data order: examples as the data set has them, not as the order file says",
        lambda: work.logits(np.arange(len(first))),
    )
    yield "data order: the last epoch's order is used first", lambda: work.logits(inquiry.order[-1, : len(first)])
    yield "data order: indices counted from 1", lambda: work.logits(first - 1)
    yield "data order: the right examples in reverse", lambda: inquiry.expected["logits"][::-1]


def _cause_of_other_examples(inquiry: Inquiry, found: Array) -> str:
    """Tell logits that belong to other training examples than the order file asks for."""
    if inquiry.evidence.architecture.statistics:
        return ""  # batch norm makes them depend on who else is in the batch
    every = inquiry.training.logits(np.arange(len(inquiry.training.pixels)))
    nearest = max(float(np.abs(every - row).max(axis=1).min()) for row in found)
    right = nearest <= EQUAL * np.abs(every).max()
    return "data order: the logits are those of other examples: shuffled differently" if right else ""


def _cause_of_losses(inquiry: Inquiry, found: Array) -> str:
    expected = inquiry.expected["losses"]
    if named := convict(_loss_suspects(inquiry), expected, found):
        return named
    wrong = np.abs(found - expected) > EQUAL * np.abs(expected)
    smaller = np.array([len(batch) < len(inquiry.batches[0]) for batch in inquiry.batches])
    if not wrong[~smaller].any():
        return "the last, smaller batch of an epoch is padded, or averaged over another number of examples"
    if not wrong[0]:
        return "data order after the first batch: shuffled differently; or the weights are not frozen"
    return cause_by_size(expected, found, "another loss, or labels that belong to other examples")


def _loss_suspects(inquiry: Inquiry) -> Iterator[tuple[str, Callable[[], Array]]]:
    labels, classes = inquiry.training.labels, inquiry.evidence.data.classes
    losses, (epochs, examples) = inquiry.expected["losses"], inquiry.order.shape
    sizes = np.array([len(batch) for batch in inquiry.batches])
    of = _Losses(inquiry)
    yield "loss summed over the batch instead of averaged", lambda: losses * sizes
    yield "the last, smaller batch is averaged over the full batch size", lambda: losses * sizes / sizes.max()
    yield (
        "data order: the first epoch's order is used in every epoch",
        lambda: np.tile(losses[: len(losses) // epochs], epochs),
    )
    yield "softmax applied twice: the loss takes probabilities for logits", lambda: of(labels, softmax)
    for shift in (1, -1):
        yield "labels shifted by one class", lambda shift=shift: of((labels + shift) % classes)  # type: ignore[misc]
        yield "labels shifted by one example", lambda shift=shift: of(np.roll(labels, shift))  # type: ignore[misc]
    yield (
        "labels as the data set has them, not in the order of the images",
        lambda: of(labels, order=np.arange(examples)),
    )
    yield "logarithm to base 2 in the loss", lambda: losses / np.log(2)


class _Losses:
    """The losses of all batches with something changed; the logits are computed once."""

    def __init__(self, inquiry: Inquiry) -> None:
        self._inquiry = inquiry
        self._logits: list[Array] = []

    def __call__(
        self,
        labels: Integers,
        change: Callable[[Array], Array] = lambda logits: logits,
        order: Integers | None = None,
    ) -> Array:
        batches, work = self._inquiry.batches, self._inquiry.training
        if not self._logits:
            self._logits = [work.logits(batch) for batch in batches]
        starts = np.cumsum([0, *(len(batch) for batch in batches)])
        places = [
            batch if order is None else order[(start + np.arange(len(batch))) % len(order)]
            for batch, start in zip(batches, starts, strict=False)
        ]
        return np.array([loss_of(change(z), labels[place]) for z, place in zip(self._logits, places, strict=True)])


def softmax(logits: Array) -> Array:
    """Return the probabilities of the classes."""
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    probabilities: Array = exponentials / exponentials.sum(axis=1, keepdims=True)
    return probabilities


def cause_of_gradient(inquiry: Inquiry) -> str:
    """Return the cause of part B where the forward pass is right."""
    expected, found = inquiry.pair("gradient", "b.gradient")
    if dead := [name for name, tensor in found.items() if not tensor.any() and expected[name].any()]:
        return f"no gradient reaches {', '.join(dead[:3])}: not trained"
    plain, seen = flat(expected), flat(found)
    return (
        convict(_gradient_suspects(inquiry, plain), plain, seen)
        or _cause_of_layout(expected, found)
        or cause_by_size(plain, seen, "an error in a backward pass")
    )


def _gradient_suspects(inquiry: Inquiry, plain: Array) -> Iterator[tuple[str, Callable[[], Array]]]:
    first = inquiry.batches[0]
    decay = inquiry.evidence.workload.optimizer.weight_decay
    yield "gradient of the summed loss instead of its mean", lambda: plain * len(first)
    if decay:
        yield "the gradient holds the weight decay already", lambda: plain + decay * flat(inquiry.given)
    yield from inquiry.model_suspects(inquiry.training, lambda work: flat(inquiry.gradient(work, first)))


def _cause_of_layout(expected: Weights, found: Weights) -> str:
    """Tell tensors whose values are right and in the wrong places."""
    turned = [
        name
        for name, tensor in expected.items()
        if tensor.ndim > 1
        and differs(found[name], tensor, 0.1)
        and not differs(np.sort(found[name], axis=None), np.sort(tensor, axis=None), 1e-3)
    ]
    return f"layout: the gradient of {turned[0]} has the right values in the wrong places" if turned else ""
