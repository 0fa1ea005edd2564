"""Censored times, against scipy, statsmodels and R, and against the plain mean where nothing is censored."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from statsmodels.duration.survfunc import SurvfuncRight
from statsmodels.stats.proportion import proportion_confint

from analysis.statistics.paired import StatisticsError
from analysis.statistics.survival import kaplan_meier, probability_first, share_interval
from tests.analysis.test_independent import in_r, listed

times = st.integers(1, 12).map(lambda quarter: quarter / 4)
observed = st.lists(st.tuples(times, st.booleans()), min_size=1, max_size=25).filter(
    lambda rows: any(m for _, m in rows)
)


def split(rows):
    """Return when some arrived and until when the others were watched."""
    return [t for t, met in rows if met], [t for t, met in rows if not met]


@given(observed)
def test_the_curve_is_that_of_scipy(rows):
    """Times and shares of scipy.stats.ecdf with censored data."""
    reached, unreached = split(rows)
    ours = kaplan_meier(reached, unreached)
    theirs = stats.ecdf(stats.CensoredData(uncensored=reached, right=unreached)).sf
    at = np.isin(theirs.quantiles, ours.times)

    assert ours.shares == pytest.approx(theirs.probabilities[at], abs=1e-12)


@pytest.mark.parametrize("seed", range(30))
def test_the_interval_of_the_median_is_that_of_statsmodels(seed):
    """On the log-log scale, with ties and censored runs; an end that does not exist is infinite."""
    generator = np.random.default_rng(seed)
    at, met = generator.integers(1, 30, 25) / 4, generator.random(25) < 0.75
    ours = kaplan_meier(at[met], at[~met]).median_interval()
    with np.errstate(divide="ignore", invalid="ignore"):
        low, high = SurvfuncRight(at, met.astype(int)).quantile_ci(0.5, method="cloglog")

    assert ours.low == pytest.approx(low, rel=1e-6)
    assert ours.high == (pytest.approx(high, rel=1e-6) if np.isfinite(high) else math.inf)


@given(st.lists(times, min_size=2, max_size=20), st.floats(0.5, 3.5))
def test_without_censoring_the_restricted_mean_is_the_plain_one(at, horizon):
    """Mean and standard error of min(time, horizon), with n in the place of n - 1."""
    cut = np.minimum(at, horizon)
    mean = kaplan_meier(at, []).restricted_mean(horizon)

    assert mean.estimate == pytest.approx(cut.mean())
    assert mean.standard_error == pytest.approx(cut.std() / math.sqrt(len(at)), abs=1e-9)


def test_the_restricted_mean_covers_the_true_one():
    """Of 2,000 sets of 30 exponential times, a third of them censored, 93 to 97 % of the intervals hold it."""
    generator, horizon, hits = np.random.default_rng(5), 1.5, 0
    truth = 1 - math.exp(-horizon)
    for _ in range(2000):
        arrival, watched = generator.exponential(1, 30), generator.uniform(0.5, 4, 30)
        met = arrival <= watched
        hits += not kaplan_meier(arrival[met], watched[~met]).restricted_mean(horizon).interval().excludes(truth)

    assert 0.93 <= hits / 2000 <= 0.97


def test_the_interval_of_the_median_covers_the_true_one():
    """Of 2,000 sets of 30, 92 to 98 % hold log 2."""
    generator, hits = np.random.default_rng(6), 0
    for _ in range(2000):
        arrival, watched = generator.exponential(1, 30), generator.uniform(0.5, 4, 30)
        met = arrival <= watched
        hits += not kaplan_meier(arrival[met], watched[~met]).median_interval().excludes(math.log(2))

    assert 0.92 <= hits / 2000 <= 0.98


def test_r_agrees_on_the_median_and_the_restricted_mean():
    """Survfit with conf.type log-log, and its restricted mean; the package comes with R."""
    generator = np.random.default_rng(9)
    at, met = generator.integers(1, 30, 25) / 4, generator.random(25) < 0.75
    ours = kaplan_meier(at[met], at[~met])
    mean, interval = ours.restricted_mean(5.0), ours.median_interval()
    found = in_r(
        f"library(survival); options(digits=12); f <- survfit(Surv({listed(at)}, {listed(met)}) ~ 1, "
        "conf.type='log-log'); t <- summary(f, rmean=5)$table;"
        "cat(t[['rmean']], t[['se(rmean)']], t[['median']], t[['0.95LCL']])",
        package="survival",
    )

    assert found == pytest.approx([mean.estimate, mean.standard_error, ours.median(), interval.low], rel=1e-6)


@given(st.integers(1, 60).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_the_interval_of_a_share_is_statsmodels_wilson(counts):
    """From none of one to all of sixty."""
    hits, number = counts
    expected = proportion_confint(hits, number, method="wilson")

    assert (share_interval(*counts).low, share_interval(*counts).high) == pytest.approx(expected, abs=1e-9)
    assert share_interval(0, 0).high == 1


@given(observed, st.floats(0.01, 100))
def test_the_unit_of_time_does_not_matter(rows, unit):
    """Minutes scale median, ends and mean."""
    reached, unreached = split(rows)
    one = kaplan_meier(reached, unreached)
    other = kaplan_meier(np.array(reached) * unit, np.array(unreached) * unit)

    assert other.shares == pytest.approx(one.shares)
    assert (one.median() is None) == (other.median() is None)
    assert other.median_interval().low == pytest.approx(one.median_interval().low * unit)
    assert other.restricted_mean(2.0 * unit).estimate == pytest.approx(one.restricted_mean(2.0).estimate * unit)


def test_everybody_or_nobody_arrives():
    """One run, all at once, and none at all."""
    one, none = kaplan_meier([2.0], []), kaplan_meier([], [3.0, 3.0])

    assert (one.median(), one.restricted_mean(3.0).estimate) == (2.0, 2.0)
    assert (none.median(), none.median_interval().high) == (None, math.inf)
    assert none.restricted_mean(3.0).estimate == 3.0
    with pytest.raises(StatisticsError, match="expected at least one number"):
        kaplan_meier([], [])
    with pytest.raises(StatisticsError, match="no time below 0"):
        kaplan_meier([-1.0], [])


def test_who_never_arrived_lost_to_whoever_did():
    """Both never: a tie; exchanging the two mirrors share and interval."""
    ours, theirs = [1.0, None, None, 2.0], [2.0, 3.0, None, 2.0]
    share, interval = probability_first(ours, theirs)
    back, mirrored = probability_first(theirs, ours)

    assert (share, back) == (0.5, 0.5)
    assert (1 - mirrored.high, 1 - mirrored.low) == pytest.approx((interval.low, interval.high))
    assert probability_first([], []) is None
