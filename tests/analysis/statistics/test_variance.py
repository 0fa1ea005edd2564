"""Spreads between heats, runs and epochs, and the effect of the position."""

from __future__ import annotations

import dataclasses
import math
from datetime import timedelta

import numpy as np
import pytest
from scipy import stats

from analysis.statistics.variance import idle_effect, pauses_s, position_effect, spreads
from store.records import RunRow
from tests.analysis.builders import JAX, NUMPY, PYTORCH, START, Campaign, epoch_row, frame, frames_of, run_row


def spread_of(rows, entry, clock, level):
    """Return one spread, or none."""
    frames = frames_of(rows)
    found = [s for s in spreads(frames.runs, frames.epochs) if (s.entry, s.clock, s.level) == (entry, clock, level)]
    assert len(found) <= 1
    return found[0] if found else None


def test_heats_hold_drift_and_pairs_inside_a_heat_do_not():
    """5 % between heats and 0.5 % between two runs of one heat come back as such."""
    rows = Campaign(heats=200, heat_deviation=0.05, run_deviation=0.005).rows()
    heats = spread_of(rows, PYTORCH.entry, "train_clock_s", "heats")
    runs = spread_of(rows, PYTORCH.entry, "train_clock_s", "runs")

    assert heats.coefficient_of_variation_ratio == pytest.approx(0.05, rel=0.15)
    assert runs.coefficient_of_variation_ratio == pytest.approx(0.005, rel=0.15)
    assert (heats.runs, runs.runs) == (200, 400)


def test_the_deviation_of_heats_is_numpys_and_leaves_the_control_out():
    """One run per heat, with n - 1."""
    rows = Campaign(heats=10).rows()
    values = [r.train_clock_s for r in rows if isinstance(r, RunRow) and r.runner == PYTORCH.runner and not r.control]
    heats = spread_of(rows, PYTORCH.entry, "train_clock_s", "heats")

    assert heats.standard_deviation_s == pytest.approx(np.std(values, ddof=1))
    assert heats.mean_s == pytest.approx(np.mean(values))
    assert heats.low_s < heats.standard_deviation_s < heats.high_s


def test_the_deviation_of_pairs_is_half_the_squared_difference():
    """Pairs (1, 2) and (3, 3) have variances 1/2 and 0."""
    values = {"h1": (1.0, 2.0), "h2": (3.0, 3.0)}
    rows = [
        run_row(run_id=f"{heat}{place}", heat_id=heat, control=place == 1, train_clock_s=seconds)
        for heat, pair in values.items()
        for place, seconds in enumerate(pair)
    ]
    runs = spread_of(rows, PYTORCH.entry, "train_clock_s", "runs")

    assert runs.standard_deviation_s == pytest.approx(math.sqrt(0.25))
    assert runs.runs == 4
    # Two pairs are two degrees of freedom: s · √(2 / χ²).
    assert runs.high_s == pytest.approx(0.5 * math.sqrt(2 / stats.chi2.ppf(0.025, 2)))


def test_the_deviation_of_epochs_is_inside_runs_and_per_example():
    """A run twice as slow adds nothing, an interval with half the examples counts half."""
    rows = [
        run_row(run_id="a"),
        run_row(run_id="b", heat_id="h2"),
        *[epoch_row(run_id="a", epoch=e, train_s=s, examples=100) for e, s in ((0.25, 1.0), (0.5, 1.2))],
        *[epoch_row(run_id="b", epoch=e, train_s=s, examples=n) for e, s, n in ((0.25, 2.0, 100), (0.5, 1.0, 50))],
    ]
    epochs = spread_of(rows, PYTORCH.entry, "train_clock_s", "epochs")

    per_interval = np.mean([100, 100, 100, 50]) / 100
    assert epochs.standard_deviation_s == pytest.approx(math.sqrt(2 * 0.1**2 / 2) * per_interval)
    assert epochs.runs == 2
    assert epochs.low_s is None


@pytest.mark.parametrize("level", ["heats", "runs", "epochs"])
def test_one_measurement_has_no_spread(level):
    """A single heat of one interval shows nothing, and gets no row."""
    rows = [run_row(run_id="a"), run_row(run_id="b", control=True), epoch_row(run_id="a")]

    assert spread_of(rows, PYTORCH.entry, "train_clock_s", level) is None


def test_only_the_baseline_has_pairs_inside_a_heat():
    """Candidates run once per heat."""
    assert spread_of(Campaign().rows(), JAX.entry, "train_clock_s", "runs") is None


def test_runs_that_failed_are_not_measurements():
    """A crash has no duration; an empty cell has no rows."""
    crashed = dataclasses.replace(JAX, status="crashed")
    frames = frames_of(Campaign(racers=(PYTORCH, crashed)).rows())

    assert {s.entry for s in spreads(frames.runs, frames.epochs)} == {PYTORCH.entry}
    assert spreads(frame([], "runs"), frame([], "epochs")) == []


def tilted(rows, ratio):
    """Return the runs with each place in the heat costing `ratio` more."""
    runs = frames_of(rows).runs
    return runs.assign(train_clock_s=runs["train_clock_s"] * ratio ** runs["position"].astype(float))


def test_the_effect_of_the_position_comes_back():
    """2 % per place is found although heats drift by 5 % and entries differ five-fold."""
    effect = position_effect(tilted(Campaign(racers=(PYTORCH, JAX, NUMPY), heats=10).rows(), 1.02), "train_clock_s")

    assert effect.low_ratio < 1.02 < effect.high_ratio
    assert effect.ratio_per_place == pytest.approx(1.02, abs=0.003)
    assert effect.is_visible
    assert effect.runs == 40


def test_an_effect_of_the_position_that_is_not_there_is_seen_in_about_5_percent():
    """Of 300 campaigns without one; 8.5 % leaves room for their own chance."""
    generator = np.random.default_rng(1)
    runs = frames_of(Campaign(heats=10).rows()).runs[["heat_id", "entry", "position", "status", "train_clock_s"]]
    seen = []
    for _ in range(300):
        noise = np.exp(generator.normal(0, 0.01, len(runs)))
        place = generator.permuted(np.tile([1, 2, 3], (10, 1)), axis=1).ravel()
        shuffled = runs.assign(train_clock_s=runs["train_clock_s"] * noise, position=place)
        seen.append(position_effect(shuffled, "train_clock_s").is_visible)

    assert 0.015 <= np.mean(seen) <= 0.085


def test_too_few_runs_show_no_effect_of_the_position():
    """Two heats of three leave no freedom to tell."""
    assert position_effect(frames_of(Campaign(heats=2).rows()).runs, "train_clock_s") is None
    assert position_effect(frame([], "runs"), "train_clock_s") is None


def test_an_entry_that_always_starts_at_the_same_place_cannot_be_told_from_the_place():
    """Without balance there is no effect of the position, only of the entry."""
    rows = [
        run_row(run_id=f"{heat}-{place}", heat_id=str(heat), runner=f"runner{place}", position=place)
        for heat in range(20)
        for place in (1, 2, 3)
    ]

    assert position_effect(frames_of(rows).runs, "train_clock_s") is None


def paused(ratio, seed=3):
    """Return the runs of 20 heats, each begun after ten minutes of pause, the first run of a heat `ratio` slower."""
    rows = [row for row in Campaign(heats=20, seed=seed).rows() if isinstance(row, RunRow)]
    at, found = rows[0].started_at, []
    for row in sorted(rows, key=lambda row: row.started_at):
        at += timedelta(minutes=10) if row.position == 1 else timedelta(seconds=1)
        slow = ratio if row.position == 1 and found else 1.0
        found.append(dataclasses.replace(row, started_at=at, train_clock_s=row.train_clock_s * slow))
        at += timedelta(seconds=row.e2e_clock_s)
    runs = frames_of(found).runs
    return runs.assign(pause_s=pauses_s(runs).reindex(runs["run_id"]).to_numpy())


def test_the_effect_of_a_pause_comes_back():
    """Runs that begin after ten minutes of nothing take 5 % longer, whoever they are."""
    effect = idle_effect(paused(1.05), "train_clock_s")

    assert effect.low_ratio < 1.05 < effect.high_ratio
    assert effect.is_visible
    assert not idle_effect(paused(1.0), "train_clock_s").is_visible


def test_without_a_pause_there_is_no_effect_of_one():
    """Runs back to back, or no runs."""
    runs = frames_of(Campaign(heats=10).rows()).runs

    assert idle_effect(runs.assign(pause_s=1.0), "train_clock_s") is None
    assert idle_effect(frame([], "runs").assign(pause_s=1.0), "train_clock_s") is None


def test_a_pause_is_since_the_end_of_whatever_ran_before_on_the_machine():
    """Runs of another cell are no pause, those of another machine are; after a crash nobody knows."""
    at = [(0, "m", 5.0), (10, "m", 5.0), (20, "other", 1.0), (30, "m", None), (40, "m", 1.0)]
    rows = [
        run_row(
            run_id=str(n), workload=f"w{n}", started_at=START + timedelta(seconds=s), environment_id=m, e2e_clock_s=e
        )
        for n, (s, m, e) in enumerate(at)
    ]
    found = pauses_s(frame(rows, "runs"))

    assert found[["1", "3"]].tolist() == [5.0, 15.0]
    assert found[["0", "2", "4"]].isna().all()
