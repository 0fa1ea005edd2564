"""What the statistics promise, counted in simulated campaigns; docs/explanation/simulations.md has the long tables."""

from __future__ import annotations

import math

import numpy as np
import pytest

from analysis.findings.comparison import Verdict, decide, heats_to_decide
from analysis.statistics.paired import hodges_lehmann, mean_effect, signed_rank_interval
from analysis.statistics.paired import holm as holm_of_one_page
from tests.analysis.findings.test_comparison import comparison_of
from tests.analysis.simulated import (
    DEAD_HEAT,
    LONGER,
    MACHINES,
    MARGIN,
    NOTHING,
    SHORTER,
    Machine,
    coverage,
    decided_after_pilot,
    false_verdicts,
    heats_wanted,
    holm,
    is_different,
    log_seconds,
    normal,
    ranks,
    stopped_early,
    verdicts,
)

NUMBERS = {Verdict.SLOWER: LONGER, Verdict.FASTER: SHORTER, Verdict.DEAD_HEAT: DEAD_HEAT, Verdict.UNDECIDED: NOTHING}
FAIR = [name for name, machine in MACHINES.items() if not machine.spike_share and "spikes" not in name]
SPIKED = [name for name, machine in MACHINES.items() if machine.spike_share]
ALL_SPIKED = "spikes of 30 % in a tenth of all runs"
DRIFTING = MACHINES["drift of 20 % over the campaign, normal 1 %"]
QUIET = Machine(noise=normal(0.01))


@pytest.mark.parametrize("name", MACHINES)
def test_the_rules_over_arrays_are_those_of_the_comparison(name):
    """Every verdict of 60 campaigns is what `decide` says of each alone, with equal and with different programs."""
    generator = np.random.default_rng(5)
    for effect in (0.0, 0.03, 0.1):
        seconds = log_seconds(generator, MACHINES[name], 20, 10, 3)
        control, candidate = seconds[:, :, 1] - seconds[:, :, 0], seconds[:, :, 2] - seconds[:, :, 0] + effect
        alone = []
        for ours, theirs in zip(candidate, control, strict=True):
            comparison = comparison_of(ours)
            alone.append(NUMBERS[decide(comparison, comparison_of(theirs), comparison.effect.p_value, 0.03, 1).verdict])

        assert alone == verdicts(candidate, control).tolist()


def test_the_intervals_over_arrays_are_those_of_the_statistics():
    """Means, ranks and Holm's p agree with the functions that pages are made with."""
    differences = np.random.default_rng(1).normal(0.02, 0.05, (5, 12))
    middle, low, high = ranks(differences, 0.95)
    for row, at in zip(differences, range(5), strict=True):
        interval = signed_rank_interval(row, 0.95)
        assert (low[at], high[at]) == pytest.approx((interval.low, interval.high))
        assert middle[at] == pytest.approx(hodges_lehmann(row))
    p = np.random.default_rng(2).random((20, 4)) ** 3

    assert holm(p) == pytest.approx(np.array([holm_of_one_page(row) for row in p]))


@pytest.mark.parametrize("heats", [6, 10, 30])
@pytest.mark.parametrize("name", FAIR)
def test_the_95_percent_intervals_cover_93_to_98_percent(name, heats):
    """Drift, heavy and skewed tails: t interval of the mean ratio, signed-rank interval of the pseudomedian."""
    of_mean, of_ranks = coverage(MACHINES[name], heats, 2000, seed=heats)

    assert 0.93 <= of_mean <= 0.98
    assert 0.93 <= of_ranks <= 0.98


@pytest.mark.parametrize("heats", [6, 10, 30])
def test_spikes_that_hit_everybody_never_make_an_interval_too_narrow(heats):
    """Rare long runs of all entries widen the t interval: it covers more than it promises, never less."""
    of_mean, of_ranks = coverage(MACHINES[ALL_SPIKED], heats, 2000, seed=heats)

    assert of_mean >= 0.94
    assert of_ranks >= 0.93


@pytest.mark.parametrize("heats", [6, 10, 30])
@pytest.mark.parametrize("name", SPIKED)
def test_where_one_runner_alone_has_spikes_the_ranks_still_cover(name, heats):
    """The t interval of the mean does not keep its promise there, which is why the ranks stand beside it."""
    _, of_ranks = coverage(MACHINES[name], heats, 2000, seed=heats)

    assert 0.93 <= of_ranks <= 0.98


def test_rare_large_spikes_of_one_runner_defeat_the_t_interval():
    """Known and stated: with spikes of 30 % in a tenth of its runs, 10 heats often hold none."""
    of_mean, _ = coverage(MACHINES["spikes of 30 % in a tenth of the candidate's runs alone"], 10, 2000, seed=1)

    assert of_mean < 0.80


@pytest.mark.parametrize("name", MACHINES)
def test_identical_programs_are_hardly_ever_told_apart(name):
    """1,000 null comparisons: at most 5 % false verdicts before Holm, at most 5 % of pages with one after it."""
    found = false_verdicts(MACHINES[name], pages=1000, family=5, seed=7)

    assert found["comparison"] <= 0.05
    assert found["page"] <= 0.05
    # Whoever has spikes of its own does take longer: for the bare test that is no null.
    assert found["test"] <= 0.065 or name in SPIKED


def test_the_same_runs_measured_runner_by_runner_give_false_verdicts_under_drift():
    """20 % of drift: heats make no false verdict to speak of, one runner after another makes almost nothing else."""
    found = false_verdicts(DRIFTING, pages=1000, family=5, seed=8)

    assert found["page"] <= 0.05
    assert found["by runner, comparison"] > 0.9
    assert found["by runner, page"] > 0.99


def test_under_drift_the_unpaired_interval_is_five_times_as_wide():
    """Pairing is worth a factor of 4.5 to 6 with 20 % of drift, and costs next to nothing without."""
    drifting = false_verdicts(DRIFTING, pages=1000, family=1, seed=9)
    quiet = false_verdicts(MACHINES["normal, 1 %"], pages=1000, family=1, seed=9)

    assert 4.5 <= drifting["wider"] <= 6
    assert 0.9 <= quiet["wider"] <= 1


def test_a_true_difference_of_5_percent_is_called_a_dead_heat_in_at_most_5_percent():
    """For margins of 3 %, on every machine of the list."""
    generator = np.random.default_rng(11)
    for machine in MACHINES.values():
        seconds = log_seconds(generator, machine, 2000, 10, 3)
        candidate = seconds[:, :, 2] - seconds[:, :, 0] + math.log(1.05)
        found = verdicts(candidate, seconds[:, :, 1] - seconds[:, :, 0])

        assert (found == DEAD_HEAT).mean() <= 0.05


@pytest.mark.parametrize(("deviation", "effect"), [(0.02, 0.0), (0.02, 0.03), (0.035, 0.015), (0.035, 0.06)])
def test_the_range_of_heats_holds_the_number_that_is_needed_in_90_percent(deviation, effect):
    """If the differences stay as they are and only the spread is as it truly is."""
    generator = np.random.default_rng(13)
    seconds = log_seconds(generator, Machine(noise=normal(deviation)), 400, 10, 3)
    control, candidate = seconds[:, :, 1] - seconds[:, :, 0], seconds[:, :, 2] - seconds[:, :, 0] + effect
    undecided = np.flatnonzero(verdicts(candidate, control) == NOTHING)[:100]
    held = []
    for at in undecided:
        ours, theirs = comparison_of(candidate[at]), comparison_of(control[at])
        low, high = (heats or math.inf for heats in heats_to_decide(ours, theirs, 0.03, 1))
        wanted = heats_wanted(ours.effect.estimate, theirs.effect.estimate, deviation * math.sqrt(2))
        held.append(low <= wanted <= high)

    assert len(held) >= 30
    assert np.mean(held) >= 0.90


def test_stopping_when_it_is_significant_breaks_the_promise_and_looks_keep_it():
    """Identical programs, tested at 5 %: 21 % are called different by 30 heats; three looks stay below 5 %."""
    found = stopped_early(8000, seed=17)

    assert found["fixed"] == pytest.approx(0.05, abs=0.01)
    assert found["looks"] <= 0.055
    assert found["until decided, by 10 heats"] > 0.08
    assert found["until decided, by 30 heats"] > 0.15


def test_a_number_of_heats_fixed_by_a_pilots_variance_keeps_the_promise():
    """Stein's two stages: the pilot's means decide nothing, so the test at the end keeps its level."""
    found = decided_after_pilot(2000, seed=19, deviation=0.02)

    assert found["false"] <= 0.06
    assert found["dead heat"] >= 0.80


def test_a_quiet_machine_gives_verdicts():
    """Caution is no silence: equal programs are dead heats, and 5 % is seen."""
    seconds = log_seconds(np.random.default_rng(23), QUIET, 1000, 10, 3)
    control, equal = seconds[:, :, 1] - seconds[:, :, 0], seconds[:, :, 2] - seconds[:, :, 0]

    assert (verdicts(equal, control) == DEAD_HEAT).mean() > 0.95
    assert (verdicts(equal + math.log(1.05), control) == LONGER).mean() > 0.95
    assert is_different(verdicts(equal + math.log(1.05), control)).mean() > 0.95


@pytest.mark.slow
@pytest.mark.parametrize("heats", [6, 8, 10, 15, 20, 30])
@pytest.mark.parametrize("name", FAIR)
def test_the_95_percent_intervals_cover_93_to_98_percent_of_20_000_campaigns(name, heats):
    """The long form: a deviation of 0.15 points of its own."""
    of_mean, of_ranks = coverage(MACHINES[name], heats, 20_000, seed=100 + heats)

    assert 0.94 <= of_mean <= 0.97
    assert 0.94 <= of_ranks <= 0.98


@pytest.mark.slow
@pytest.mark.parametrize("name", MACHINES)
def test_page_wide_false_alarms_of_20_000_pages_stay_below_5_percent(name):
    """The long form, with as many candidates as a heat can hold."""
    found = false_verdicts(MACHINES[name], pages=20_000, family=6, seed=31)

    assert found["comparison"] <= 0.05
    assert found["page"] <= 0.05


def test_means_of_one_campaign_are_those_of_the_statistics():
    """The arrays' p is the p of the paired t test."""
    differences = np.random.default_rng(3).normal(0.01, 0.02, (3, 10))
    control = np.random.default_rng(4).normal(0.0, 0.001, (3, 10))
    p = np.array([mean_effect(row).p_value for row in differences])

    assert verdicts(differences, control).tolist() == verdicts(differences, control, p).tolist()
    assert abs(MARGIN - math.log(1.03)) < 1e-12
