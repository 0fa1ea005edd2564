"""The trial file: a flat mapping whose keys are those of the contract, §1."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

Trial = Mapping[str, Any]

# What the Python runners can do, beside the devices and variants that each names itself.
SUPPORTED: Mapping[str, Sequence[str]] = {
    "data.format": ("idx",),
    "dtype": ("fp32",),
    "loader": ("resident",),
    "loss": ("softmax_cross_entropy",),
    "mode": ("train", "steps", "gate"),
    "model": ("mlp", "lenet5"),
    "optimizer": ("sgd", "adam"),
}


def read_trial(path: Path) -> Trial:
    """Return the trial in `path`."""
    content: Trial = json.loads(path.read_text(encoding="utf-8"))
    return content


def reason_unsupported(trial: Trial, supported: Mapping[str, Sequence[str]]) -> str:
    """Return why a runner cannot do this trial, or an empty string."""
    for key, values in {**SUPPORTED, **supported}.items():
        if trial[key] not in values:
            return f"{key}: got {trial[key]}; this runner supports {', '.join(values)}"
    return ""
