"""The verdict keeps the rule of repetition that was planned: its level, and when it may be read."""

from __future__ import annotations

import math

import numpy as np
import pytest

from analysis.findings.comparison import Verdict, decide
from analysis.findings.find import plan_of
from analysis.findings.heats_needed import Plan
from analysis.rendering.wording import sentence
from store.repetition import LOOKS
from tests.analysis.builders import Campaign, frame, frames_of, run_row
from tests.analysis.findings.test_comparison import comparison_of, spaced
from tests.analysis.findings.test_find import found
from tests.analysis.simulated import DEAD_HEAT, Machine, is_different, log_seconds, normal, verdicts


def ruled(differences, plan):
    """Return the decision on `differences` beside a quiet control, under `plan`."""
    comparison, control = comparison_of(differences), comparison_of(spaced(0.0, 0.001, len(differences)))
    return decide(comparison, control, comparison.effect.p_value, 0.03, 1, plan)


@pytest.mark.parametrize(("heats", "threshold"), LOOKS)
def test_each_look_has_its_own_threshold(heats, threshold):
    """A p just above the look's threshold decides nothing, one just below does."""
    plan, deviation = Plan(rule="looks", planned=heats, done=heats), 0.004 * heats
    found = {}
    for effect in np.linspace(0.03, 0.10, 71):
        differences = spaced(effect, deviation, heats)
        found[comparison_of(differences).effect.p_value] = ruled(differences, plan).verdict
    above = {p: v for p, v in found.items() if threshold <= p <= 4 * threshold}

    assert above
    assert set(above.values()) == {Verdict.UNDECIDED}
    assert {v for p, v in found.items() if p < threshold / 2} == {Verdict.SLOWER}


def test_a_dead_heat_at_the_first_look_needs_a_wider_interval_inside():
    """What is equivalent at 5 % after ten fixed heats is not yet at the first of three looks."""
    differences = spaced(0.0, 0.04)

    assert ruled(differences, Plan(planned=10, done=10)).verdict is Verdict.DEAD_HEAT
    assert ruled(differences, Plan(rule="looks", planned=10, done=10)).verdict is Verdict.UNDECIDED


@pytest.mark.parametrize(
    ("plan", "words"),
    [
        (Plan(planned=20, done=12), "12 heats are done and the number was fixed in advance at 20"),
        (Plan(rule="looks", planned=20, done=12), "12 heats are done and the next look is after 20"),
        (Plan(rule="pilot", done=12), "the pilot has not yet fixed the number of heats"),
    ],
)
def test_between_looks_there_is_no_verdict(plan, words):
    """The reason names the heats that are missing."""
    decision = ruled(spaced(0.5, 0.001, 12), plan)

    assert decision.verdict is Verdict.INSUFFICIENT
    assert words in decision.reason


def test_records_from_before_the_rules_are_taken_as_they_are():
    """Neither a rule nor a number was noted: ten heats decide as they always did."""
    runs = frames_of(Campaign(heats=10).rows()).runs

    assert plan_of(runs) == Plan(rule="fixed", planned=None, done=10)
    assert ruled(spaced(0.5, 0.001), plan_of(runs)).verdict is Verdict.SLOWER


def test_the_last_heat_says_how_far_the_rule_has_got():
    """Runs of the second look beside those of the first."""
    rows = [
        run_row(run_id=str(n), heat_id=str(n), repetition=n, repetitions="looks", planned_heats=10 if n < 11 else 20)
        for n in range(1, 14)
    ]

    assert plan_of(frame(rows, "runs")) == Plan(rule="looks", planned=20, done=13)
    assert plan_of(frame(rows, "runs")).alpha == 0.014


def test_a_finding_between_looks_says_so():
    """From records to the sentence."""
    changes = {"repetitions": "looks", "planned_heats": 20}
    train = next(f for f in found(Campaign(heats=12, changes=changes).rows()).values() if f.clock == "train")

    assert train.verdict is Verdict.INSUFFICIENT
    assert "12 heats are done and the next look is after 20" in sentence(train)


def test_three_looks_together_keep_false_verdicts_and_false_dead_heats_at_5_percent():
    """Verdicts of 4,000 campaigns read at every look: equal programs, and programs exactly the margin apart."""
    seconds = log_seconds(np.random.default_rng(1), Machine(noise=normal(0.01)), 4000, 30, 3)
    control, equal = seconds[:, :, 1] - seconds[:, :, 0], seconds[:, :, 2] - seconds[:, :, 0]
    apart = equal + math.log(1.03)
    different = [is_different(verdicts(equal[:, :n], control[:, :n], alpha=p)) for n, p in LOOKS]
    dead = [verdicts(apart[:, :n], control[:, :n], alpha=p) == DEAD_HEAT for n, p in LOOKS]

    assert np.any(different, axis=0).mean() <= 0.05
    assert np.any(dead, axis=0).mean() <= 0.06
