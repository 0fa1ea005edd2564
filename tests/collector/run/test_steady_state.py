"""The steady state: levels that are there are found, and levels that are not are not."""

from __future__ import annotations

import doctest
import math

import numpy as np
import pytest

from collector.protocol.events import ChunkStop, EpochStart, EpochStop
from collector.run import steady_state as module
from collector.run.steady_state import Chunks, change_points, chunks_of, steady_rows, steady_state
from store.metrics import METRICS


def series(*levels, noise=0.01, seed=1):
    """Return chunks of ten steps: (seconds per step, number of chunks) after each other, with noise."""
    generator = np.random.default_rng(seed)
    per_step = np.concatenate([np.full(number, level) for level, number in levels])
    durations = 10 * per_step * np.exp(generator.normal(0, noise, per_step.size))
    return Chunks(durations, np.full(per_step.size, 10.0))


def test_the_examples_are_true():
    """What the docstring shows is what the function returns."""
    assert doctest.testmod(module).failed == 0


@pytest.mark.parametrize("slow", [1, 2, 5, 12])
def test_a_slow_beginning_is_left_out(slow):
    """One chunk of warm-up or twelve: the train clock before the level is theirs."""
    chunks = series((0.5, slow), (0.2, 40))
    found = steady_state(chunks)

    assert found.after_s == pytest.approx(chunks.durations_s[:slow].sum())
    assert found.s_per_step == pytest.approx(0.2, rel=0.01)


def test_a_run_that_keeps_its_speed_is_steady_from_the_start():
    """Nothing before it."""
    assert steady_state(series((0.2, 60))).after_s == 0


def test_a_run_that_changes_late_is_never_steady():
    """The last level must have been kept for a quarter of the chunks."""
    assert steady_state(series((0.2, 50), (0.3, 10))) is None
    assert steady_state(series((0.2, 40), (0.3, 20))).after_s == pytest.approx(80, rel=0.02)


def test_a_run_that_slows_down_all_the_time_is_never_steady():
    """A slope of a third of the speed has no level."""
    per_step = np.linspace(0.2, 0.5, 60)

    assert steady_state(Chunks(10 * per_step, np.full(60, 10.0))) is None


def test_levels_within_five_percent_are_one():
    """3 % of a change is found by the segmentation and is no new level."""
    chunks = series((0.206, 30), (0.2, 30), noise=0.002)

    assert change_points(np.log(chunks.durations_s)) == [30]
    assert steady_state(chunks).after_s == 0


def test_single_slow_chunks_are_outliers():
    """A garbage collection now and then ends no level."""
    chunks = series((0.2, 60))
    chunks.durations_s[[17, 40, 41]] *= 3

    assert steady_state(chunks).after_s == 0


def test_noise_alone_has_hardly_any_change_points():
    """None in 95 % of 500 series of normal noise, in 90 % of heavy tails; and steady from the start in 98 %."""
    generator = np.random.default_rng(2)
    normal, heavy = generator.normal(0, 0.02, (500, 60)), 0.02 * generator.standard_t(3, (500, 60))
    for found, least in ((normal, 0.95), (heavy, 0.90)):
        assert np.mean([not change_points(x) for x in found]) >= least
        starts = [steady_state(Chunks(np.exp(x), np.ones(60))) for x in found]
        assert np.mean([bool(s and s.after_s == 0) for s in starts]) >= 0.98


def test_warm_up_of_a_third_is_found_in_95_percent():
    """Six chunks 30 % slower under noise of 5 %: found to within two chunks in 300 series."""
    right = []
    for seed in range(300):
        chunks = series((1.3, 6), (1.0, 54), noise=0.05, seed=seed)
        found = steady_state(chunks)
        before = 0 if found is None else int(np.searchsorted(chunks.durations_s.cumsum(), found.after_s + 1e-9))
        right.append(abs(before - 6) <= 2)

    assert np.mean(right) >= 0.95


@pytest.mark.parametrize("shift", [-7.0, 0.5, 3.0])
def test_the_unit_does_not_matter(shift):
    """Milliseconds shift every log alike."""
    logs = np.log(series((0.5, 7), (0.2, 40), (0.22, 20)).durations_s)

    assert change_points(logs + shift) == change_points(logs) == [7, 47]


def test_too_few_chunks_and_broken_clocks_show_nothing():
    """Nineteen chunks; a chunk that took no time."""
    assert steady_state(series((0.2, 19))) is None
    assert steady_state(Chunks(np.zeros(30), np.ones(30))) is None
    assert steady_rows("run", []) == []


def test_long_runs_are_joined_before_they_are_cut():
    """5,000 chunks take no longer than 1,000, and tell the same."""
    found = steady_state(series((0.5, 400), (0.2, 4600)))

    assert found.after_s == pytest.approx(2000, rel=0.02)
    assert found.s_per_step == pytest.approx(0.2, rel=0.01)


def events(epochs=2, chunks=15, slow=4):
    """Return epochs of chunks of ten steps, the first few of the run slower."""
    at, found, number = 0, [], 0
    for epoch in range(epochs):
        found.append(EpochStart(kind="epoch_start", at_ns=at, epoch=epoch + 1.0))
        for chunk in range(1, chunks + 1):
            number += 1
            at += 300_000_000 if number <= slow else 100_000_000
            found.append(ChunkStop(kind="chunk_stop", at_ns=at, steps=10 * chunk))
        found.append(EpochStop(kind="epoch_stop", at_ns=at, epoch=epoch + 1.0, examples=100, data_wait_s=0.0))
        at += 5_000_000_000
    return found


def test_chunks_come_from_the_events_without_what_lies_between_epochs():
    """Seconds since the chunk before, or since the epoch began."""
    chunks = chunks_of(events())

    assert chunks.durations_s == pytest.approx([0.3] * 4 + [0.1] * 26)
    assert set(chunks.steps) == {10.0}


def test_the_measurements_of_a_run():
    """Steady after 1.2 s of training, at 10 ms per step; never steady is a measurement too."""
    found = {row.metric: row.value for row in steady_rows("run", events())}

    assert found == {"is_steady": 1.0, "steady_after_s": pytest.approx(1.2), "steady_step_s": pytest.approx(0.01)}
    assert set(found) <= METRICS.keys()
    assert not math.isnan(sum(found.values()))
