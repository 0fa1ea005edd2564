"""What is trained: data set, model, loss, optimizer, hyperparameters and target accuracy."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from store.definition import Definition, DefinitionError, read_definition, unknown_name
from store.records import PHASES

WORKLOADS = Path(__file__).parent.parent / "workloads"

Positive = Annotated[int, Field(gt=0)]
PositiveFloat = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Fraction = Annotated[float, Field(ge=0, lt=1)]


class WorkloadError(DefinitionError):
    """A workload that does not exist or whose file is wrong."""


class Scheduled(Definition):
    """What every optimizer has: a learning rate, how it changes by epoch, and weight decay."""

    learning_rate: PositiveFloat
    weight_decay: NotNegative
    schedule: Literal["constant", "cosine"] = "constant"
    schedule_epochs: Positive | None = None

    @model_validator(mode="after")
    def _schedule_is_whole(self) -> Self:
        if (self.schedule == "cosine") != (self.schedule_epochs is not None):
            raise ValueError("schedule 'cosine', and only it, needs schedule_epochs")
        return self


class Sgd(Scheduled):
    """Stochastic gradient descent with momentum and L2 decay in the gradient."""

    name: Literal["sgd"]
    momentum: Fraction

    @property
    def label(self) -> str:
        """The optimizer as the axis names it."""
        return "momentum" if self.momentum else "sgd"


class Adam(Scheduled):
    """Adam (Kingma & Ba 2015), L2 decay in the gradient; AdamW (Loshchilov & Hutter 2019), decay of the weights.

    Both have epsilon outside the root of the bias-corrected second moment.
    """

    name: Literal["adam", "adamw"]
    beta1: Fraction
    beta2: Fraction
    epsilon: PositiveFloat

    @property
    def label(self) -> str:
        """The optimizer as the axis names it."""
        return self.name


Optimizer = Annotated[Sgd | Adam, Field(discriminator="name")]

# What the axis `optimizer` means where a workload trains with another one: hyperparameters in common use.
OPTIMIZERS: dict[str, Sgd | Adam] = {
    "sgd": Sgd(name="sgd", learning_rate=0.05, momentum=0.0, weight_decay=0.0),
    "momentum": Sgd(name="sgd", learning_rate=0.01, momentum=0.9, weight_decay=0.0),
    "adam": Adam(name="adam", learning_rate=1e-3, beta1=0.9, beta2=0.999, epsilon=1e-8, weight_decay=0.0),
    "adamw": Adam(name="adamw", learning_rate=1e-3, beta1=0.9, beta2=0.999, epsilon=1e-8, weight_decay=0.01),
}


class Mlp(Definition):
    """A perceptron with one or two hidden layers; dropout follows the first."""

    name: Literal["mlp"]
    hidden_units: Positive
    hidden_layers: Annotated[int, Field(ge=1, le=2)] = 1
    dropout_rate: Fraction


class Lenet5(Definition):
    """LeNet-5 with ReLU and max-pooling."""

    name: Literal["lenet5"]

    @property
    def dropout_rate(self) -> float:
        """It has no dropout."""
        return 0.0


class Cnn(Definition):
    """Two convolutions, each with batch norm and max-pooling, and a dense layer with dropout."""

    name: Literal["cnn"]
    batch_norm: bool
    dropout_rate: Fraction
    norm_epsilon: PositiveFloat = 1e-5
    norm_momentum: PositiveFloat = 0.1


class KerasCnn(Definition):
    """The convolutional network of the Keras introduction: dropout before the only dense layer."""

    name: Literal["keras_cnn"]
    dropout_rate: Fraction


class Resnet(Definition):
    """A residual network (He et al. 2015) with the stem of its ImageNet or of its CIFAR form."""

    name: Literal["resnet18", "resnet50"]
    stem: Literal["imagenet", "cifar"]
    norm_epsilon: PositiveFloat = 1e-5
    norm_momentum: PositiveFloat = 0.1

    @property
    def dropout_rate(self) -> float:
        """It has no dropout."""
        return 0.0


Model = Annotated[Mlp | Lenet5 | Cnn | KerasCnn | Resnet, Field(discriminator="name")]


class Target(Definition):
    """What a run is trained towards."""

    test_accuracy: Annotated[float, Field(gt=0, le=1)]


class Published(Definition):
    """A study's own recipe: whose it is, and which phases of a run its published seconds covered."""

    study: Annotated[str, Field(min_length=1)]
    place: Annotated[str, Field(min_length=1)]  # where in the study's code the recipe stands
    timed_phases: Annotated[list[Literal[PHASES]], Field(min_length=1)]  # type: ignore[valid-type]  # a list of names


class Workload(Definition):
    """One workload; the file's name is its name."""

    name: str
    version: Positive
    dataset: str
    model: Model
    parameters: Positive
    loss: Literal["softmax_cross_entropy"]
    mode: Literal["train", "steps", "infer"]
    batch_size: Positive
    epochs: Positive = 1
    steps: Annotated[int, Field(ge=0)] = 0
    evaluations_per_epoch: Annotated[int, Field(ge=0)] = 0
    initialisation: Literal["fan_in_uniform", "glorot_uniform"]
    shuffle: Literal["every_epoch", "never"] = "every_epoch"
    last_batch: Literal["smaller", "repeated", "dropped"] = "smaller"
    pixels: Literal["standardised", "unit"] = "standardised"  # unit: between 0 and 1, as studies have them
    optimizer: Optimizer
    target: Target | None = None
    published: Published | None = None

    @model_validator(mode="after")
    def _mode_is_consistent(self) -> Self:
        if self.mode != "train" and (self.steps == 0 or self.evaluations_per_epoch or self.target):
            raise ValueError(f"mode {self.mode!r} needs steps > 0, no evaluations and no target")
        if self.mode == "train" and (
            self.steps or not self.evaluations_per_epoch or not (self.target or self.published)
        ):
            raise ValueError("mode 'train' needs evaluations_per_epoch > 0 and a target, and no steps")
        if self.pixels == "unit" and not self.published:
            raise ValueError("pixels 'unit' is for recipes as published; the gate's work is standardised")
        return self

    @property
    def track(self) -> Literal["closed", "published"]:
        """Whether its runs are gated and ranked, or a study's own recipe."""
        return "published" if self.published else "closed"


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
