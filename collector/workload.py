"""What is trained: data set, model, loss, optimizer, hyperparameters and target accuracy."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from collector.definition import Definition, DefinitionError, read_definition, unknown_name

WORKLOADS = Path(__file__).parent / "workloads"

Positive = Annotated[int, Field(gt=0)]
PositiveFloat = Annotated[float, Field(gt=0)]
Fraction = Annotated[float, Field(ge=0, lt=1)]


class WorkloadError(DefinitionError):
    """A workload that does not exist or whose file is wrong."""


class Sgd(Definition):
    """Stochastic gradient descent with momentum and L2 decay in the gradient."""

    name: Literal["sgd"]
    learning_rate: PositiveFloat
    momentum: Fraction
    weight_decay: Annotated[float, Field(ge=0)]


class Adam(Definition):
    """Adam (Kingma & Ba 2015) with L2 decay in the gradient and epsilon outside the root."""

    name: Literal["adam"]
    learning_rate: PositiveFloat
    beta1: Fraction
    beta2: Fraction
    epsilon: PositiveFloat
    weight_decay: Annotated[float, Field(ge=0)]


class MlpOptions(Definition):
    """Options of model `mlp`."""

    hidden_units: Positive
    dropout_rate: Fraction


class Lenet5Options(Definition):
    """Options of model `lenet5`."""

    dropout_rate: Annotated[float, Field(ge=0, le=0)] = 0.0


class Target(Definition):
    """What a run is trained towards."""

    test_accuracy: Annotated[float, Field(gt=0, le=1)]


class Workload(Definition):
    """One workload; the file's name is its name."""

    name: str
    version: Positive
    dataset: str
    model: Literal["mlp", "lenet5"]
    parameters: Positive
    loss: Literal["softmax_cross_entropy"]
    mode: Literal["train", "steps"]
    batch_size: Positive
    epochs: Positive = 1
    steps: Annotated[int, Field(ge=0)] = 0
    evaluations_per_epoch: Annotated[int, Field(ge=0)] = 0
    initialisation: Literal["fan_in_uniform"]
    model_options: MlpOptions | Lenet5Options
    optimizer: Annotated[Sgd | Adam, Field(discriminator="name")]
    target: Target | None = None

    @model_validator(mode="after")
    def _mode_is_consistent(self) -> Self:
        if self.mode == "steps" and (self.steps == 0 or self.evaluations_per_epoch or self.target):
            raise ValueError("mode 'steps' needs steps > 0, no evaluations and no target")
        if self.mode == "train" and (self.steps or not self.evaluations_per_epoch or not self.target):
            raise ValueError("mode 'train' needs evaluations_per_epoch > 0 and a target, and no steps")
        return self


def known_workloads(folder: Path = WORKLOADS) -> list[str]:
    """Return the names of the workloads in `folder`, sorted."""
    return sorted(path.stem for path in folder.glob("*.toml"))


def read_workload(name: str, folder: Path = WORKLOADS) -> Workload:
    """Return the workload called `name`."""
    path = folder / f"{name}.toml"
    if not path.exists():
        advice = f"Add {path.name} to collector/workloads or correct the name."
        raise WorkloadError(unknown_name("workload", name, known_workloads(folder), advice))
    workload = read_definition(path, Workload, WorkloadError)
    if workload.name != name:
        raise WorkloadError(
            f"{path}: name: got {workload.name!r}; expected the file's own name {name!r}. Rename one of them."
        )
    return workload
