"""Rules of repetition: decided before the result is known, and kept by the planner."""

from __future__ import annotations

import doctest

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from collector.campaign.collect import collect
from collector.cli.selection import Choice, choose_suite
from collector.plan import repetition
from collector.plan.matrix import Group, MatrixError
from collector.plan.repetition import heats_after_pilot, heats_now, largest_deviation
from tests.collector.campaign.test_collect import Silent, suite
from tests.collector.cli.test_selection import NOTHING


def group(**asked):
    """Return a group of two fakes with these rules."""
    return Group(**{"workloads": ["mnist_mlp"], "runners": ["fake", "fake:slow"], "baseline": "fake", **asked})


def runs_of(ratios, clock="train_clock_s"):
    """Return a pilot of a baseline at 1 s and a candidate at these ratios."""
    rows = [
        {"heat_id": f"h{heat}", "entry": entry, "baseline": "a", "control": control, clock: value}
        for heat, ratio in enumerate(ratios)
        for entry, control, value in (("a", False, 1.0), ("a", True, 1.0), ("b", False, ratio))
    ]
    return pd.DataFrame(rows).assign(**{other: 1.0 for other in repetition.CLOCKS if other != clock})


def test_the_examples_are_true():
    """What the docstrings show is what the functions return."""
    assert doctest.testmod(repetition).failed == 0


@pytest.mark.parametrize("rule", ["until decided", "until_decided", "", 3, None])
def test_until_decided_is_refused_with_the_reason(rule):
    """The message says what such a rule does to identical programs, and what to write instead."""
    with pytest.raises(ValueError, match=r"'fixed', 'pilot' or 'looks'.* 11 % of campaigns by 10 heats and in 21 %"):
        group(heats=30, repetitions=rule)


@pytest.mark.parametrize("rule", ["until decided", "pilot"])
def test_the_command_line_refuses_it_too(rule):
    """Six heats are no pilot's most, and "until decided" is no rule."""
    asked = {"runner": "fake,fake:slow", "workload": "mnist_mlp", "heats": 6, "repetitions": rule}
    with pytest.raises(MatrixError, match="command line: group"):
        choose_suite(Choice(**{**NOTHING, **asked}))


@pytest.mark.parametrize(("rule", "heats"), [("looks", 29), ("looks", 10), ("pilot", 9)])
def test_heats_that_do_not_fit_the_rule_are_refused(rule, heats):
    """Looks are at 10, 20 and 30; a pilot may lead to ten heats at least."""
    with pytest.raises(ValueError, match=f"repetitions = '{rule}'.*here heats = {heats}"):
        group(heats=heats, repetitions=rule)


def test_a_fixed_number_is_the_default():
    """Every suite written before the rules says the same as before."""
    assert group(heats=3).repetitions == "fixed"
    assert heats_now("fixed", 3, 1, None, 0.03) == 3


@pytest.mark.parametrize(("done", "due"), [(0, 10), (9, 10), (10, 20), (15, 20), (20, 30), (30, 30)])
def test_looks_run_up_to_the_next_look(done, due):
    """Nobody looks between 10, 20 and 30."""
    assert heats_now("looks", 30, done, None, 0.03) == due


@pytest.mark.parametrize(("done", "deviation", "due"), [(0, None, 6), (5, None, 6), (6, 0.0283, 15), (9, 0.0283, 15)])
def test_a_pilot_of_six_fixes_the_number(done, deviation, due):
    """Until six are done nothing more is planned; after that the number stays."""
    assert heats_now("pilot", 60, done, deviation, 0.03) == due


def test_the_number_makes_the_interval_half_the_margin_wide():
    """At the returned n, and not at n - 1, t(pilot) · s / √n ≤ log(1.03) / 2."""
    for deviation in (0.025, 0.04, 0.06):
        heats = heats_after_pilot(deviation, 0.03, 10_000)
        half = stats.t.ppf(0.95, 5) * deviation / np.sqrt([heats - 1, heats])

        assert half[1] <= np.log(1.03) / 2 < half[0]
    assert heats_after_pilot(0.06, 0.03, 40) == 40


@pytest.mark.parametrize("clock", repetition.CLOCKS)
def test_the_widest_entry_on_either_clock_counts(clock):
    """The candidate's log ratios on one clock; the control and the other clock are quiet."""
    ratios = np.exp(np.random.default_rng(1).normal(0.5, 0.05, 6))

    assert largest_deviation(runs_of(ratios, clock)) == pytest.approx(np.log(ratios).std(ddof=1))
    assert largest_deviation(runs_of([1.0])) is None


def test_looks_are_run_one_after_another(fresh_store, fake_setting, monkeypatch):
    """Each call ends at the next look; every run says for how many heats its cell was then decided."""
    monkeypatch.setattr(repetition, "LOOKS_AFTER", (1, 2, 3))
    chosen = suite("slow", heats=3, group={"repetitions": "looks"})
    seen = []
    for _ in range(3):
        collect(chosen, fresh_store, fake_setting, Silent(), once=True)
        seen.append(
            fresh_store.query("select max(repetition) as n, max(planned_heats) as p from runs").iloc[0].tolist()
        )

    assert seen == [[1, 1], [2, 2], [3, 3]]
    assert collect(chosen, fresh_store, fake_setting, Silent(), once=True).already_finished
    assert set(fresh_store.query("select repetitions from runs")["repetitions"]) == {"looks"}


def test_a_pilot_goes_on_by_itself_to_the_number_it_fixed(fresh_store, fake_setting, monkeypatch):
    """The fake's times do not vary: two heats of pilot, then the fewest there may be; and no more, ever."""
    monkeypatch.setattr(repetition, "PILOT_HEATS", 2)
    monkeypatch.setattr("collector.campaign.due_heats.PILOT_HEATS", 2)
    monkeypatch.setattr(repetition, "HEATS_FOR_A_VERDICT", 3)
    monkeypatch.setattr(repetition, "heats_after_pilot", lambda deviation, margin, most: 3 + (deviation > 9))
    chosen = suite("slow", heats=12, group={"repetitions": "pilot"})
    collect(chosen, fresh_store, fake_setting, Silent(), once=True)
    runs = fresh_store.query("select repetition, planned_heats from runs order by repetition")

    assert set(runs["repetition"]) == {1, 2, 3}
    assert runs.loc[runs["repetition"] <= 2, "planned_heats"].isna().all()
    assert (runs.loc[runs["repetition"] == 3, "planned_heats"] == 3).all()
    assert collect(chosen, fresh_store, fake_setting, Silent(), once=True).already_finished
