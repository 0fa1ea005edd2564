"""The NumPy runner's hand-written layers and optimizers against the reference, and what only it and few others do."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest

from collector.plan.runner import RUNNERS
from collector.plan.workload import OPTIMIZERS
from collector.protocol.events import ChunkStop, EpochStop, of_kind
from collector.reference.layers import Pass, batch_norm, max_pool
from collector.reference.reference import OptimizerState, update_weights

F32 = np.float32


@pytest.fixture
def own(shared):
    """Return a function that imports a module of the runner under a name of its own: others have `layers` too."""
    shared("data")

    def load(name):
        specification = importlib.util.spec_from_file_location(
            f"numpy_runner_{name}", RUNNERS / "python_numpy" / f"{name}.py"
        )
        module = importlib.util.module_from_spec(specification)
        specification.loader.exec_module(module)
        return module

    return load


@pytest.mark.parametrize("size", [(4, 4), (5, 5), (7, 4)])
def test_max_pool_drops_an_odd_last_row_or_column(own, size):
    """Output and gradient are those of the reference, ties included: small integers make many."""
    pool, generator = own("layers").MaxPool(), np.random.default_rng(1)
    for _ in range(2):  # the second time in arrays that were used before
        values = generator.integers(-2, 3, (3, 2, *size)).astype(F32)
        expected, backward = max_pool(2, stride=2, padding=0)(Pass(weights={}, training=True), values.astype(float))
        delta = generator.normal(size=expected.shape).astype(F32)

        np.testing.assert_array_equal(pool.forward(values, True), expected)
        np.testing.assert_array_equal(pool.backward(delta), backward(delta.astype(float), {}))


def test_batch_norm_is_that_of_the_reference(own):
    """Training, gradient, running statistics and evaluation, far from mean 0 and deviation 1."""
    generator = np.random.default_rng(2)
    weights = {"n.weight": generator.uniform(0.5, 2, 3), "n.bias": generator.normal(size=3)}
    statistics = {"n.running_mean": generator.normal(size=3), "n.running_var": generator.uniform(0.5, 2, 3)}
    narrow, gradient = ({n: a.astype(F32) for n, a in part.items()} for part in (weights, weights))
    running = {name: array.astype(F32) for name, array in statistics.items()}
    norm = own("layers").BatchNorm("n", narrow, gradient, running, epsilon=1e-3, momentum=0.2)
    values = generator.normal(3, 5, (4, 3, 5, 5)).astype(F32)
    delta = generator.normal(size=values.shape).astype(F32)
    state, expected_gradient = Pass(weights=weights | statistics, training=True), {}
    reference = batch_norm("n", epsilon=1e-3, momentum=0.2)
    output, backward = reference(state, values.astype(float))

    np.testing.assert_allclose(norm.forward(values, True), output, rtol=1e-5, atol=1e-6)
    back = backward(delta.astype(float), expected_gradient)
    np.testing.assert_allclose(norm.backward(delta.copy()), back, rtol=1e-4, atol=1e-6)
    for name, array in (expected_gradient | state.statistics).items():
        np.testing.assert_allclose((gradient | running)[name], array, rtol=1e-5, atol=1e-5)
    evaluated, _ = reference(Pass(weights=weights | state.statistics, training=False), values.astype(float))
    np.testing.assert_allclose(norm.forward(values, False), evaluated, rtol=1e-5, atol=1e-5)


def test_dropout_leaves_the_pooled_values_alone(own):
    """The max-pool before it needs them for its own way back."""
    dropout = own("layers").Dropout(0.5, np.random.default_rng(3))
    values = np.ones((50, 40), F32)

    dropped = dropout.forward(values, True)

    assert (values == 1).all()
    assert set(np.unique(dropped)) == {0, 2}
    np.testing.assert_array_equal(dropout.backward(np.ones_like(values)), dropped)
    assert dropout.forward(values, False) is values


@pytest.mark.parametrize("label", OPTIMIZERS)
@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_optimizers_are_those_of_the_reference(own, label, decay):
    """Five updates of each kind, with and without weight decay."""
    kind = OPTIMIZERS[label].model_copy(update={"weight_decay": decay, "learning_rate": 0.01})
    generator = np.random.default_rng(4)
    values = generator.normal(size=200).astype(F32)
    weights, state = {"w": values.astype(float)}, OptimizerState()
    settings = kind.model_dump(exclude={"name"})
    trial = {"optimizer": kind.name, **{f"optimizer.{key}": value for key, value in settings.items()}}
    optimizer = own("optimizer").build_optimizer(trial, 200)
    for _ in range(5):
        gradient = generator.normal(size=200).astype(F32)
        weights = update_weights(kind, weights, {"w": gradient.astype(float)}, state)
        optimizer.update(values, gradient.copy())

    np.testing.assert_allclose(values, weights["w"], rtol=1e-5, atol=1e-6)


def test_a_cosine_schedule_halves_the_rate_of_the_second_of_two_epochs(drive):
    """The first epoch is the same as at a constant rate; the second is not."""
    constant = [event.train_loss for event in of_kind(drive("python_numpy", "train").events, EpochStop)]
    cosine = drive("python_numpy", "cosine", schedule="cosine", schedule_epochs=2).events

    losses = [event.train_loss for event in of_kind(cosine, EpochStop)]
    assert losses[:4] == constant[:4]
    assert losses[5] != constant[5]


def test_inference_is_done_twice_for_latency_and_for_throughput(drive):
    """Every pass has its chunk in the first pair; in the second only the last."""
    changes = {"mode": "infer", "steps": 7, "epochs": 1, "evaluations_per_epoch": 0}
    events = drive("python_numpy", "infer", **changes).events

    assert [event.steps for event in of_kind(events, ChunkStop)] == [1, 2, 3, 4, 5, 6, 7, 7]
    assert [event.epoch for event in of_kind(events, EpochStop)] == [1.0, 2.0]
