"""What is compiled: everything of a trial that the compiled functions depend on."""

from __future__ import annotations

from dataclasses import dataclass

import jax.numpy as jnp
from _python.trial import Trial
from jax.typing import DTypeLike


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """Model and optimizer of a trial; equal settings share their compiled functions."""

    model: str
    image_shape: tuple[int, int, int]  # height, width, channels
    classes: int
    dropout_rate: float
    hidden_units: int
    hidden_layers: int
    has_norms: bool  # cnn: whether its batch norms are there
    stem: str
    norm_epsilon: float
    norm_momentum: float  # the weight of the batch's statistics
    operand_dtype: DTypeLike  # of what is multiplied in dense layers and convolutions; all else is float32
    optimizer: str
    weight_decay: float
    momentum: float
    beta1: float
    beta2: float
    epsilon: float


def read_setting(trial: Trial, image_shape: tuple[int, int, int], dropout_rate: float) -> Setting:
    """Return the setting of a trial; what its model or optimizer does not have is 0 or empty."""
    return Setting(
        model=trial["model"],
        image_shape=image_shape,
        classes=trial["data.classes"],
        dropout_rate=dropout_rate,
        hidden_units=trial.get("model.hidden_units", 0),
        hidden_layers=trial.get("model.hidden_layers", 0),
        has_norms=trial.get("model.batch_norm", False),
        stem=trial.get("model.stem", ""),
        norm_epsilon=trial.get("model.norm_epsilon", 0.0),
        norm_momentum=trial.get("model.norm_momentum", 0.0),
        operand_dtype=jnp.bfloat16 if trial["dtype"] == "bf16" else jnp.float32,
        optimizer=trial["optimizer"],
        weight_decay=trial["optimizer.weight_decay"],
        momentum=trial.get("optimizer.momentum", 0.0),
        beta1=trial.get("optimizer.beta1", 0.0),
        beta2=trial.get("optimizer.beta2", 0.0),
        epsilon=trial.get("optimizer.epsilon", 0.0),
    )
