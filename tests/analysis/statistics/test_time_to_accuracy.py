"""Crossings of the target, costs per epoch, and the epochs of all entries pooled."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.statistics.survival import kaplan_meier
from analysis.statistics.time_to_accuracy import (
    crossings,
    observed_times,
    pooled_epochs,
    run_costs,
)
from store.records import EpochRow
from tests.analysis.builders import JAX, PYTORCH, Campaign, epoch_row, frame, frames_of, run_row


def epochs_of(accuracies, run_id="run1"):
    """Return the epochs of a run with one evaluation per quarter of an epoch, a second of training each."""
    rows = [
        epoch_row(
            run_id=run_id,
            epoch=number / 4,
            train_s=1.0,
            eval_s=0.5,
            train_clock_s=float(number),
            e2e_clock_s=10 + 1.5 * number,
            test_accuracy=accuracy,
        )
        for number, accuracy in enumerate(accuracies, start=1)
    ]
    return frame(rows, "epochs")


def test_the_target_is_met_at_the_first_of_two_consecutive_evaluations_above_it():
    """A lucky evaluation alone does not count, and a value equal to the target does."""
    met = crossings(epochs_of([0.90, 0.97, 0.95, 0.96, 0.96, 0.99]), 0.96)

    assert met.loc["run1"].to_dict() == {"epoch": 1.0, "train_clock_s": 4.0, "e2e_clock_s": 16.0}


@pytest.mark.parametrize("accuracies", [[0.9, 0.9, 0.97], [0.97, 0.9, 0.97], [0.97], [None, None]])
def test_a_target_that_nothing_confirms_is_not_met(accuracies):
    """The last evaluation alone, alternating ones, and none at all."""
    assert crossings(epochs_of(accuracies), 0.96).empty


def test_each_run_has_its_own_crossing():
    """The last evaluation of one run is never confirmed by the first of the next."""
    rows = [*epochs_of([0.9, 0.97], "a").to_dict("records"), *epochs_of([0.97, 0.9], "b").to_dict("records")]
    epochs = frame([EpochRow(**row) for row in rows], "epochs").sample(frac=1, random_state=3)

    assert crossings(epochs, 0.96).empty


def test_each_run_may_have_its_own_target():
    """One call serves cells with different targets; a run without any meets none."""
    rows = [row for run_id in "abc" for row in epochs_of([0.90, 0.95, 0.97, 0.97], run_id).to_dict("records")]
    epochs = frame([EpochRow(**row) for row in rows], "epochs").sample(frac=1, random_state=4)
    met = crossings(epochs, pd.Series({"a": 0.96, "b": 0.90, "c": None}, dtype=object))

    assert met["epoch"].to_dict() == {"a": 0.75, "b": 0.25}


def test_no_epochs_are_no_crossings_and_no_costs():
    """A store whose runs all died early."""
    assert crossings(frame([], "epochs"), 0.96).empty
    assert run_costs(frame([], "epochs")).empty


def test_fixed_costs_and_costs_per_epoch_add_up_to_the_clocks():
    """Fixed + per epoch × epochs trained is the clock at the last evaluation, on both clocks."""
    epochs = epochs_of([0.9] * 12)
    costs = run_costs(epochs).loc["run1"]

    assert costs["fixed_s"] == pytest.approx(10.0)
    assert costs["train_s_per_epoch"] == pytest.approx(4.0)
    assert costs["e2e_s_per_epoch"] == pytest.approx(6.0)
    assert costs["fixed_s"] + 3 * costs["e2e_s_per_epoch"] == pytest.approx(epochs["e2e_clock_s"].iloc[-1])


def test_costs_do_not_depend_on_the_order_of_the_rows():
    """Rows come from many files."""
    epochs = frames_of(Campaign(heats=2).rows()).epochs

    assert run_costs(epochs.sample(frac=1, random_state=1)).equals(run_costs(epochs))


def test_a_run_without_evaluation_has_costs_of_training_alone():
    """An epoch pair without evaluation adds nothing for it."""
    rows = [epoch_row(epoch=1.0, train_s=2.0, eval_s=None, test_accuracy=None, train_clock_s=2.0, e2e_clock_s=5.0)]
    costs = run_costs(frame(rows, "epochs")).loc["run1"]

    assert costs.to_dict() == {"fixed_s": 3.0, "train_s_per_epoch": 2.0, "e2e_s_per_epoch": 2.0}


def pooled(runs, met):
    """Return the pool of runs that met the target as `crossings` says."""
    return pooled_epochs(runs.assign(target_epoch=met["epoch"].reindex(runs["run_id"]).to_numpy()))


def pool_of(heats, *, planned=3):
    """Return the pool of `heats`: lists of crossings per heat, None where the target was not met."""
    runs, met = [], {}
    for heat, spent in enumerate(heats):
        for number, epochs in enumerate(spent):
            run = run_row(run_id=f"{heat}-{number}", heat_id=f"heat{heat}", epochs=planned)
            runs.append(run)
            if epochs is not None:
                met[run.run_id] = epochs
    found = [epoch_row(run_id=run_id, epoch=epoch, test_accuracy=1.0) for run_id, epoch in met.items()]
    after = [dataclasses.replace(row, epoch=row.epoch + 0.25) for row in found]
    return pooled(frame(runs, "runs"), crossings(frame([*found, *after], "epochs"), 0.96))


def test_pooled_epochs_are_the_mean_over_heats_with_its_standard_error():
    """Runs of one heat share their weights: they count as one heat, not as many."""
    pool = pool_of([[1.0, 1.0, 1.0, 1.0], [2.0]])

    assert pool.epochs.estimate == 1.5
    assert pool.epochs.standard_error == pytest.approx(0.5)
    assert (pool.epochs.n, pool.runs, pool.hits) == (2, 5, 5)


def test_a_run_that_never_meets_the_target_counts_with_the_epochs_it_had():
    """The mean until the target or the end of the plan; with no hit at all it is the plan."""
    assert pool_of([[1.0], [None]]).epochs.estimate == 2.0
    assert pool_of([[None], [None]]).epochs.estimate == 3.0
    assert pool_of([[None], [None]]).hits == 0


def test_one_heat_has_a_mean_and_no_certainty():
    """The standard error of one heat is infinite, not 0."""
    assert math.isinf(pool_of([[1.0, 2.0]]).epochs.standard_error)


@pytest.mark.parametrize(
    ("change", "runs"), [({"control": True}, 1), ({"status": "crashed"}, 1), ({"status": "diverged"}, 2)]
)
def test_the_control_and_crashes_stay_out_of_the_pool_and_divergence_counts(change, runs):
    """A control repeats the baseline; a crash says nothing about accuracy, a divergence does."""
    rows = [run_row(run_id="a", heat_id="h1"), run_row(run_id="b", heat_id="h2", **change)]
    met = crossings(epochs_of([0.97] * 4, "a"), 0.96)

    assert pooled(frame(rows, "runs"), met).runs == runs


def test_nothing_to_pool_is_none():
    """No gated run, no pool."""
    assert pooled(frame([], "runs"), crossings(epochs_of([0.97, 0.97]), 0.96)) is None


@given(st.lists(st.floats(0.25, 10), min_size=1, max_size=15))
def test_without_censoring_the_median_is_where_half_have_arrived(reached):
    """The first value at which at least half of the runs have met the target."""
    values = sorted(reached)

    assert kaplan_meier(reached, []).median() == values[math.ceil(len(values) / 2) - 1]


@given(st.lists(st.floats(0.25, 3), min_size=1, max_size=10), st.integers(0, 10))
def test_runs_that_never_arrive_push_the_median_back_or_away(reached, unreached):
    """More runs without the target never make the median earlier; with more than half of them there is none."""
    before = kaplan_meier(reached, []).median()
    after = kaplan_meier(reached, [3.5] * unreached).median()

    assert (after is None) == (unreached > len(reached))
    assert after is None or after >= before


def test_the_median_is_the_textbooks_product():
    """6 and 13 of 6, 7+, 10+, 13, 16+ by hand: survival 4/5, then 4/5 · 1/2 = 0.4."""
    assert kaplan_meier([6.0, 13.0], [7.0, 10.0, 16.0]).median() == 13.0
    assert kaplan_meier([6.0], [7.0, 10.0, 16.0]).median() is None
    assert kaplan_meier([], [1.0]).median() is None


@pytest.mark.parametrize("half", range(1, 30))
def test_exactly_half_is_a_median_whatever_the_last_digit(half):
    """Half arrive, half never do: the last arrival is the median, though products of fractions miss one half."""
    reached = [float(n) for n in range(1, half + 1)]

    assert kaplan_meier(reached, [100.0] * half).median() == half
    assert kaplan_meier(reached, [100.0] * (half + 1)).median() is None


def test_the_table_of_an_entry_says_how_many_arrived_and_when():
    """Two of three reach the target: the hit rate and the medians on all three scales."""
    runs = [run_row(run_id=name, heat_id=name) for name in "abc"]
    paths = {"a": [0.97] * 12, "b": [0.9] * 4 + [0.97] * 8, "c": [0.9] * 12}
    epochs = frame(
        [EpochRow(**row) for name, path in paths.items() for row in epochs_of(path, name).to_dict("records")], "epochs"
    )
    (row,) = observed_times(frame(runs, "runs"), epochs, 0.96)

    assert (row.entry, row.hits, row.runs) == ("python_pytorch:eager", 2, 3)
    assert row.hit_ratio == pytest.approx(2 / 3)
    assert (row.fastest_epochs, row.median_epochs, row.slowest_epochs) == (0.25, 1.25, 1.25)
    assert (row.median_train_s, row.median_e2e_s) == (5.0, 17.5)


def test_an_entry_that_never_arrives_has_a_row_without_times():
    """0 of n is a result; control runs are not counted."""
    frames = frames_of(Campaign(heats=3, accuracies=[0.1]).rows())
    rows = observed_times(frames.runs, frames.epochs, 0.96)

    assert [(row.entry, row.hits, row.runs) for row in rows] == [(JAX.entry, 0, 3), (PYTORCH.entry, 0, 3)]
    assert all(row.median_epochs is None and row.fastest_epochs is None for row in rows)


def test_a_run_that_diverged_at_once_counts_against_its_entry():
    """No epochs, no crash: it lasted nothing and never arrived."""
    runs = [run_row(run_id="a"), run_row(run_id="b", heat_id="h2", status="diverged")]
    (row,) = observed_times(frame(runs, "runs"), epochs_of([0.97] * 4, "a"), 0.96)

    assert (row.hits, row.runs, row.median_epochs) == (1, 2, 0.25)


def test_pooling_many_entries_is_more_certain_than_one():
    """With the same mathematics the pool's error falls with the heats, and the mean is the truth's."""
    frames = frames_of(Campaign(heats=200, quarters_deviation=1.0).rows())
    pool = pooled(frames.runs, crossings(frames.epochs, 0.96))

    assert pool.epochs.estimate == pytest.approx(1.25, abs=0.06)
    assert pool.epochs.standard_error == pytest.approx(0.25 / np.sqrt(200), rel=0.2)
