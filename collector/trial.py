"""The file a runner receives: one flat JSON object with dotted keys, as collector/protocol/README.md states."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from collector.definition import DefinitionError

UNSAFE = re.compile(r'["\\\x00-\x1f\x7f]')
Count = Annotated[int, Field(ge=0)]


class TrialError(DefinitionError):
    """A trial that cannot be written down."""


class TrialFile(BaseModel):
    """What trial.json holds; the aliases are the keys."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False, populate_by_name=True)

    batch_size: Annotated[int, Field(gt=0)]
    chunks_per_epoch: Count
    data_format: Literal["idx"] = Field(alias="data.format")
    data_mean: float = Field(alias="data.mean")
    data_std: float = Field(alias="data.std")
    test_images: str = Field(alias="data.test_images")
    test_labels: str = Field(alias="data.test_labels")
    train_images: str = Field(alias="data.train_images")
    train_labels: str = Field(alias="data.train_labels")
    device: Literal["cpu", "cuda"]
    dtype: Literal["fp32"]
    epochs: Annotated[int, Field(gt=0)]
    eval_batch_size: Annotated[int, Field(gt=0)]
    evaluations_per_epoch: Count
    gate_checkpoint: str | None = Field(default=None, alias="gate.checkpoint")
    gate_dropout_rate: float | None = Field(default=None, alias="gate.dropout_rate")
    gate_gradients: str | None = Field(default=None, alias="gate.gradients")
    loader: Literal["resident"]
    loader_workers: Count
    loss: Literal["softmax_cross_entropy"]
    mode: Literal["train", "steps", "gate"]
    model: Literal["mlp", "lenet5"]
    dropout_rate: float = Field(alias="model.dropout_rate")
    hidden_units: int | None = Field(default=None, alias="model.hidden_units")
    optimizer: Literal["sgd", "adam"]
    learning_rate: float = Field(alias="optimizer.learning_rate")
    weight_decay: float = Field(alias="optimizer.weight_decay")
    momentum: float | None = Field(default=None, alias="optimizer.momentum")
    beta1: float | None = Field(default=None, alias="optimizer.beta1")
    beta2: float | None = Field(default=None, alias="optimizer.beta2")
    epsilon: float | None = Field(default=None, alias="optimizer.epsilon")
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
        if isinstance(value, str) and UNSAFE.search(value):
            raise TrialError(
                f"trial.json: {key}: got {value!r}; expected no quote, backslash or control character, "
                "because languages without a JSON library read it. Move the data or the store to another path."
            )
    lines = [f"{json.dumps(key)}: {json.dumps(value, ensure_ascii=False)}" for key, value in sorted(content.items())]
    return "{\n" + ",\n".join(lines) + "\n}\n"


def write_trial(trial: TrialFile, path: Path) -> None:
    """Write `trial` to `path`."""
    path.write_text(encode_trial(trial), encoding="utf-8")
