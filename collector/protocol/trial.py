"""The file a runner receives: one flat JSON object with dotted keys, as collector/protocol/README.md states."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from store.errors import DeadheatError

UNSAFE = re.compile(r'["\\\x00-\x1f\x7f]')
Count = Annotated[int, Field(ge=0)]


class TrialError(DeadheatError):
    """A trial that cannot be written down."""


class TrialFile(BaseModel):
    """What trial.json holds; the aliases are the keys."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False, populate_by_name=True)

    batch_size: Annotated[int, Field(gt=0)]
    chunks_per_epoch: Count
    classes: Annotated[int, Field(gt=1)] = Field(alias="data.classes")
    data_format: Literal["idx", "cifar10_binary"] = Field(alias="data.format")
    data_mean: list[float] = Field(alias="data.mean")
    data_std: list[float] = Field(alias="data.std")
    test_batches: list[str] | None = Field(default=None, alias="data.test_batches")
    test_images: str | None = Field(default=None, alias="data.test_images")
    test_labels: str | None = Field(default=None, alias="data.test_labels")
    train_batches: list[str] | None = Field(default=None, alias="data.train_batches")
    train_images: str | None = Field(default=None, alias="data.train_images")
    train_labels: str | None = Field(default=None, alias="data.train_labels")
    device: Literal["cpu", "cuda"]
    dtype: Literal["fp32", "tf32", "bf16"]
    epochs: Annotated[int, Field(gt=0)]
    eval_batch_size: Annotated[int, Field(gt=0)]
    evaluations_per_epoch: Count
    gate_checkpoint: str | None = Field(default=None, alias="gate.checkpoint")
    gate_dropout_rate: float | None = Field(default=None, alias="gate.dropout_rate")
    gate_dropout_repeats: Count | None = Field(default=None, alias="gate.dropout_repeats")
    gate_frozen_steps: Count | None = Field(default=None, alias="gate.frozen_steps")
    gate_gradients: str | None = Field(default=None, alias="gate.gradients")
    gate_parts: str | None = Field(default=None, alias="gate.parts")
    gate_traced_steps: Count | None = Field(default=None, alias="gate.traced_steps")
    loader: Literal["resident", "stream"]
    loader_workers: Count
    loss: Literal["softmax_cross_entropy"]
    mode: Literal["train", "steps", "infer", "gate"]
    model: Literal["mlp", "lenet5", "cnn", "keras_cnn", "resnet18", "resnet50"]
    batch_norm: bool | None = Field(default=None, alias="model.batch_norm")
    dropout_rate: float = Field(alias="model.dropout_rate")
    hidden_layers: int | None = Field(default=None, alias="model.hidden_layers")
    hidden_units: int | None = Field(default=None, alias="model.hidden_units")
    norm_epsilon: float | None = Field(default=None, alias="model.norm_epsilon")
    norm_momentum: float | None = Field(default=None, alias="model.norm_momentum")
    stem: Literal["imagenet", "cifar"] | None = Field(default=None, alias="model.stem")
    optimizer: Literal["sgd", "adam", "adamw"]
    learning_rate: float = Field(alias="optimizer.learning_rate")
    weight_decay: float = Field(alias="optimizer.weight_decay")
    momentum: float | None = Field(default=None, alias="optimizer.momentum")
    beta1: float | None = Field(default=None, alias="optimizer.beta1")
    beta2: float | None = Field(default=None, alias="optimizer.beta2")
    epsilon: float | None = Field(default=None, alias="optimizer.epsilon")
    schedule: Literal["constant", "cosine"] = Field(alias="optimizer.schedule")
    schedule_epochs: int | None = Field(default=None, alias="optimizer.schedule_epochs")
    order: str
    output: str
    runner: str
    seed: Annotated[int, Field(ge=0, lt=2**31)]
    steps: Count
    threads: Annotated[int, Field(gt=0)]
    variant: str
    weights: str
    workload: str


def encode_trial(trial: TrialFile) -> str:
    """Return the text of trial.json: one key a line, sorted, no escapes.

    Raises
    ------
    TrialError
        If a string holds a quote, a backslash or a control character, which line readers could not undo.
    """
    content = trial.model_dump(by_alias=True, exclude_none=True)
    for key, value in content.items():
        if any(
            isinstance(text, str) and UNSAFE.search(text) for text in (value if isinstance(value, list) else [value])
        ):
            raise TrialError(
                f"trial.json: {key}: got {value!r}; expected no quote, backslash or control character, "
                "because languages without a JSON library read it. Move the data or the store to another path."
            )
    lines = [f"{json.dumps(key)}: {json.dumps(value, ensure_ascii=False)}" for key, value in sorted(content.items())]
    return "{\n" + ",\n".join(lines) + "\n}\n"


def write_trial(trial: TrialFile, path: Path) -> None:
    """Write `trial` to `path`."""
    path.write_text(encode_trial(trial), encoding="utf-8")
