"""Keras's own optimizers with every hyperparameter given, and the weight decay that they leave to the model."""

from __future__ import annotations

from typing import Any

import keras
from _python.trial import Trial

UNUSED = {
    "clipnorm": None,
    "clipvalue": None,
    "global_clipnorm": None,
    "use_ema": False,
    "ema_momentum": 0.0,
    "ema_overwrite_frequency": None,
    "loss_scale_factor": None,
    "gradient_accumulation_steps": None,
}


class L2InGradient:
    """Adds λ w to the gradient of every parameter: Keras's own `weight_decay` is decoupled, even in SGD."""

    l2: float

    def apply(self, grads: list[Any], trainable_variables: list[Any] | None = None) -> None:
        """Update the variables; `stateless_apply` gives none, and means those that the optimizer was built with."""
        variables = trainable_variables or self._trainable_variables
        grads = [gradient + self.l2 * variable.value for gradient, variable in zip(grads, variables, strict=True)]
        super().apply(grads, trainable_variables)


def build_optimizer(trial: Trial) -> keras.optimizers.Optimizer:
    """Return the optimizer of a trial (contract §6)."""
    kind, settings = {"sgd": sgd, "adam": adam, "adamw": adamw}[trial["optimizer"]](trial)
    settings |= {"learning_rate": trial["optimizer.learning_rate"], **UNUSED}
    optimizer = kind(**settings)
    if trial["optimizer"] == "adamw" or trial["optimizer.weight_decay"] == 0:
        return optimizer
    # For PyTorch Keras made an object of another class, whose kernels span all parameters: that one is extended.
    extended = type(f"L2{kind.__name__}", (L2InGradient, type(optimizer)), {"l2": trial["optimizer.weight_decay"]})
    return extended(**settings)


def sgd(trial: Trial) -> tuple[type, dict[str, Any]]:
    """Return gradient descent with momentum."""
    return keras.optimizers.SGD, {
        "momentum": float(trial["optimizer.momentum"]),
        "nesterov": False,
        "weight_decay": None,
    }


def adam(trial: Trial) -> tuple[type, dict[str, Any]]:
    """Return Adam; its epsilon is "epsilon hat" (exceptions.toml)."""
    return keras.optimizers.Adam, {
        "beta_1": trial["optimizer.beta1"],
        "beta_2": trial["optimizer.beta2"],
        "epsilon": trial["optimizer.epsilon"],
        "amsgrad": False,
        "weight_decay": None,
    }


def adamw(trial: Trial) -> tuple[type, dict[str, Any]]:
    """Return AdamW, whose decay reaches every parameter: none is excluded."""
    _, settings = adam(trial)
    return keras.optimizers.AdamW, settings | {"weight_decay": trial["optimizer.weight_decay"]}


def set_learning_rate(optimizer: keras.optimizers.Optimizer, rate: float) -> None:
    """Go on with another learning rate; SGD keeps its velocity multiplied by it, the contract does not."""
    before = float(keras.ops.convert_to_numpy(optimizer.learning_rate))
    for velocity in getattr(optimizer, "momentums", []):
        velocity.assign(velocity * (rate / before if before else 0.0))
    optimizer.learning_rate = rate


def restart(optimizer: keras.optimizers.Optimizer, rate: float) -> None:
    """Make an optimizer as good as new: no steps done, no moments."""
    for variable in optimizer.variables:
        variable.assign(keras.ops.zeros(variable.shape, variable.dtype))
    optimizer.learning_rate = rate
