"""Gunther's universal law beside Amdahl's."""

from __future__ import annotations

import doctest
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import optimize

from analysis.pages.workload import scaling
from analysis.pages.workload.scaling import law_cells
from analysis.statistics import scaling_laws
from analysis.statistics.scaling_laws import amdahl, corrected_information, preference, universal_law

PLACES = np.repeat([1.0, 2.0, 4.0, 8.0, 16.0], 5)


def seconds_of(contention, coherency, noise, seed=1, places=PLACES):
    """Return five runs at each of five places, of a program with that contention and coherency."""
    clean = 10 * (1 + contention * (places - 1) + coherency * places * (places - 1)) / places
    return clean * np.exp(np.random.default_rng(seed).normal(0, noise, places.size))


@pytest.mark.parametrize("module", [scaling_laws, scaling])
def test_the_examples_are_true(module):
    """What the docstrings show is what the functions return."""
    found = doctest.testmod(module)

    assert found.failed == 0
    assert found.attempted


@pytest.mark.parametrize(("contention", "coherency"), [(0.0, 0.0), (0.1, 0.0), (0.0, 0.01), (0.05, 0.002), (0.3, 0.03)])
def test_both_come_back_without_noise(contention, coherency):
    """On the edges of what they may be, and inside."""
    law = universal_law(PLACES, seconds_of(contention, coherency, 0.0))

    assert law.contention == pytest.approx(contention, abs=1e-6)
    assert law.coherency == pytest.approx(coherency, abs=1e-7)
    assert law.seconds_of_one == pytest.approx(10.0, rel=1e-6)


def test_the_fit_is_that_of_scipys_curve_fit():
    """The same least squares of the logs by another optimiser, which knows no edges."""
    seconds = seconds_of(0.1, 0.01, 0.02)

    def model(n, log_one, contention, coherency):
        return log_one + np.log((1 + contention * (n - 1) + coherency * n * (n - 1)) / n)

    theirs, _ = optimize.curve_fit(model, PLACES, np.log(seconds), p0=[2.0, 0.2, 0.02], xtol=1e-14, ftol=1e-14)
    law = universal_law(PLACES, seconds)

    found = [math.log(law.seconds_of_one), law.contention, law.coherency]
    assert found == pytest.approx(list(theirs), rel=1e-5)


def test_gunthers_own_example_has_its_published_coefficients():
    """The ray tracer of *Guerrilla Capacity Planning*: σ near 0.05, κ near 1e-5, fastest with about 290 processors."""
    processors = [1.0, 4, 8, 12, 16, 20, 24, 28, 32, 48, 64]
    rays_per_s = np.array([20.0, 78, 130, 170, 190, 200, 210, 230, 260, 280, 310])
    law = universal_law(processors, 1 / rays_per_s)

    assert law.contention == pytest.approx(0.05, abs=0.01)
    assert 0 <= law.coherency < 1e-4


@pytest.mark.parametrize(("contention", "coherency"), [(0.1, 0.01), (0.05, 0.002)])
def test_the_intervals_cover_the_true_values(contention, coherency):
    """Of 150 sets of 25 runs, 90 to 99 %."""
    held = []
    for seed in range(150):
        law = universal_law(PLACES, seconds_of(contention, coherency, 0.03, seed))
        held.append(
            (
                not law.contention_interval.excludes(contention),
                not law.coherency_interval.excludes(coherency),
            )
        )

    assert all(0.90 <= share <= 0.99 for share in np.mean(held, axis=0))


def test_with_no_coherency_it_is_amdahls_law():
    """The same squares, so the law with fewer parameters describes better."""
    seconds = seconds_of(0.2, 0.0, 0.0)
    law, universal = amdahl(PLACES, seconds), universal_law(PLACES, seconds)

    assert universal.contention == pytest.approx(law.serial, abs=1e-6)
    assert universal.fastest == math.inf or universal.fastest > 1e3
    assert universal.speed_up(8) == pytest.approx(law.speed_up(8), rel=1e-6)


@pytest.mark.parametrize(("coherency", "is_universal"), [(0.0, False), (0.02, True)])
def test_the_better_description_is_told(coherency, is_universal):
    """Of 40 sets, nine in ten at least."""
    better = [
        preference(amdahl(PLACES, seconds), universal_law(PLACES, seconds)) > 0
        for seed in range(40)
        for seconds in [seconds_of(0.1, coherency, 0.03, seed)]
    ]

    assert (np.mean(better) >= 0.9) if is_universal else (np.mean(better) <= 0.25)


def test_the_fastest_number_is_where_seconds_are_least():
    """√((1 - 0.1) / 0.01) = 9.49: between nine and ten."""
    law = universal_law(PLACES, seconds_of(0.1, 0.01, 0.0))
    numbers = np.arange(1, 40)

    assert law.fastest == pytest.approx(math.sqrt(90), rel=1e-4)
    assert numbers[np.argmax([law.speed_up(n) for n in numbers])] in (9, 10)


@given(st.floats(1e-3, 1e3))
def test_the_unit_changes_only_the_seconds_of_one(unit):
    """Milliseconds have the same contention."""
    one, other = (universal_law(PLACES, seconds_of(0.1, 0.01, 0.02) * factor) for factor in (1.0, unit))

    assert other.contention == pytest.approx(one.contention, abs=1e-5)
    assert other.seconds_of_one == pytest.approx(one.seconds_of_one * unit, rel=1e-4)


def test_fewer_places_than_parameters_and_one_more_are_no_law():
    """Three places: Amdahl's alone; two: neither; each in words."""
    three = np.repeat([1.0, 2.0, 4.0], 3)
    seconds = seconds_of(0.2, 0.0, 0.01, places=three)

    assert universal_law(three, seconds) is None
    assert universal_law([1, 2, 4, 8], [8.0, 4.0, 2.0, 1.0]) is None
    assert law_cells(three, seconds, "threads")[-1].startswith("Amdahl's law; the universal law needs 4 places")
    assert law_cells([], [], "threads")[-1].startswith("neither: 0 places")
    assert law_cells([1.0] * 5, [2.0] * 5, "threads")[-1].startswith("neither: 1 place;")


def test_too_few_runs_have_no_criterion():
    """N ≤ k + 1."""
    assert corrected_information(1.0, 4, 3) == math.inf
    assert math.isfinite(corrected_information(0.0, 9, 3))
