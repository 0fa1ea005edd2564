"""Which backend trains, and how: by the variant's name, `<backend>_<fit or step>`.

Keras reads KERAS_BACKEND when it is imported, so everything that imports it is imported by `initialise`.
"""

from __future__ import annotations

import importlib
import os
from copy import copy
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _python.data import Data, Weights
    from _python.trial import Trial
    from base import KerasTrainer, Placed

BUILT: dict[str, KerasTrainer] = {}  # of the data in hand, by everything but the learning rate


def initialise(trial: Trial) -> None:
    """Choose the backend, import it and Keras, and set threads, device and precision."""
    backend, _ = _variant(trial)
    os.environ["KERAS_BACKEND"] = backend
    os.environ["KERAS_TORCH_DEVICE"] = trial["device"]
    _module(trial).initialise(trial)


def place(trial: Trial, data: Data) -> Placed:
    """Return the data on the device, images with their channels where this backend wants them."""
    placed: Placed = _module(trial).place(trial, data)
    return placed


def Trainer(trial: Trial, data: Placed, weights: Weights, dropout_rate: float) -> KerasTrainer:  # noqa: N802
    """Return the variant's trainer, started from `weights`.

    Those of one trial share their model and what is compiled of it, which takes longest: the gate asks for several that
    differ in the learning rate, and starts each of its parts with `reset`.
    """
    if any(built.data is not data for built in BUILT.values()):
        BUILT.clear()
    key = repr(sorted({**trial, "optimizer.learning_rate": None, "model.dropout_rate": dropout_rate}.items()))
    if key not in BUILT:
        _, way = _variant(trial)
        kind = {"fit": "FitTrainer", "step": "StepTrainer"}[way]
        BUILT[key] = getattr(_module(trial), kind)(trial, data, weights, dropout_rate)
    trainer = copy(BUILT[key])
    trainer.trial = trial
    trainer.reset(weights)
    return trainer


def _variant(trial: Trial) -> tuple[str, str]:
    backend, _, way = trial["variant"].partition("_")
    return backend, way


def _module(trial: Trial) -> ModuleType:
    return importlib.import_module(f"on_{_variant(trial)[0]}")
