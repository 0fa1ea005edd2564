"""The optimizers of the contract (§6) by the fused kernels that TensorFlow has for them: one operation per variable."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import tensorflow as tf
from _python.trial import Trial
from model import Variables

Gradient = Mapping[str, tf.Tensor]
MOMENTS = {"sgd": 1, "adam": 2, "adamw": 2}


class Optimizer:
    """The moments of all variables, the number of steps and the learning rate."""

    def __init__(self, trial: Trial, variables: Variables) -> None:
        self.trial = trial
        self.variables = variables
        self.moments = [
            {name: tf.Variable(tf.zeros_like(variable), trainable=False) for name, variable in variables.items()}
            for _ in range(MOMENTS[trial["optimizer"]])
        ]
        self.steps = tf.Variable(0.0, trainable=False)
        self.rate = tf.Variable(trial["optimizer.learning_rate"], dtype=tf.float32, trainable=False)
        self._update = self._sgd if trial["optimizer"] == "sgd" else self._adam

    def reset(self) -> None:
        """Forget all moments and start with the trial's learning rate."""
        for moment in self.moments:
            for variable in moment.values():
                variable.assign(tf.zeros_like(variable))
        self.steps.assign(0.0)
        self.rate.assign(self.trial["optimizer.learning_rate"])

    def apply(self, gradient: Gradient) -> None:
        """Do one update; to be called while a tf.function is traced."""
        decay = self.trial["optimizer.weight_decay"]
        if decay and self.trial["optimizer"] == "adamw":
            for variable in self.variables.values():
                variable.assign(variable * (1 - self.rate * decay), read_value=False)
        elif decay:
            gradient = {name: slope + decay * self.variables[name] for name, slope in gradient.items()}
        self._update(gradient)

    def _sgd(self, gradient: Gradient) -> None:
        (velocity,) = self.moments
        for name, variable in self.variables.items():
            tf.raw_ops.ResourceApplyMomentum(
                var=variable.handle,
                accum=velocity[name].handle,
                lr=self.rate,
                grad=gradient[name],
                momentum=self.trial["optimizer.momentum"],
                use_locking=False,
                use_nesterov=False,
            )

    def _adam(self, gradient: Gradient) -> None:
        """Adam with epsilon outside the bias-corrected root.

        The kernel computes `w ← w − lr · √(1 − beta2_power) / (1 − beta1_power) · m / (√v + epsilon)`. With powers of 0
        both corrections are ours: `lr` takes the quotient, and `epsilon` the root, which makes it the contract's form.
        """
        self.steps.assign_add(1.0, read_value=False)
        beta1, beta2 = self.trial["optimizer.beta1"], self.trial["optimizer.beta2"]
        root = tf.sqrt(_one_minus_power(beta2, self.steps))
        rate = self.rate * root / _one_minus_power(beta1, self.steps)
        epsilon = self.trial["optimizer.epsilon"] * root
        first, second = self.moments
        for name, variable in self.variables.items():
            tf.raw_ops.ResourceApplyAdam(
                var=variable.handle,
                m=first[name].handle,
                v=second[name].handle,
                beta1_power=0.0,
                beta2_power=0.0,
                lr=rate,
                beta1=beta1,
                beta2=beta2,
                epsilon=epsilon,
                grad=gradient[name],
                use_locking=False,
                use_nesterov=False,
            )


def _one_minus_power(beta: float, steps: tf.Variable) -> tf.Tensor:
    """Return 1 − beta^steps of the beta that the kernel sees, which is float32's.

    Subtracting from 1 would lose four of float32's seven digits at the first step.
    """
    return -tf.math.expm1(steps * math.log(float(np.float32(beta))))
