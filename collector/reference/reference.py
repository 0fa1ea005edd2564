"""The float64 reference: what the models, losses and optimizers of the contract compute, in plain NumPy.

Written to be checked by eye, not to be fast: the models stand in `architecture.py`, their layers in `layers.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from collector.plan.workload import Adam, Sgd, Workload
from collector.reference.architecture import Architecture
from collector.reference.layers import Array, Pass, TieForm, VarianceForm, Weights, run_layers

Integers = NDArray[np.integer[Any]]
EpsilonForm = Literal["outside", "hat"]


@dataclass(frozen=True, slots=True)
class Forms:
    """Which of the forms that frameworks fix is computed; exceptions.toml describes them."""

    epsilon: EpsilonForm = "outside"
    variance: VarianceForm = "unbiased"
    ties: TieForm = "exact"


CANONICAL = Forms()  # the contract's own


def initial_weights(workload: Workload, architecture: Architecture, generator: np.random.Generator) -> Weights:
    """Return the parameters and running statistics that a run begins with.

    - `fan_in_uniform`: weights and biases from U(±1/sqrt(fan_in)); LeCun et al. (1998), Efficient BackProp, with the
      bound that PyTorch's layers use.
    - `glorot_uniform`: weights from U(±sqrt(6/(fan_in + fan_out))), biases 0; Glorot & Bengio (2010).

    Batch norms begin with weight 1, bias 0, mean 0 and variance 1.
    """
    weights: Weights = {}
    bound = bias_bound = 0.0
    norms = {name.rpartition(".")[0] for name in architecture.statistics}
    for name, shape in architecture.shapes.items():
        layer, _, parameter = name.rpartition(".")
        if layer in norms:
            weights[name] = np.full(shape, 1.0 if parameter == "weight" else 0.0)
        elif parameter == "weight":
            bound, bias_bound = _bounds(workload.initialisation, shape)
            weights[name] = generator.uniform(-bound, bound, shape)
        else:
            weights[name] = generator.uniform(-bias_bound, bias_bound, shape)
    for name, shape in architecture.statistics.items():
        weights[name] = np.full(shape, 0.0 if name.endswith("running_mean") else 1.0)
    return weights


def _bounds(initialisation: str, shape: tuple[int, ...]) -> tuple[float, float]:
    """Return the bounds of weights and biases."""
    fan_in, fan_out = int(np.prod(shape[1:])), shape[0] * int(np.prod(shape[2:]))
    if initialisation == "fan_in_uniform":
        return 1 / float(np.sqrt(fan_in)), 1 / float(np.sqrt(fan_in))
    return float(np.sqrt(6 / (fan_in + fan_out))), 0.0


def logits_of(architecture: Architecture, weights: Weights, images: Array, *, training: bool = False) -> Array:
    """Return the logits, shape (examples, classes), without dropout."""
    return run_layers(architecture.layers, Pass(weights=weights, training=training), images)[0]


def nearest_kink(architecture: Architecture, weights: Weights, images: Array) -> float:
    """Return how close a training pass comes to a kink: a ReLU's 0, or two winners of a max-pool.

    In units of the layer's root mean square. Closer than float32 can tell, the gradient has two right values.
    """
    state = Pass(weights=weights, training=True, nearest_kink=np.inf)
    run_layers(architecture.layers, state, images)
    assert state.nearest_kink is not None
    return state.nearest_kink


def loss_of(logits: Array, labels: Integers) -> float:
    """Return the softmax cross-entropy, mean over the examples."""
    shifted = logits - logits.max(axis=1, keepdims=True)
    log_norms = np.log(np.exp(shifted).sum(axis=1))
    return float(np.mean(log_norms - shifted[np.arange(len(labels)), labels]))


@dataclass(frozen=True, slots=True)
class Step:
    """What one training pass gives: the mean loss, its gradient, and the running statistics after it."""

    loss: float
    gradient: Weights
    statistics: Weights


def gradient_of(
    architecture: Architecture, weights: Weights, images: Array, labels: Integers, forms: Forms = CANONICAL
) -> Step:
    """Return loss, gradient and running statistics of one batch, without dropout and without weight decay."""
    state = Pass(weights=weights, training=True, variance_form=forms.variance, tie_form=forms.ties)
    logits, backward = run_layers(architecture.layers, state, images)
    probabilities = np.exp(logits - logits.max(axis=1, keepdims=True))
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    probabilities[np.arange(len(labels)), labels] -= 1
    gradient: Weights = {}
    backward(probabilities / len(labels), gradient)
    ordered = {name: gradient[name] for name in architecture.shapes}
    return Step(loss_of(logits, labels), ordered, state.statistics)


def dropout_moments(architecture: Architecture, weights: Weights, image: Array, rate: float) -> tuple[Array, Array]:
    """Return mean and variance of each logit of one image under dropout of `rate`, in training mode.

    Dropout stands right before the last dense layer, so the logits are sums of independent terms: with inputs x and
    weights w their mean is that without dropout, and their variance Σ w² x² · rate / (1 − rate).
    """
    (last,) = architecture.head
    state = Pass(weights=weights, training=True)
    values, _ = run_layers(architecture.body, state, image[None])
    mean, _ = last(state, values)
    weight = weights["output.weight"]
    return mean[0], (weight**2 @ values[0] ** 2) * rate / (1 - rate)


@dataclass(slots=True)
class OptimizerState:
    """Steps done and running moments; a fresh one for each training."""

    steps: int = 0
    first: Weights = field(default_factory=dict)
    second: Weights = field(default_factory=dict)


def update_weights(
    optimizer: Sgd | Adam, weights: Weights, gradient: Weights, state: OptimizerState, forms: Forms = CANONICAL
) -> Weights:
    """Return all of `weights` with those that have a gradient moved by one update; `state` moves on.

    Formulas: collector/protocol/README.md §6.
    """
    state.steps += 1
    updated = dict(weights)
    for name, raw in gradient.items():
        weight = weights[name]
        decoupled = optimizer.name == "adamw"
        slope = raw if decoupled else raw + optimizer.weight_decay * weight
        kept = weight * (1 - optimizer.learning_rate * optimizer.weight_decay) if decoupled else weight
        if isinstance(optimizer, Sgd):
            updated[name] = kept - _sgd_step(optimizer, name, slope, state)
        else:
            updated[name] = kept - _adam_step(optimizer, name, slope, state, forms)
    return updated


def train(
    workload: Workload,
    architecture: Architecture,
    weights: Weights,
    batches: Sequence[tuple[Array, Integers]],
    forms: Forms = CANONICAL,
) -> tuple[Weights, list[float]]:
    """Return weights and running statistics after one step for each batch, and the loss of each."""
    state, losses = OptimizerState(), []
    for images, labels in batches:
        step = gradient_of(architecture, weights, images, labels, forms)
        weights = update_weights(workload.optimizer, weights, step.gradient, state, forms) | step.statistics
        losses.append(step.loss)
    return weights, losses


def _sgd_step(optimizer: Sgd, name: str, gradient: Array, state: OptimizerState) -> Array:
    velocity = optimizer.momentum * state.first.get(name, np.zeros_like(gradient)) + gradient
    state.first[name] = velocity
    return optimizer.learning_rate * velocity


def _adam_step(optimizer: Adam, name: str, gradient: Array, state: OptimizerState, forms: Forms) -> Array:
    zeros = np.zeros_like(gradient)
    first = optimizer.beta1 * state.first.get(name, zeros) + (1 - optimizer.beta1) * gradient
    second = optimizer.beta2 * state.second.get(name, zeros) + (1 - optimizer.beta2) * gradient**2
    state.first[name], state.second[name] = first, second
    correction1, correction2 = 1 - optimizer.beta1**state.steps, 1 - optimizer.beta2**state.steps
    if forms.epsilon == "hat":  # Kingma & Ba, end of their section 2; what Keras and TensorFlow compute
        rate = optimizer.learning_rate * np.sqrt(correction2) / correction1
        update: Array = rate * first / (np.sqrt(second) + optimizer.epsilon)
        return update
    return optimizer.learning_rate * (first / correction1) / (np.sqrt(second / correction2) + optimizer.epsilon)
