"""Causes in part E: the running statistics of batch norms."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from collector.gate.diagnosis.diagnosis import Inquiry, convict, flat
from collector.plan.workload import Cnn, Resnet
from collector.reference.architecture import build_architecture
from collector.reference.layers import Array, Pass, Weights, run_layers

STEPS = 10  # that the gate asks for, where there are as many


def cause_of_statistics(inquiry: Inquiry) -> str:
    """Return the cause of part E."""
    expected, found = map(flat, inquiry.pair("statistics", "e"))
    otherwise = "running statistics of other batches, or averaged differently"
    return convict(_suspects(inquiry), expected, found) or otherwise


def _suspects(inquiry: Inquiry) -> Iterator[tuple[str, Callable[[], Array]]]:
    model, evidence = inquiry.evidence.workload.model, inquiry.evidence
    assert isinstance(model, Cnn | Resnet)
    momentum = model.norm_momentum
    start = {name: inquiry.training.weights[name] for name in evidence.architecture.statistics}
    seen = _statistics_of_batches(inquiry, model)

    def averaged(weight: float, variance: Callable[[Array], Array] = lambda values: values) -> Array:
        running = dict(start)
        for batch in seen:
            for name, values in batch.items():
                new = variance(values) if name.endswith("var") else values
                running[name] = (1 - weight) * running[name] + weight * new
        return flat(running)

    yield (
        "running variance biased (divided by n instead of n - 1), a form that the entry does not declare",
        lambda: flat(evidence.expected_group("statistics@biased_running_variance")),
    )
    yield (
        f"batch norm's momentum complemented: {1 - momentum:g} instead of {momentum:g}",
        lambda: averaged(1 - momentum),
    )
    yield "running statistics are never updated", lambda: flat(start)
    yield "running statistics are those of the last batch alone", lambda: averaged(1.0)
    yield "running deviation (the root) in place of the running variance", lambda: averaged(momentum, np.sqrt)
    for other in (0.01, 0.1, 0.9, 0.99):
        yield f"batch norm's momentum is {other:g} instead of {momentum:g}", lambda m=other: averaged(m)  # type: ignore[misc]


def _statistics_of_batches(inquiry: Inquiry, model: Cnn | Resnet) -> list[Weights]:
    """Return mean and unbiased variance of each batch: what a momentum of 1 keeps."""
    data, work = inquiry.evidence.data, inquiry.training
    whole = model.model_copy(update={"norm_momentum": 1.0})
    layers, seen = build_architecture(whole, data.image_shape, data.classes).layers, []
    for batch in inquiry.batches[:STEPS]:
        state = Pass(weights=work.weights, training=True)
        run_layers(layers, state, work.scale(work.pixels[batch]))
        seen.append({name: state.statistics[name] for name in inquiry.evidence.architecture.statistics})
    return seen
