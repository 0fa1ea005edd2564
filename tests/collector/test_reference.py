"""The float64 reference is right: its gradients against finite differences, its optimizers against their formulas."""

from __future__ import annotations

import numpy as np
import pytest

from collector.reference import (
    OptimizerState,
    gradient_of,
    initial_weights,
    logits_of,
    loss_of,
    parameter_shapes,
    update_weights,
)
from collector.workload import Adam, Sgd, known_workloads, read_workload

STEP = 1e-6


@pytest.mark.parametrize("name", known_workloads())
def test_the_parameter_count_is_the_one_stated(name):
    """The workload file and the reference describe one model."""
    workload = read_workload(name)

    assert sum(int(np.prod(shape)) for shape in parameter_shapes(workload).values()) == workload.parameters


@pytest.mark.parametrize("name", ["mnist_mlp", "mnist_lenet"])
def test_gradients_agree_with_finite_differences(name):
    """Central differences in random directions, one per tensor."""
    workload, generator = read_workload(name), np.random.default_rng(3)
    weights = initial_weights(workload, generator)
    images, labels = generator.normal(size=(5, 1, 28, 28)), generator.integers(0, 10, 5)
    _, gradient = gradient_of(workload, weights, images, labels)

    for parameter in weights:
        direction = generator.normal(size=weights[parameter].shape)
        direction /= np.linalg.norm(direction)  # short enough not to cross the kink of a ReLU
        losses = [
            loss_of(logits_of(workload, {**weights, parameter: weights[parameter] + s * direction}, images), labels)
            for s in (STEP, -STEP)
        ]
        expected = (losses[0] - losses[1]) / (2 * STEP)
        assert np.vdot(gradient[parameter], direction) == pytest.approx(expected, rel=1e-4, abs=1e-9)


def test_sgd_carries_its_velocity():
    """Two steps by hand: w = 1, g = 1 and then 2, momentum 0.5, decay 0.1, rate 0.1."""
    optimizer = Sgd(name="sgd", learning_rate=0.1, momentum=0.5, weight_decay=0.1)
    state, weights = OptimizerState(), {"w": np.array([1.0])}
    weights = update_weights(optimizer, weights, {"w": np.array([1.0])}, state)
    weights = update_weights(optimizer, weights, {"w": np.array([2.0])}, state)

    # v1 = 1 + 0.1 = 1.1; w1 = 0.89; v2 = 0.55 + 2 + 0.089 = 2.639; w2 = 0.6261
    assert weights["w"] == pytest.approx([0.6261])


def test_the_first_step_of_adam_is_the_learning_rate():
    """Bias correction makes it g / (|g| + epsilon) whatever the betas."""
    optimizer = Adam(name="adam", learning_rate=0.1, beta1=0.9, beta2=0.999, epsilon=1.0, weight_decay=0.0)
    weights = update_weights(optimizer, {"w": np.array([0.0])}, {"w": np.array([3.0])}, OptimizerState())

    assert weights["w"] == pytest.approx([-0.1 * 3 / 4])


def test_the_loss_of_equal_logits_is_the_entropy_of_guessing():
    """Ten equal logits cost log 10, however large they are."""
    assert loss_of(np.full((4, 10), 1e3), np.arange(4)) == pytest.approx(np.log(10))
