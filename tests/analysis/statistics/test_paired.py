"""Estimates from paired heats."""

from __future__ import annotations

import doctest
import importlib
import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from analysis.statistics.paired import (
    Effect,
    Interval,
    StatisticsError,
    coefficient_of_variation,
    geometric_mean,
    hodges_lehmann,
    holm,
    is_equivalent,
    log_margin,
    log_ratios,
    mean_effect,
    percent_difference,
    signed_rank_interval,
    standard_deviation_interval,
)

MODULES = (
    "statistics.paired", "statistics.variance", "statistics.time_to_accuracy", "findings.comparison", "findings.find",
    "findings.finding", "rendering.wording", "rendering.headlines", "frames.views", "frames.columns",
)  # fmt: skip

durations = st.floats(1e-3, 1e4)
pairs = st.lists(st.tuples(durations, durations), min_size=2, max_size=15)
differences = st.lists(st.floats(-5, 5).map(lambda x: round(x, 6)), min_size=2, max_size=12)
REFUSED = (math.nan, math.inf, -math.inf, 0.0, -1.0)


@pytest.mark.parametrize("module", MODULES)
def test_the_examples_in_the_docstrings_are_true(module):
    """What a docstring shows is what the function returns."""
    result = doctest.testmod(importlib.import_module(f"analysis.{module}"))

    assert result.failed == 0


def test_every_formula_of_the_statistics_has_an_example():
    """Doctests are there at all: a module without any would pass the test above."""
    result = doctest.testmod(importlib.import_module("analysis.statistics.paired"))

    assert result.attempted >= 15


@given(pairs, st.sampled_from([0.90, 0.95, 0.99]))
def test_the_t_interval_is_that_of_scipy(values, level):
    """Estimate, interval and p agree with scipy's paired t test on the logs."""
    baseline, candidate = np.array(values).T
    effect = mean_effect(log_ratios(baseline, candidate))
    if effect.standard_error < 1e-9:
        return
    theirs = stats.ttest_rel(np.log(candidate), np.log(baseline))
    expected = theirs.confidence_interval(level)
    interval = effect.interval(level)

    assert (interval.low, interval.high) == pytest.approx((expected.low, expected.high), rel=1e-9, abs=1e-9)
    assert effect.p_value == pytest.approx(theirs.pvalue, rel=1e-6, abs=1e-12)


@given(differences, st.floats(0.01, 1))
def test_equivalence_is_two_one_sided_tests_at_five_percent(values, margin):
    """The 90 % interval lies inside the margin exactly when both one-sided tests reject."""
    effect = mean_effect(values)
    if effect.standard_error < 1e-9:
        return
    below = stats.ttest_1samp(values, -margin, alternative="greater").pvalue
    above = stats.ttest_1samp(values, margin, alternative="less").pvalue
    if abs(max(below, above) - 0.05) < 1e-9:
        return

    assert is_equivalent(effect, margin) == (max(below, above) < 0.05)


def test_the_margin_is_the_same_both_ways_and_its_ends_are_outside():
    """3 % means ratios strictly between 1 / 1.03 and 1.03."""
    margin = log_margin(0.03)

    assert Interval(-margin * 0.999, margin * 0.999).is_inside(margin)
    assert math.exp(margin) == pytest.approx(1.03)
    assert not Interval(-margin, 0.0).is_inside(margin)
    assert not Interval(0.0, margin).is_inside(margin)


def brute_force_acceptance(values, theta):
    """Return the two-sided p of the signed-rank test of `theta` by trying all signs."""
    x = np.asarray(values) - theta
    ranks = stats.rankdata(np.abs(x))
    seen = ranks[x > 0].sum()
    sums = np.array([sum(r for r, s in zip(ranks, signs, strict=True) if s) for signs in _signs(len(x))])
    return min(1.0, 2 * min((sums <= seen).mean(), (sums >= seen).mean()))


def _signs(n):
    return itertools.product([False, True], repeat=n)


@pytest.mark.parametrize(("n", "level"), [(6, 0.95), (7, 0.95), (8, 0.90), (9, 0.95), (9, 0.90)])
def test_the_signed_rank_interval_is_what_the_exact_test_does_not_reject(n, level):
    """Just inside the ends every sign pattern's test accepts, just outside it rejects."""
    values = np.random.default_rng(n).normal(0.1, 0.05, n)
    interval = signed_rank_interval(values, level)
    step = 1e-9

    assert brute_force_acceptance(values, interval.low + step) > 1 - level
    assert brute_force_acceptance(values, interval.high - step) > 1 - level
    assert brute_force_acceptance(values, interval.low - step) <= 1 - level
    assert brute_force_acceptance(values, interval.high + step) <= 1 - level


def test_the_signed_rank_interval_agrees_with_scipy_for_more_heats():
    """For 30 differences scipy's exact test accepts inside and rejects outside."""
    values = np.random.default_rng(5).normal(0.1, 0.05, 30)
    interval = signed_rank_interval(values, 0.95)
    outside = stats.wilcoxon(values - (interval.low - 1e-9), method="exact").pvalue
    inside = stats.wilcoxon(values - (interval.low + 1e-9), method="exact").pvalue

    assert outside <= 0.05 < inside


@pytest.mark.parametrize(("n", "level"), [(5, 0.95), (4, 0.90), (1, 0.95)])
def test_too_few_differences_have_no_signed_rank_interval(n, level):
    """Six are needed for 95 %, five for 90 %: below, everything is possible."""
    interval = signed_rank_interval(np.arange(1.0, n + 1), level)

    assert interval == Interval(-math.inf, math.inf)


def test_the_hodges_lehmann_estimate_hardly_sees_one_outlier():
    """The mean moves by 1, the median of the Walsh averages by less than the spread."""
    calm = [0.09, 0.1, 0.1, 0.11, 0.1, 0.09, 0.11, 0.1, 0.12]
    spiked = [*calm, 10.1]

    assert np.mean(spiked) > 1
    assert hodges_lehmann(spiked) == pytest.approx(0.1, abs=0.02)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=6))
def test_holms_adjustment_is_the_closed_test_of_bonferroni(p_values):
    """The adjusted p of a hypothesis is the largest Bonferroni p of all families that contain it."""
    indices = range(len(p_values))
    families = [f for size in range(1, len(p_values) + 1) for f in itertools.combinations(indices, size)]
    expected = [max(min(1.0, len(f) * min(p_values[i] for i in f)) for f in families if k in f) for k in indices]

    assert holm(p_values) == pytest.approx(expected)


def test_holm_of_no_comparisons_is_empty_and_of_one_is_the_same():
    """A family of none or one adjusts nothing."""
    assert holm([]) == []
    assert holm([0.04]) == [0.04]


@pytest.mark.parametrize("bad", [math.nan, -0.1, 1.1])
def test_holm_refuses_what_is_no_probability(bad):
    """A p that is none stops the family instead of spoiling it."""
    with pytest.raises(StatisticsError, match="expected p values from 0 to 1"):
        holm([0.1, bad])


@given(st.lists(durations, min_size=2, max_size=20))
def test_means_and_variation_are_those_of_scipy(values):
    """Geometric mean and coefficient of variation agree with scipy's."""
    assert geometric_mean(values) == pytest.approx(stats.gmean(values))
    assert coefficient_of_variation(values) == pytest.approx(stats.variation(values, ddof=1), abs=1e-12)


def test_one_value_has_no_variation():
    """Nothing is known of the spread of one value."""
    assert coefficient_of_variation([3.0]) is None
    assert standard_deviation_interval(0.0, 1) == Interval(0.0, math.inf)


def test_the_interval_of_a_standard_deviation_covers_the_true_one():
    """Of 20,000 simulated campaigns of 10 heats, 95 % cover; the ends are a fixed multiple of the deviation."""
    seen = np.random.default_rng(1).normal(0, 2.0, (20_000, 10)).std(axis=1, ddof=1)
    unit = standard_deviation_interval(1.0, 10)
    coverage = ((seen * unit.low < 2.0) & (seen * unit.high > 2.0)).mean()

    assert coverage == pytest.approx(0.95, abs=0.006)


@given(differences, differences)
def test_a_second_source_of_uncertainty_is_welchs(first, second):
    """Widening one mean by the error of another gives the standard error and freedom of Welch's test."""
    one, other = mean_effect(first), mean_effect(second)
    if min(one.standard_error, other.standard_error) < 1e-6:
        return
    widened = one.widened(other.standard_error, other.degrees_of_freedom)
    theirs = stats.ttest_ind(first, second, equal_var=False)

    assert widened.degrees_of_freedom == pytest.approx(theirs.df)
    assert abs(one.estimate - other.estimate) == pytest.approx(abs(theirs.statistic) * widened.standard_error, abs=1e-9)


def test_uncertainty_that_is_not_there_widens_nothing_and_infinite_one_everything():
    """The two ends of the second source."""
    effect = mean_effect([1.0, 2.0, 3.0])

    assert effect.widened(0.0, 5) == effect
    assert effect.widened(math.inf, 0).interval() == Interval(-math.inf, math.inf)
    assert Effect(1.0, 0.0, 2, 3).widened(0.5, 7) == Effect(1.0, 0.5, 7, 3)


@given(pairs, st.floats(1e-6, 1e6))
def test_the_unit_of_measurement_does_not_matter(values, unit):
    """Milliseconds give the same ratio and interval as seconds."""
    baseline, candidate = np.array(values).T
    seconds = mean_effect(log_ratios(baseline, candidate))
    scaled = mean_effect(log_ratios(baseline * unit, candidate * unit))

    assert scaled.estimate == pytest.approx(seconds.estimate, abs=1e-9)
    assert scaled.interval().low == pytest.approx(seconds.interval().low, abs=1e-6)
    assert percent_difference(math.exp(scaled.estimate)) == pytest.approx(
        percent_difference(math.exp(seconds.estimate)), abs=1e-4
    )


@given(pairs)
def test_exchanging_baseline_and_candidate_inverts_the_ratio_and_mirrors_the_intervals(values):
    """Nothing depends on which of the two is called the baseline."""
    baseline, candidate = np.array(values).T
    there, back = log_ratios(baseline, candidate), log_ratios(candidate, baseline)

    assert math.exp(mean_effect(back).estimate) == pytest.approx(1 / math.exp(mean_effect(there).estimate))
    assert mean_effect(back).interval() == Interval(
        -mean_effect(there).interval().high, -mean_effect(there).interval().low
    )
    assert hodges_lehmann(back) == pytest.approx(-hodges_lehmann(there), abs=1e-12)
    mirrored = signed_rank_interval(there)
    assert signed_rank_interval(back) == Interval(-mirrored.high, -mirrored.low)


@given(differences, st.randoms(use_true_random=False))
def test_the_order_of_the_heats_does_not_matter(values, random):
    """Shuffled heats give the same estimates and intervals."""
    shuffled = random.sample(values, len(values))

    assert mean_effect(shuffled).estimate == pytest.approx(mean_effect(values).estimate, abs=1e-12)
    assert mean_effect(shuffled).interval().low == pytest.approx(mean_effect(values).interval().low, abs=1e-9)
    assert hodges_lehmann(shuffled) == pytest.approx(hodges_lehmann(values), abs=1e-12)
    assert signed_rank_interval(shuffled) == signed_rank_interval(values)


@given(differences)
def test_a_90_percent_interval_lies_within_the_95_percent_one(values):
    """More confidence never narrows an interval, and each holds its estimate."""
    for interval in (mean_effect(values).interval, lambda level: signed_rank_interval(values, level)):
        narrow, wide = interval(0.90), interval(0.95)
        assert wide.low <= narrow.low <= narrow.high <= wide.high
    assert signed_rank_interval(values).low <= hodges_lehmann(values) <= signed_rank_interval(values).high


def test_one_heat_says_nothing_about_its_own_uncertainty():
    """The estimate is there, the interval covers everything, and nothing is significant."""
    effect = mean_effect([0.3])

    assert effect.estimate == 0.3
    assert effect.interval() == Interval(-math.inf, math.inf)
    assert effect.p_value == 1
    assert effect.interval().as_ratio == Interval(0.0, math.inf)


def test_equal_differences_have_a_point_as_interval():
    """All equal: no spread; p is 0, or 1 where the point is 0."""
    same, none = mean_effect([0.25] * 6), mean_effect([0.0] * 6)

    assert same.interval() == Interval(0.25, 0.25)
    assert (same.p_value, none.p_value) == (0, 1)
    assert signed_rank_interval([0.25] * 6) == Interval(0.25, 0.25)


@pytest.mark.parametrize("bad", REFUSED)
def test_what_has_no_logarithm_is_refused_with_its_place(bad):
    """The message names the side, the index and the value."""
    with pytest.raises(StatisticsError, match=r"candidate\[1\]: got .*expected finite numbers"):
        log_ratios([1.0, 1.0], [1.0, bad])
    with pytest.raises(StatisticsError, match=r"values\[0\]"):
        geometric_mean([bad])


@pytest.mark.parametrize("function", [mean_effect, hodges_lehmann, signed_rank_interval, geometric_mean])
def test_no_values_are_refused(function):
    """An empty list has no mean: the caller leaves out what has no runs."""
    with pytest.raises(StatisticsError, match="expected at least one number"):
        function([])


@pytest.mark.parametrize("function", [mean_effect, hodges_lehmann, signed_rank_interval])
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_differences_that_are_not_finite_are_refused(function, bad):
    """NaN and infinity never get into an estimate."""
    with pytest.raises(StatisticsError, match=r"differences\[1\]"):
        function([0.1, bad])


def test_unpaired_values_are_refused():
    """Lists of different length are not pairs."""
    with pytest.raises(StatisticsError, match="got 2 baseline and 1 candidate values"):
        log_ratios([1.0, 2.0], [1.0])


def test_34_percent_longer_is_25_percent_less_the_other_way():
    """Percentages are not symmetric, ratios are."""
    assert percent_difference(1.342) == pytest.approx(34.2)
    assert percent_difference(1 / 1.342) == pytest.approx(-25.48, abs=0.01)
