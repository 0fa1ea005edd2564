"""What a group varies, and what that makes of a workload."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Field

from collector.plan.runner import Device, Dtype, Loader, Mode
from collector.plan.workload import OPTIMIZERS, NotNegative, Positive, PositiveFloat, Workload
from store.definition import Definition

DEFAULT_STEPS = 50  # in modes steps and infer, for a workload that names no number
DEFAULT_EVALUATIONS_PER_EPOCH = 4  # in mode train, for a workload that is otherwise run in mode steps


class Axes(Definition):
    """The values that a group's cells are made of; none given means the workload's own."""

    device: Annotated[list[Device], Field(min_length=1, description="Devices (cpu, cuda)")] = ["cpu"]
    dtype: Annotated[list[Dtype], Field(min_length=1, description="Number formats (fp32, tf32, bf16)")] = ["fp32"]
    batch_size: Annotated[list[Positive], Field(description="Batch sizes")] = []
    threads: Annotated[list[Positive], Field(min_length=1, description="Numbers of compute threads")] = [1]
    loader: Annotated[list[Loader], Field(min_length=1, description="Loaders (resident, stream)")] = ["resident"]
    loader_workers: Annotated[
        list[Annotated[int, Field(ge=0, le=16)]], Field(min_length=1, description="Workers of the stream loader")
    ] = [0]
    optimizer: Annotated[
        list[Literal["sgd", "momentum", "adam", "adamw"]],
        Field(description="Optimizers (sgd, momentum, adam, adamw)"),
    ] = []
    learning_rate: Annotated[list[PositiveFloat], Field(description="Learning rates")] = []
    weight_decay: Annotated[list[NotNegative], Field(description="Weight decays")] = []
    epochs: Annotated[list[Positive], Field(description="Epochs to train")] = []

    def points(self) -> Iterator[dict[str, Any]]:
        """Yield every combination, the last axis fastest; None where the workload decides."""
        names = list(type(self).model_fields)
        for values in itertools.product(*(getattr(self, name) or [None] for name in names)):
            yield dict(zip(names, values, strict=True))

    def ends(self) -> Axes:
        """Return the axes with the first and the last value of each."""
        values = {name: getattr(self, name) for name in type(self).model_fields}
        return Axes(**{name: [*dict.fromkeys([*v[:1], *v[-1:]])] for name, v in values.items()})


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What a group asks of a workload instead of its own; None leaves it as it is."""

    mode: Mode | None = None
    steps: int | None = None
    optimizer: str | None = None
    learning_rate: float | None = None
    weight_decay: float | None = None


def effective_workload(workload: Workload, change: Change) -> Workload:
    """Return `workload` as it is run.

    Another optimizer brings its hyperparameters from `OPTIMIZERS` and a constant learning rate; the workload's own
    one keeps its own. In modes `steps` and `infer` there is nothing to reach and nothing is evaluated.
    """
    optimizer = workload.optimizer
    if change.optimizer not in (None, optimizer.label):
        optimizer = OPTIMIZERS[str(change.optimizer)]
    rates = {"learning_rate": change.learning_rate, "weight_decay": change.weight_decay}
    optimizer = optimizer.model_copy(update={name: rate for name, rate in rates.items() if rate is not None})
    mode = change.mode or workload.mode
    update: dict[str, Any] = {"mode": mode, "optimizer": optimizer}
    if mode == "train":
        evaluations = workload.evaluations_per_epoch or DEFAULT_EVALUATIONS_PER_EPOCH
        update |= {"steps": 0, "evaluations_per_epoch": evaluations}
    else:
        steps = change.steps or workload.steps or DEFAULT_STEPS
        update |= {"steps": steps, "evaluations_per_epoch": 0, "target": None}
    return workload.model_copy(update=update)
