"""Laws that findings obey whatever the numbers: units, exchange, order, duplication, and what cannot be compared."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.findings.comparison import ComparisonError, Verdict
from analysis.findings.find import find_all
from analysis.statistics.paired import StatisticsError
from tests.analysis.builders import JAX, NUMPY, PYTORCH, Campaign, frame, frames_of, run_row

FRAMES = frames_of(Campaign(racers=(PYTORCH, JAX, NUMPY), heats=10).rows())
TIMES = {
    "runs": ["train_clock_s", "e2e_clock_s", "time_to_first_step_s"],
    "epochs": ["train_s", "eval_s", "train_clock_s", "e2e_clock_s", "data_wait_s"],
}


def found(runs=FRAMES.runs, epochs=FRAMES.epochs):
    """Return the findings by candidate and clock."""
    findings = find_all(runs, epochs, FRAMES.unavailable, FRAMES.gates)
    return {(finding.candidate, finding.clock): finding for finding in findings}


def numbers(finding):
    """Return everything about a finding that has no unit."""
    return (
        finding.ratio, finding.ratio_low, finding.ratio_high, finding.hodges_lehmann_ratio, finding.hodges_lehmann_low,
        finding.hodges_lehmann_high, finding.adjusted_p, finding.floor_ratio, finding.epochs_to_target,
    )  # fmt: skip


@settings(max_examples=10, deadline=None)
@given(st.floats(1e-3, 1e3))
def test_the_unit_of_time_changes_only_the_absolute_values(unit):
    """Minutes instead of seconds: the same ratios, intervals and verdicts."""
    runs, epochs = (
        table.assign(**{column: table[column].astype(float) * unit for column in TIMES[name]})
        for name, table in (("runs", FRAMES.runs), ("epochs", FRAMES.epochs))
    )
    before, after = found(), found(runs, epochs)

    for key, finding in after.items():
        assert numbers(finding) == pytest.approx(numbers(before[key]), rel=1e-6)
        assert finding.verdict is before[key].verdict
        assert finding.baseline_value == pytest.approx(before[key].baseline_value * unit)


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 10_000))
def test_the_order_of_the_rows_does_not_matter(seed):
    """Shuffled runs and epochs give the same findings, to the last digit but for sums."""
    runs, epochs = (table.sample(frac=1, random_state=seed) for table in (FRAMES.runs, FRAMES.epochs))
    before, after = found(), found(runs, epochs)

    assert set(after) == set(before)
    for key, finding in after.items():
        assert numbers(finding) == pytest.approx(numbers(before[key]), rel=1e-9)
        assert finding.verdict is before[key].verdict


def test_exchanging_baseline_and_candidate_inverts_the_ratio():
    """Faster becomes slower, 34 % longer becomes 25 % less, and the interval is mirrored."""
    back = found(FRAMES.runs.assign(baseline=JAX.entry))
    for clock in ("train", "e2e"):
        there, here = found()[JAX.entry, clock], back[PYTORCH.entry, clock]

        assert here.ratio == pytest.approx(1 / there.ratio)
        assert (here.ratio_low, here.ratio_high) == pytest.approx((1 / there.ratio_high, 1 / there.ratio_low))
        assert (there.verdict, here.verdict) == (Verdict.SLOWER, Verdict.FASTER)


def test_duplicated_heats_leave_the_ratio_and_narrow_the_interval():
    """The same heats twice under other names: the same estimate, √((n - 1) / (2n - 1)) and another t."""
    runs, epochs = FRAMES.runs, FRAMES.epochs
    twice = pd.concat([runs, runs.assign(run_id=runs["run_id"] + "x", heat_id=runs["heat_id"] + "x")])
    before, after = found(), found(twice, pd.concat([epochs, epochs.assign(run_id=epochs["run_id"] + "x")]))
    for key, finding in after.items():
        assert finding.ratio == pytest.approx(before[key].ratio)
        assert finding.heats == 20
        assert before[key].ratio_low < finding.ratio_low < finding.ratio_high < before[key].ratio_high


def test_a_run_twice_in_its_heat_is_refused():
    """The same run under two names is no second run."""
    runs = FRAMES.runs
    again = runs[runs["run_id"] == "python_jax-jit-3"].assign(run_id="again")
    epochs = FRAMES.epochs[FRAMES.epochs["run_id"] == "python_jax-jit-3"].assign(run_id="again")

    with pytest.raises(ComparisonError, match="heat heat-3: python_jax:jit occurs twice"):
        found(pd.concat([runs, again]), pd.concat([FRAMES.epochs, epochs]))


def test_one_run_of_each_has_a_ratio_and_no_interval():
    """One heat says nothing about its own uncertainty."""
    frames = frames_of(Campaign(heats=1).rows())
    for finding in find_all(frames.runs, frames.epochs, frames.unavailable, frames.gates):
        assert finding.ratio > 1
        assert finding.ratio_low is None
        assert finding.verdict is Verdict.INSUFFICIENT
        assert "an interval needs 6 heats" in finding.reason


def test_programs_that_take_exactly_the_same_time_are_a_dead_heat():
    """All differences 0: an interval of one point, inside the margin."""
    same = {"heat_deviation": 0.05, "run_deviation": 0.0}
    twin = Campaign(racers=(PYTORCH, type(JAX)(runner="python_twin")), **same)
    frames = frames_of(twin.rows())
    for finding in find_all(frames.runs, frames.epochs, frames.unavailable, frames.gates):
        assert finding.ratio == pytest.approx(1.0)
        assert finding.verdict is Verdict.DEAD_HEAT


@pytest.mark.parametrize("bad", [math.inf, -1.0, 0.0])
def test_a_time_that_cannot_be_is_refused_and_never_averaged(bad):
    """Infinite, negative and no time at all: an error that names the place, no number."""
    runs = [
        run_row(run_id=f"{entry}{heat}", heat_id=str(heat), runner=entry, mode="steps", steps=5, train_clock_s=value)
        for heat in range(10)
        for entry, value in (("a", 1.0), ("b", bad if heat == 4 else 1.1))
    ]
    steps = frame(runs, "runs").assign(baseline="a:eager")

    with pytest.raises((ComparisonError, StatisticsError), match="expected|finite"):
        find_all(steps, frame([], "epochs"), FRAMES.unavailable, FRAMES.gates)


def test_a_missing_time_takes_its_pair_along_and_nothing_else():
    """A completed run without a clock is no zero."""
    runs = FRAMES.runs.assign(mode="steps")
    clocks = runs["train_clock_s"].astype(float).where(runs["run_id"] != "python_jax-jit-3")
    finding = found(runs.assign(train_clock_s=clocks))[JAX.entry, "train"]

    assert finding.heats == 9
    assert np.isfinite(finding.ratio)


def test_an_empty_store_has_no_findings():
    """Nothing in, nothing out."""
    assert find_all(frame([], "runs"), frame([], "epochs"), frame([], "runs"), frame([], "gates")) == []
