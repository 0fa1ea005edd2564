"""The trial file: a flat mapping whose keys are those of the contract, §1."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

Trial = Mapping[str, Any]
Supported = Mapping[str, Sequence[str]]

# What a Python runner can do unless its own SUPPORTED says otherwise; devices and variants each names itself.
SUPPORTED: Supported = {
    "data.format": ("idx", "cifar10_binary"),
    "dtype": ("fp32",),
    "loader": ("resident",),
    "loss": ("softmax_cross_entropy",),
    "mode": ("train", "steps", "infer", "gate"),
    "model": ("mlp", "lenet5", "cnn", "keras_cnn", "resnet18", "resnet50"),
    "optimizer": ("sgd", "adam", "adamw"),
    "optimizer.schedule": ("constant",),
}


def read_trial(path: Path) -> Trial:
    """Return the trial in `path`."""
    content: Trial = json.loads(path.read_text(encoding="utf-8"))
    return content


def reason_unsupported(trial: Trial, supported: Supported) -> str:
    """Return why a runner cannot do this trial, or an empty string."""
    for key, values in {**SUPPORTED, **supported}.items():
        if trial[key] not in values:
            return f"{key}: got {trial[key]}; this runner supports {', '.join(values)}"
    return ""
