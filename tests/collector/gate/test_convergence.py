"""Part H: trainings that end alike pass, others do not, and too few say nothing."""

from __future__ import annotations

import numpy as np
import pytest

from collector.gate.convergence import Ends, judge_ends


def ends(shift=0.0, spread=0.001, heats=10, later=0.0):
    generator = np.random.default_rng(8)
    baseline = 0.989 + spread * generator.normal(size=heats)
    epochs = generator.choice([3.0, 3.25, 3.5, 4.0], heats)
    return Ends(
        accuracy=0.989 + shift + spread * generator.normal(size=heats),
        baseline_accuracy=baseline,
        epochs=generator.choice([3.0, 3.25, 3.5, 4.0], heats) + later,
        baseline_epochs=epochs,
    )


def failures(found):
    return [check.quantity for check in judge_ends(found) if not check.passed]


def test_trainings_that_end_alike_pass():
    """With the spread that LeNet has, ten heats show that the accuracies lie within 0.3 points."""
    assert failures(ends()) == []


@pytest.mark.parametrize(
    ("found", "quantity"),
    [
        (ends(shift=-0.004), "final accuracy"),
        (ends(spread=0.01), "final accuracy"),
        (ends(later=2.0), "epochs to the target"),
        (ends(later=np.inf), "epochs to the target"),
    ],
    ids=["0.4 points worse", "too noisy to show it", "two epochs later", "never"],
)
def test_other_trainings_do_not(found, quantity):
    """Worse, not shown to be the same, later or never at the target."""
    assert quantity in failures(found)


def test_equal_programs_are_seldom_refused():
    """Of 1,000 campaigns of ten heats with LeNet's spread, at most 1 % call equal programs different."""
    generator = np.random.default_rng(9)
    refused = 0
    for _ in range(1000):
        accuracy, epochs = 0.989 + 0.0012 * generator.normal(size=(2, 10)), generator.choice([3, 3.25, 3.5, 4], (2, 10))
        found = Ends(accuracy=accuracy[0], baseline_accuracy=accuracy[1], epochs=epochs[0], baseline_epochs=epochs[1])
        refused += bool(failures(found))
    assert refused <= 10


def test_runs_that_never_met_the_target_on_both_sides_are_alike():
    """Two entries that both never get there are of one distribution."""
    same = Ends(
        accuracy=np.full(10, 0.9) + np.arange(10) * 1e-4,
        baseline_accuracy=np.full(10, 0.9) + np.arange(10)[::-1] * 1e-4,
        epochs=np.full(10, np.inf),
        baseline_epochs=np.full(10, np.inf),
    )
    assert failures(same) == []
