"""Causes in parts F, G and L: evaluation, dropout, and the loader."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np

from collector.gate.diagnosis.diagnosis import EQUAL, Inquiry, cause_by_size, convict, differs
from collector.gate.diagnosis.faults import Work, read_work
from collector.gate.diagnosis.training import narrow_format, softmax
from collector.reference.layers import Array, Pass, run_layers
from collector.reference.reference import loss_of

EVALUATED = 128  # examples on which mistakes are tried


def cause_of_evaluation(inquiry: Inquiry) -> str:
    """Return the cause of part F: the logits are asked first, then loss and count."""
    expected, found = inquiry.expected["test_logits"], inquiry.found("f.logits")
    if not differs(found, expected):
        return _cause_of_loss_or_count(inquiry)
    few, few_found = expected[:EVALUATED], found[:EVALUATED]
    return (
        narrow_format(found)
        or convict(_evaluation_suspects(inquiry, len(few)), few, few_found)
        or _cause_of_noise(inquiry, few, few_found)
        or convict(inquiry.model_suspects(inquiry.evaluation, _first_logits(len(few))), few, few_found)
    )


def evaluation_otherwise(inquiry: Inquiry) -> str:
    """Return what is said of part F where no known mistake fits."""
    otherwise = "dropout active in evaluation, data standardised differently, or another test set"
    return cause_by_size(inquiry.expected["test_logits"], inquiry.found("f.logits"), otherwise)


def _first_logits(count: int) -> Callable[[Work], Array]:
    return lambda work: work.logits(np.arange(count))


def _evaluation_suspects(inquiry: Inquiry, count: int) -> Iterator[tuple[str, Callable[[], Array]]]:
    work, logits = inquiry.evaluation, _first_logits(count)
    training = read_work(inquiry.evidence, "train", "checkpoint", training=False)
    yield "evaluated on the training set instead of the test set", lambda: logits(training)
    first_weights = replace(work, weights=inquiry.training.weights)
    yield "evaluated with other weights: the checkpoint is not in place", lambda: logits(first_weights)
    if names := inquiry.evidence.architecture.statistics:
        kept = {name: inquiry.training.weights[name] for name in names}
        stale = replace(work, weights=work.weights | kept)
        yield "evaluated with running statistics that are not the checkpoint's", lambda: logits(stale)
        batch_norm = replace(work, training=True)
        yield "batch norm uses the batch's own statistics in evaluation", lambda: logits(batch_norm)
    yield "softmax applied to the logits", lambda: softmax(logits(work))


def _cause_of_noise(inquiry: Inquiry, expected: Array, found: Array) -> str:
    """Tell the noise that dropout makes, by its size in every logit."""
    rate, work = inquiry.evidence.workload.model.dropout_rate, inquiry.evaluation
    head = inquiry.evidence.architecture.head
    if rate == 0 or len(head) != 1:
        return ""
    state = Pass(weights=work.weights, training=False)
    inputs, _ = run_layers(inquiry.evidence.architecture.body, state, work.scale(work.pixels[: len(expected)]))
    variance = (inputs**2 @ work.weights["output.weight"].T ** 2) * rate / (1 - rate)
    ratio = float(np.mean((found - expected) ** 2) / np.mean(variance))
    return "dropout active in evaluation" if 0.7 < ratio < 1.4 else ""


def _cause_of_loss_or_count(inquiry: Inquiry) -> str:
    logits, labels = inquiry.expected["test_logits"], inquiry.evaluation.labels
    expected, found = inquiry.expected["test_loss"], inquiry.found("f.loss")
    classes = inquiry.evidence.data.classes
    if not differs(found, expected, EQUAL):
        return "the predicted class is picked or counted differently"
    losses = {
        "evaluation loss summed over the test set": expected * len(labels),
        "softmax applied twice in evaluation": np.array([loss_of(softmax(logits), labels)]),
        "test labels shifted by one class": np.array([loss_of(logits, (labels + 1) % classes)]),
        "test labels shifted by one example": np.array([loss_of(logits, np.roll(labels, 1))]),
    }
    suspects = ((says, lambda loss=loss: loss) for says, loss in losses.items())
    return convict(suspects, expected, found) or "another reduction of the evaluation loss, or labels of other examples"


def cause_of_dropout(inquiry: Inquiry) -> str:
    """Return the cause of part G, from mean and variance of every logit."""
    mean, variance = inquiry.expected["dropout.mean"], inquiry.expected["dropout.variance"]
    found, rate = inquiry.found("g.logits"), inquiry.evidence.workload.model.dropout_rate
    found_mean, found_variance = found.mean(axis=0), found.var(axis=0)
    if (found_variance <= 1e-6 * variance).all():
        return "dropout is not active in training" if not differs(found_mean, mean, 1e-3) else "one mask for all calls"
    if len(np.unique(found, axis=0)) < 0.9 * len(found):
        return "the same masks again in every call: the random state does not move on"
    bias = inquiry.given["output.bias"]
    unscaled = bias + (1 - rate) * (mean - bias)
    if np.linalg.norm(found_mean - unscaled) < 0.2 * np.linalg.norm(mean - unscaled):
        return "dropout's survivors are not scaled by 1 / (1 - rate)"
    odds = float(np.median(found_variance / variance)) * rate / (1 - rate)
    other = odds / (1 + odds)
    if abs(other - (1 - rate)) < 0.03:
        return f"dropout's rate complemented: {1 - rate:g} instead of {rate:g} is dropped"
    return f"dropout's rate is near {other:.2g} instead of {rate:g}, or its survivors are scaled by another factor"


def cause_of_loader(inquiry: Inquiry) -> str:
    """Return the cause of part L, from how the images delivered compare with all that there are."""
    data, work = inquiry.evidence.data, inquiry.training
    wanted, found = work.scale(work.pixels), inquiry.found("l.images")
    if len({image.tobytes() for image in found}) < len({image.tobytes() for image in work.pixels}):
        return "the loader repeats examples and leaves others out"
    mean, std = (np.array(values)[:, None, None] for values in (data.mean, data.std))
    forms = {
        "the loader delivers pixels that are only divided by 255": work.pixels / 255,
        "the loader delivers bytes": work.pixels.astype(np.float64),
        "the loader standardises twice": (wanted - mean) / std,
    }
    totals = np.sort(found.sum(axis=(1, 2, 3)))
    suspects = ((says, lambda form=form: np.sort(form.sum(axis=(1, 2, 3)))) for says, form in forms.items())
    named = convict(suspects, np.sort(wanted.sum(axis=(1, 2, 3))), totals)
    return named or "the loader decodes or labels examples differently"
