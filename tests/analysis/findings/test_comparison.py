"""Pairs inside heats, their ratio, the A/A floor and the verdict."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from analysis.findings.comparison import (
    Comparison,
    ComparisonError,
    Pairs,
    Verdict,
    compare,
    decide,
    heats_to_decide,
    pair_controls,
    pair_heats,
)
from analysis.findings.heats_needed import MOST_HEATS
from analysis.statistics.paired import Effect, Interval, mean_effect
from tests.analysis.builders import JAX, NUMPY, PYTORCH, Campaign, frames_of, run_row

MARGIN = 0.03


def comparison_of(log_ratios, baseline_s=1.0):
    """Return the comparison of candidates that differ by `log_ratios` from a baseline of `baseline_s`."""
    ratios = np.exp(np.asarray(log_ratios, dtype=float))
    zeros = np.zeros(len(ratios))
    names = tuple(f"heat{number}" for number in range(len(ratios)))
    found = compare(Pairs(names, zeros + baseline_s, zeros, baseline_s * ratios, zeros))
    assert found is not None
    return found


def ruled(log_ratios, control=None, *, family_size=1):
    """Return the decision on `log_ratios` beside a quiet A/A control."""
    control = comparison_of(spaced(0.0, 0.002)) if control is None else control
    comparison = comparison_of(log_ratios)
    return decide(comparison, control, min(1.0, comparison.effect.p_value * family_size), MARGIN, family_size)


def spaced(mean, deviation, heats=10):
    """Return differences with exactly this mean and standard deviation."""
    scores = stats.norm.ppf((np.arange(heats) + 0.5) / heats)
    return mean + deviation * (scores - scores.mean()) / scores.std(ddof=1)


def costs_of(rows):
    """Return the frame of runs with the train clock as their costs."""
    runs = frames_of(rows).runs
    return runs.assign(fixed_s=runs["train_clock_s"].astype(float), per_epoch_s=0.0)


def test_runs_are_paired_inside_their_heat():
    """The candidate stands beside the baseline's first run of the same heat, whatever the order of the rows."""
    rows = [
        run_row(run_id="c2", heat_id="h2", runner="python_jax", variant="jit", train_clock_s=8.0),
        run_row(run_id="b1", heat_id="h1", train_clock_s=1.0),
        run_row(run_id="x1", heat_id="h1", control=True, train_clock_s=99.0),
        run_row(run_id="c1", heat_id="h1", runner="python_jax", variant="jit", train_clock_s=2.0),
        run_row(run_id="b2", heat_id="h2", train_clock_s=4.0),
    ]
    pairs = pair_heats(costs_of(rows), "python_pytorch:eager", "python_jax:jit")

    assert pairs.heat_ids == ("h1", "h2")
    assert pairs.baseline_fixed_s.tolist() == [1.0, 4.0]
    assert pairs.candidate_fixed_s.tolist() == [2.0, 8.0]


def test_the_control_is_paired_with_the_baselines_first_run_and_never_a_candidate():
    """A/A pairs come from the control alone."""
    runs = costs_of(Campaign(racers=(PYTORCH, JAX), heats=3).rows())
    control = runs[runs["control"]].sort_values("heat_id")
    pairs = pair_controls(runs)

    assert pairs.candidate_fixed_s.tolist() == control["train_clock_s"].tolist()
    assert not set(pair_heats(runs, PYTORCH.entry, JAX.entry).baseline_fixed_s) & set(control["train_clock_s"])


@pytest.mark.parametrize("change", [{"status": "crashed", "train_clock_s": None}, {"contaminated": True}])
def test_a_run_that_failed_or_was_disturbed_takes_only_its_own_pairs_along(change):
    """The other candidate of the same heat keeps its pair."""
    rows = [
        dataclasses.replace(row, **change) if getattr(row, "run_id", "") == "python_jax-jit-2" else row
        for row in Campaign(racers=(PYTORCH, JAX, NUMPY), heats=3).rows()
        if type(row).__name__ == "RunRow"
    ]
    runs = costs_of(rows)

    assert pair_heats(runs, PYTORCH.entry, JAX.entry).heat_ids == ("heat-1", "heat-3")
    assert pair_heats(runs, PYTORCH.entry, NUMPY.entry).heat_ids == ("heat-1", "heat-2", "heat-3")
    assert pair_controls(runs).heat_ids == ("heat-1", "heat-2", "heat-3")


def test_an_entry_twice_in_a_heat_is_refused_by_name():
    """Two attempts of a heat cannot both count."""
    rows = [run_row(run_id="a"), run_row(run_id="b"), run_row(run_id="c", runner="python_jax", variant="jit")]

    with pytest.raises(ComparisonError, match="heat heat1: python_pytorch:eager occurs twice; expected once"):
        pair_heats(costs_of(rows), "python_pytorch:eager", "python_jax:jit")


def test_a_run_that_cost_nothing_is_refused_by_name():
    """0 s has no ratio."""
    with pytest.raises(ComparisonError, match="run run1: completed in 0 s; expected more than 0 s"):
        pair_heats(costs_of([run_row(train_clock_s=0.0)]), "python_pytorch:eager", "python_jax:jit")


def test_no_common_heat_is_no_comparison():
    """Nothing paired gives nothing, not a number."""
    pairs = pair_heats(costs_of([run_row()]), "python_pytorch:eager", "python_jax:jit")

    assert pairs.heat_ids == ()
    assert compare(pairs) is None


def test_values_are_geometric_means_so_that_their_ratio_is_the_ratio():
    """What is shown side by side divides to what is shown as the ratio."""
    comparison = comparison_of([math.log(1.2), math.log(1.3), math.log(1.5)], baseline_s=2.0)

    assert comparison.baseline_value == pytest.approx(2.0)
    assert comparison.candidate_value / comparison.baseline_value == pytest.approx(math.exp(comparison.effect.estimate))


costs = st.tuples(*[st.floats(0.1, 10)] * 4)


def pairs_of(rows):
    """Return pairs of (baseline fixed, per epoch, candidate fixed, per epoch)."""
    return Pairs(tuple(str(n) for n in range(len(rows))), *np.array(rows).T)


@given(st.lists(costs, min_size=2, max_size=10), st.floats(0.5, 5), st.floats(0.01, 0.2))
def test_the_pooled_epochs_add_their_uncertainty_by_the_slope_of_the_effect(rows, epochs, error):
    """The added variance is that of the effect at E ± a small step, as numerical differentiation has it."""
    pairs, step = pairs_of(rows), 1e-5
    known = compare(pairs, Effect(epochs, 0.0, 9, 10))
    ahead, behind = (compare(pairs, Effect(epochs + s, 0.0, 9, 10)).effect.estimate for s in (step, -step))
    slope = (ahead - behind) / (2 * step)
    both = compare(pairs, Effect(epochs, error, 9, 10))

    added = both.effect.standard_error**2 - known.effect.standard_error**2
    assert added == pytest.approx((slope * error) ** 2, rel=1e-3, abs=1e-9)
    assert both.effect.estimate == known.effect.estimate


def test_on_the_train_clock_the_epochs_cancel():
    """Without fixed costs neither the number of epochs nor its uncertainty matters."""
    zeros = np.zeros(6)
    pairs = Pairs(tuple("abcdef"), zeros, zeros + 2, zeros, 2 * np.exp(spaced(0.3, 0.01, 6)))
    few, many = compare(pairs, Effect(1.0, 0.5, 5, 6)), compare(pairs, Effect(9.0, math.inf, 0, 1))

    assert few.effect.estimate == pytest.approx(many.effect.estimate)
    assert few.effect.standard_error == pytest.approx(many.effect.standard_error)
    assert few.effect.standard_error == pytest.approx(0.01 / math.sqrt(6))


def test_both_uncertainties_cover_the_true_ratio():
    """Of 2,000 simulated campaigns with noisy costs and noisy epochs, 92 to 98 % of the intervals hold the truth."""
    generator, heats, epochs, error = np.random.default_rng(11), 10, 2.0, 0.6
    truth = math.log((4.0 + 1.0 * epochs) / (1.0 + 1.5 * epochs))
    hits = 0
    for _ in range(2000):
        noise = np.exp(generator.normal(0, 0.01, (4, heats)))
        pairs = Pairs(tuple(map(str, range(heats))), *(np.array([[1.0], [1.5], [4.0], [1.0]]) * noise))
        pooled = mean_effect(generator.normal(epochs, error, heats))
        hits += not compare(pairs, pooled).effect.interval().excludes(truth)

    assert 0.92 <= hits / 2000 <= 0.98


@pytest.mark.parametrize(
    ("log_ratios", "verdict"),
    [
        (spaced(math.log(1.2), 0.02), Verdict.SLOWER),
        (spaced(math.log(1 / 1.2), 0.02), Verdict.FASTER),
        (spaced(0.0, 0.01), Verdict.DEAD_HEAT),
        (spaced(0.0, 0.2), Verdict.UNDECIDED),
        (spaced(0.5, 0.001, 9), Verdict.INSUFFICIENT),
        (spaced(0.5, 0.001, 2), Verdict.INSUFFICIENT),
    ],
)
def test_the_verdict_follows_the_interval(log_ratios, verdict):
    """One clear case of each verdict."""
    assert ruled(log_ratios).verdict is verdict


def test_a_dead_heat_comes_before_a_difference():
    """1 % is significant here, and still within the margin fixed in advance."""
    differences = spaced(math.log(1.01), 0.003)

    assert mean_effect(differences).p_value < 0.001
    assert ruled(differences).verdict is Verdict.DEAD_HEAT


def test_holm_and_not_the_raw_p_decides():
    """A p of 0.02 does not survive a family of four."""
    deviation = 0.04
    estimate = stats.t.isf(0.01, 9) * deviation / math.sqrt(10)
    differences = spaced(estimate, deviation)

    assert mean_effect(differences).p_value == pytest.approx(0.02)
    assert ruled(differences).verdict is Verdict.SLOWER
    assert ruled(differences, family_size=4).verdict is Verdict.UNDECIDED


def test_a_difference_below_the_floor_is_not_claimed():
    """The baseline differs from itself by up to 2.7 %: 2.6 % more may be the machine."""
    control = comparison_of(spaced(0.025, 0.003))
    differences = spaced(0.0265, 0.012)
    decision = ruled(differences, control)

    assert control.floor == pytest.approx(0.0271, abs=1e-4)
    assert mean_effect(differences).p_value < 0.05
    assert decision.verdict is Verdict.UNDECIDED
    assert ruled(differences).verdict is Verdict.SLOWER


def test_a_machine_that_cannot_resolve_the_margin_shows_no_dead_heat_and_no_small_difference():
    """The A/A interval is wider than ± 3 %: neither equal nor 6 % slower can be told from the machine."""
    control = comparison_of(spaced(0.0, 0.06))
    for estimate in (0.0, 0.06):
        decision = ruled(spaced(estimate, 0.06), control)

        assert decision.verdict is Verdict.UNDECIDED
        assert decision.reason.startswith(
            "this machine cannot resolve 3 %: the same program run twice differs by -4.2 % to +4.4 %"
        )
        assert decision.heats_low is not None


def test_a_difference_clearly_beyond_the_floor_is_one_on_a_noisy_machine_too():
    """The same program differs from itself by up to 4.4 %: one that takes twice as long is slower all the same."""
    control = comparison_of(spaced(0.0, 0.06))

    assert ruled(spaced(math.log(2), 0.06), control).verdict is Verdict.SLOWER
    assert ruled(spaced(-math.log(2), 0.06), control).verdict is Verdict.FASTER


def test_a_noisy_machine_makes_no_false_verdicts_and_sees_what_is_large():
    """2,000 campaigns with 5 % noise per run: the rule for such machines never accuses equals, and sees + 50 %."""
    generator = np.random.default_rng(11)
    found = []
    for true in (0.0, math.log(1.5)):
        verdicts = []
        for _ in range(1000):
            base, twin, candidate = generator.normal(scale=0.05, size=(3, 10))
            verdicts.append(ruled(candidate - base + true, comparison_of(twin - base)).verdict)
        found.append(np.mean([v in (Verdict.FASTER, Verdict.SLOWER) for v in verdicts]))

    assert found[0] <= 0.005
    assert found[1] >= 0.99


@pytest.mark.parametrize("control", [None, comparison_of(spaced(0.0, 0.001, 5))])
def test_without_a_control_the_machine_is_not_known(control):
    """No A/A floor, no verdict."""
    decision = decide(comparison_of(spaced(0.5, 0.01)), control, 0.001, MARGIN, 1)

    assert decision.verdict is Verdict.UNDECIDED
    assert "what this machine can resolve is not known" in decision.reason


def test_mean_and_ranks_that_contradict_each_other_decide_nothing():
    """The ranks see a dead heat, the mean a difference: outliers."""
    calm = comparison_of(spaced(0.05, 0.01))
    torn = dataclasses.replace(calm, signed_rank_90=Interval(-0.01, 0.01), signed_rank_95=Interval(-0.02, 0.02))
    decision = decide(torn, comparison_of(spaced(0.0, 0.002)), calm.effect.p_value, MARGIN, 1)

    assert decision.verdict is Verdict.UNDECIDED
    assert decision.reason == "outliers: the mean says slower, the ranks say dead heat"


def test_insufficient_says_what_is_missing():
    """6 for an interval, 10 for a verdict."""
    assert ruled(spaced(0.1, 0.01, 3)).reason == "an interval needs 6 heats and a public verdict 10"
    assert ruled(spaced(0.1, 0.01, 6)).reason == "a public verdict needs 10 heats"


def decides_at(heats, estimate, deviation):
    """Return whether that many heats with the same mean and deviation give a verdict."""
    return ruled(spaced(estimate, deviation, heats)).verdict in (Verdict.DEAD_HEAT, Verdict.FASTER, Verdict.SLOWER)


@pytest.mark.parametrize(("estimate", "deviation"), [(0.005, 0.06), (0.10, 0.25), (-0.06, 0.12)])
def test_the_range_of_heats_is_where_the_rules_begin_to_decide(estimate, deviation):
    """At each end, with that end's deviation, the verdict is there; one heat earlier it is not."""
    decision = ruled(spaced(estimate, deviation))
    low, high = stats.chi2.ppf([0.975, 0.025], 9)

    assert decision.verdict is Verdict.UNDECIDED
    for heats, quantile in ((decision.heats_low, low), (decision.heats_high, high)):
        true_deviation = deviation * math.sqrt(9 / quantile)
        assert decides_at(heats, estimate, true_deviation)
        assert heats == 11 or not decides_at(heats - 1, estimate, true_deviation)
    assert f"{decision.heats_low} to {decision.heats_high} heats" in decision.reason


def test_the_range_is_a_range_and_lies_ahead():
    """Never one number, never fewer than were run."""
    decision = ruled(spaced(0.02, 0.05))

    assert 10 < decision.heats_low < decision.heats_high
    assert ruled(spaced(0.02, 0.05, 20)).heats_low == 21


def test_a_difference_on_the_edge_of_the_margin_may_never_be_decided():
    """Where no number of heats helps, the reason says so."""
    comparison = comparison_of(spaced(0.0, 3.0))
    low, high = heats_to_decide(comparison, comparison_of(spaced(0.0, 0.002)), MARGIN, 1)

    assert (low, high) == (None, None)
    assert f"no number of heats up to {MOST_HEATS}" in ruled(spaced(0.0, 3.0)).reason


# Simulated campaigns. A heat is three runs in random order; the machine drifts by 10 % with a correlation of
# 20 runs, and each run adds 1 % of its own: the rules were fixed with these figures.


def simulated_heats(generator, campaigns, heats, entries):
    """Return log durations, shape (campaigns, heats, entries), of identical programs on a drifting machine."""
    runs, memory = heats * entries, math.exp(-1 / 20)
    steps = generator.normal(0, 0.10, (campaigns, runs)) * math.sqrt(1 - memory**2)
    drift = np.empty((campaigns, runs))
    drift[:, 0] = generator.normal(0, 0.10, campaigns)
    for run in range(1, runs):
        drift[:, run] = memory * drift[:, run - 1] + steps[:, run]
    noisy = (drift + generator.normal(0, 0.01, (campaigns, runs))).reshape(campaigns, heats, entries)
    return generator.permuted(noisy, axis=2)


@pytest.mark.parametrize("heats", [6, 8, 10])
def test_the_nominal_95_percent_interval_covers_92_to_98_percent_under_drift(heats):
    """The paired t interval keeps its promise although the machine drifts."""
    durations = simulated_heats(np.random.default_rng(heats), 4000, heats, 3)
    differences = durations[:, :, 1] - durations[:, :, 0]
    covered = np.mean([not mean_effect(d).interval().excludes(0.0) for d in differences])

    assert 0.92 <= covered <= 0.98


def simulated_verdicts(true_ratio, *, campaigns, seed, noise=1.0):
    """Return the verdicts on one candidate of that ratio in campaigns of 10 heats."""
    durations = simulated_heats(np.random.default_rng(seed), campaigns, 10, 3) * noise
    controls = durations[:, :, 1] - durations[:, :, 0]
    candidates = durations[:, :, 2] - durations[:, :, 0] + math.log(true_ratio)
    return [ruled(d, comparison_of(c)).verdict for d, c in zip(candidates, controls, strict=True)]


@pytest.mark.parametrize("noise", [1.0, 0.3])
def test_identical_programs_are_called_different_in_at_most_5_percent(noise):
    """A/A campaigns: false verdicts, on a noisy and on a quiet machine."""
    verdicts = simulated_verdicts(1.0, campaigns=1000, seed=2, noise=noise)
    false = np.mean([v in (Verdict.FASTER, Verdict.SLOWER) for v in verdicts])

    assert false <= 0.05


@pytest.mark.parametrize("noise", [1.0, 0.6, 0.3])
def test_5_percent_longer_is_called_a_dead_heat_in_at_most_5_percent(noise):
    """Equivalence within 3 % is hardly ever claimed of a true 5 %."""
    verdicts = simulated_verdicts(1.05, campaigns=1000, seed=3, noise=noise)

    assert np.mean([v is Verdict.DEAD_HEAT for v in verdicts]) <= 0.05


def test_a_true_difference_on_the_margin_is_called_a_dead_heat_in_about_5_percent_at_most():
    """The sharpest case of the promise: exactly 3 % longer; 6 % leaves room for 2,000 campaigns' own chance."""
    verdicts = simulated_verdicts(1.03, campaigns=2000, seed=6, noise=0.3)

    assert np.mean([v is Verdict.DEAD_HEAT for v in verdicts]) <= 0.06


def test_the_rules_do_decide_on_a_quiet_machine():
    """Caution is no silence: equal programs are dead heats, 5 % is seen."""
    equal = simulated_verdicts(1.0, campaigns=200, seed=4, noise=0.3)
    longer = simulated_verdicts(1.05, campaigns=200, seed=5, noise=0.3)

    assert np.mean([v is Verdict.DEAD_HEAT for v in equal]) > 0.9
    assert np.mean([v is Verdict.SLOWER for v in longer]) > 0.9


def test_a_comparison_knows_when_it_has_an_interval():
    """From 6 heats, where the signed-rank interval begins to exist."""
    five, six = comparison_of(spaced(0.1, 0.01, 5)), comparison_of(spaced(0.1, 0.01, 6))

    assert isinstance(five, Comparison)
    assert (five.has_interval, six.has_interval) == (False, True)
    assert math.isinf(five.signed_rank_95.low)
    assert math.isfinite(six.signed_rank_95.low)
