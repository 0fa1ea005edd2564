"""Speed-up, efficiency, Amdahl's law and crossovers."""

from __future__ import annotations

import doctest

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import optimize

from analysis.statistics import scaling_laws
from analysis.statistics.paired import StatisticsError
from analysis.statistics.scaling_laws import amdahl, crossovers, efficiencies, speed_ups

PLACES = np.repeat([1.0, 2.0, 4.0, 8.0], 6)


def seconds_of(serial, noise, seed=1):
    """Return six runs at each of four places, of a program with that serial share."""
    clean = 10 * (serial + (1 - serial) / PLACES)
    return clean * np.exp(np.random.default_rng(seed).normal(0, noise, PLACES.size))


def test_the_examples_are_true():
    """What the docstrings show is what the functions return."""
    assert doctest.testmod(scaling_laws).failed == 0


@pytest.mark.parametrize("serial", [0.0, 0.05, 0.3, 1.0])
def test_a_serial_share_without_noise_comes_back(serial):
    """All of it, none of it, and between."""
    law = amdahl(PLACES, seconds_of(serial, 0.0))

    assert law.serial == pytest.approx(serial, abs=1e-6)
    assert law.seconds_of_one == pytest.approx(10.0, rel=1e-6)


def test_the_fit_is_that_of_scipys_curve_fit():
    """The same least squares of the logs by another optimiser."""
    seconds = seconds_of(0.2, 0.03)

    def model(n, log_one, serial):
        return log_one + np.log(serial + (1 - serial) / n)

    theirs, _ = optimize.curve_fit(model, PLACES, np.log(seconds), p0=[1.0, 0.5], xtol=1e-12)
    law = amdahl(PLACES, seconds)

    assert law.serial == pytest.approx(theirs[1], rel=1e-6)
    assert np.log(law.seconds_of_one) == pytest.approx(theirs[0], rel=1e-6)


@pytest.mark.parametrize("serial", [0.05, 0.3])
def test_the_interval_covers_the_true_share(serial):
    """Of 400 sets of 24 runs, 92 to 98 %."""
    held = [not amdahl(PLACES, seconds_of(serial, 0.05, seed)).serial_interval.excludes(serial) for seed in range(400)]

    assert 0.92 <= np.mean(held) <= 0.98


@given(st.floats(1e-3, 1e3))
def test_the_unit_changes_only_the_seconds_of_one(unit):
    """Milliseconds have the same serial share."""
    one, other = amdahl(PLACES, seconds_of(0.2, 0.03)), amdahl(PLACES, seconds_of(0.2, 0.03) * unit)

    assert other.serial == pytest.approx(one.serial, rel=1e-5)
    assert other.seconds_of_one == pytest.approx(one.seconds_of_one * unit, rel=1e-5)


def test_two_places_are_no_law():
    """Any share goes through two points."""
    assert amdahl([1, 1, 2, 2], [4.0, 4.1, 2.0, 2.1]) is None
    assert amdahl([1, 2, 4], [4.0, 2.0, 1.0]) is None


def test_what_has_no_logarithm_or_order_is_refused():
    """Zero seconds, and places that do not rise."""
    with pytest.raises(StatisticsError, match=r"seconds\[1\]: got 0"):
        amdahl([1, 2, 4, 8], [1.0, 0.0, 1.0, 1.0])
    with pytest.raises(StatisticsError, match="expected 2 rising numbers"):
        speed_ups([2, 1], [1.0, 1.0])


def test_efficiency_is_against_the_first_place():
    """From two threads to four in half the time is perfect."""
    assert efficiencies([2, 4], [6.0, 3.0]).tolist() == [1.0, 1.0]


def test_crossovers_lie_where_straight_lines_cross_and_exchange_changes_nothing():
    """Lines 1/n and 0.3 in log-log cross at n = 1 / 0.3; equal lines never do."""
    places = [1.0, 2.0, 4.0, 8.0]
    (there,) = crossovers(places, [1 / n for n in places], [0.3] * 4)
    (back,) = crossovers(places, [0.3] * 4, [1 / n for n in places])

    assert there.at == back.at == pytest.approx(1 / 0.3)
    assert (there.low, there.high) == (2.0, 4.0)
    assert crossovers(places, [1.0] * 4, [1.0] * 4) == []
    assert crossovers(places, [1.0] * 4, [2.0] * 4) == []
