"""Changes of level: found where they are, once, and seldom where there are none."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from analysis.statistics import change_points as module
from analysis.statistics.change_points import change_points, level_shift, noise
from analysis.statistics.paired import StatisticsError
from tests.analysis.drifting import KINDS, alarm_shares, delays, noise_of

STEP = np.log(1.05)
VALUES = st.lists(st.floats(-5, 5), min_size=1, max_size=60)


def stepped(before: int, after: int, step: float = STEP, deviation: float = 0.01) -> np.ndarray:
    """Return noise of `deviation` with a step of `step` after `before` values."""
    logs = noise_of("normal", deviation, (1, before + after), np.random.default_rng(5))[0]
    logs[before:] += step
    return logs


def test_a_step_is_found_at_its_place_with_its_size() -> None:
    """Of 5 %, with noise of 1 %."""
    (change,) = change_points(stepped(20, 20))

    assert (change.start, change.first) == (0, 20)
    assert change.raised == 24
    assert change.interval.low < STEP < change.interval.high
    assert change.shift == pytest.approx(STEP, abs=0.01)


def test_two_steps_are_two_changes() -> None:
    """Up, and back down again."""
    logs = stepped(20, 40)
    logs[40:] -= STEP

    first, second = change_points(logs)
    assert (first.first, second.first) == (20, 40)
    assert first.shift == pytest.approx(STEP, abs=0.01) == pytest.approx(-second.shift, abs=0.02)


@pytest.mark.parametrize("size", [0.4, -0.4])
def test_one_campaign_far_off_is_no_change(size: float) -> None:
    """Somebody compiled a kernel beside it; three in a row are still chance."""
    logs = stepped(60, 0)
    logs[30] += size
    logs[50:53] += size

    assert change_points(logs) == []


@pytest.mark.parametrize(("deviation", "share"), [(0.005, 0.99), (0.01, 0.95)])
def test_a_large_step_is_placed_where_it_is(deviation: float, share: float) -> None:
    """Else the wrong versions stand beside it: in nearly all series with noise of a fifth of the step or less."""
    logs = noise_of("normal", deviation, (200, 40), np.random.default_rng(6))
    logs[:, 20:] += STEP
    places = [change_points(row)[-1].first for row in logs]

    assert np.mean(np.array(places) == 20) >= share


def test_an_alarm_is_never_taken_back() -> None:
    """What later campaigns bring changes neither its place, nor its size."""
    logs = stepped(20, 40)
    alarms = [change_points(logs[:n]) for n in range(1, 61)]

    assert alarms[24] == alarms[-1] != []
    assert alarms[23] == []


@pytest.mark.parametrize("values", [[1.0], [1.0] * 50, [0.0] * 7 + [9.0] * 7])
def test_too_few_or_equal_values_are_no_change(values: list[float]) -> None:
    """However large the step."""
    assert change_points(values) == []


def test_fifteen_values_can_tell() -> None:
    """The fewest campaigns that raise an alarm, whatever their values."""
    fewest = next(n for n in range(2, 40) if change_points([0.0] * (n // 2) + [1.0] * (n - n // 2)))

    assert fewest == module.FEWEST_VALUES


def test_nothing_and_what_is_no_number_are_refused() -> None:
    """By name and place."""
    with pytest.raises(StatisticsError, match="expected at least one number"):
        change_points([])
    with pytest.raises(StatisticsError, match=r"values\[1\]: got nan"):
        change_points([1.0, math.nan])


@given(VALUES, st.floats(0.1, 10), st.floats(-3, 3))
def test_another_unit_moves_no_change(values: list[float], factor: float, offset: float) -> None:
    """A shift of the logs is a unit; a stretch keeps the ranks."""
    x = np.round(np.array(values), 6)
    places = [(c.first, c.raised) for c in change_points(x)]

    assert [(c.first, c.raised) for c in change_points(factor * x + offset)] == places
    assert [(c.first, c.raised) for c in change_points(-x)] == places


@given(st.lists(st.floats(-5, 5).map(lambda x: round(x, 3)), min_size=4, max_size=30, unique=True), st.data())
def test_the_statistic_is_that_of_mann_and_whitney(values: list[float], data: st.DataObject) -> None:
    """Held against scipy's, for a split and a last value of choice."""
    seen = data.draw(st.integers(2, len(values)))
    split = data.draw(st.integers(1, seen - 1))
    theirs = stats.mannwhitneyu(values[:split], values[split:seen], method="asymptotic", use_continuity=False)

    ours = module._statistics(np.array(values))[split - 1, seen - 1]
    assert 2 * stats.norm.sf(ours) == pytest.approx(theirs.pvalue, rel=1e-9)


def test_the_shift_is_the_median_difference() -> None:
    """By hand: the differences 8, 9, 9, 10, 10, 11 and so on."""
    shift, interval = level_shift(np.arange(10.0), np.arange(10.0) + 10)

    assert shift == 10.0
    assert interval.low < 10.0 < interval.high
    assert math.isinf(level_shift(np.array([1.0]), np.array([2.0]))[1].high)


def test_the_interval_of_a_shift_covers_it() -> None:
    """As often as it says, from few values and with heavy tails."""
    generator = np.random.default_rng(3)
    for kind in ("normal", "heavy tails"):
        logs = noise_of(kind, 0.01, (1000, 26), generator)
        intervals = [level_shift(row[:20], row[20:])[1] for row in logs]
        covered = np.mean([not interval.excludes(0) for interval in intervals])
        assert 0.93 <= covered <= 0.98, kind


def test_noise_is_the_deviation_of_normal_values_and_ignores_one_far_off() -> None:
    """None from a single value."""
    values = np.random.default_rng(1).normal(0, 0.02, 5000)

    assert noise(values) == pytest.approx(0.02, rel=0.05)
    assert noise([*values, 100.0]) == pytest.approx(0.02, rel=0.05)
    assert noise([1.0]) is None


@pytest.mark.parametrize("kind", KINDS[:3])
def test_series_without_a_change_seldom_raise_an_alarm(kind: str) -> None:
    """At most 5 % of series ever do in 60 campaigns, and 2 % report one where the noise is 2 % (200 series each)."""
    alarms, reports = alarm_shares(kind, 0.02, 60, 200, seed=7)

    assert alarms <= 0.05 + 2 * math.sqrt(0.05 * 0.95 / 200)
    assert reports <= 0.02


def test_a_machine_that_drifts_is_not_reported_as_its_entries() -> None:
    """Alarms there are, because the level did change; they are named the machine's."""
    alarms, reports = alarm_shares("drift", 0.02, 60, 150, seed=7)

    assert alarms > 0.2
    assert reports <= 0.02


def test_a_step_of_five_percent_is_found_within_ten_campaigns() -> None:
    """In nine of ten series, with noise of 2 % after 20 campaigns; with noise of 1 % within 5."""
    assert float(np.quantile(delays(20, 0.02, 0.05, 200, seed=8), 0.9, method="lower")) <= 10
    assert float(np.quantile(delays(20, 0.01, 0.05, 200, seed=8), 0.9, method="lower")) <= 5


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS[:3])
@pytest.mark.parametrize("deviation", [0.005, 0.01, 0.02, 0.05])
def test_the_rates_of_the_page(kind: str, deviation: float) -> None:
    """1,000 null series of 60 campaigns: at most 5 % ever raise an alarm, and 2 % report one at noise up to 2 %."""
    alarms, reports = alarm_shares(kind, deviation, 60, 1000, seed=1)
    chance = 2 * math.sqrt(0.05 * 0.95 / 1000)  # of the count, where the rate is 5 %

    assert alarms <= 0.05 + chance
    assert reports <= (0.02 if deviation <= 0.02 else 0.05 + chance)
