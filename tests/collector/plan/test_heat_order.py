"""Heats are balanced, seeded and complete."""

from __future__ import annotations

import dataclasses
import itertools
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.plan.heat_order import MAX_RUNS_PER_HEAT, balanced_orders, plan_heats, split_candidates
from collector.plan.matrix import Group, Suite, expand_suite
from collector.plan.runner import Entry

VARIANTS = ("slow", "crash", "killed", "hang", "diverge", "silent", "nan", "half_line", "unsupported")


def suite(heats: int = 10, variants: tuple[str, ...] = ("slow", "crash"), seed: int = 1) -> Suite:
    runners = ["fake", *(f"fake:{v}" for v in variants)]
    group = Group(workloads=["mnist_mlp", "mnist_lenet"], runners=runners, baseline="fake", heats=heats)
    return Suite(name="s", description="d", seed=seed, group=[group])


def heats_of(chosen: Suite):
    return plan_heats(chosen, expand_suite(chosen))


@pytest.mark.parametrize("size", range(1, 9))
def test_a_williams_square_is_balanced(size):
    """Each treatment stands in each position equally often, and follows each other one equally often."""
    rows = balanced_orders(size)

    positions = Counter((p, t) for row in rows for p, t in enumerate(row))
    neighbours = Counter(pair for row in rows for pair in itertools.pairwise(row))
    assert set(positions.values()) == {len(rows) // size}
    assert len(set(neighbours.values())) <= 1
    assert len(neighbours) == size * (size - 1)


@given(heats=st.integers(1, 12), entries=st.integers(1, 8))
def test_every_entry_runs_once_per_heat_and_the_baseline_twice(heats, entries):
    """Nothing is forgotten or run too often, however many entries there are."""
    chosen = suite(heats, VARIANTS[:entries])

    runs = Counter((t.entry, t.control, h.cell.workload.name) for h in heats_of(chosen) for t in h.trials)
    parts = len(split_candidates([Entry("fake", v) for v in VARIANTS[:entries]]))
    for (entry, _, _), count in runs.items():
        assert count == heats * (parts if entry.variant == "exact" else 1)


def test_the_same_seed_gives_the_same_plan():
    """A plan can be shown today and run tomorrow."""
    assert heats_of(suite()) == heats_of(suite())
    assert heats_of(suite()) != heats_of(suite(seed=2))


def test_runs_of_a_heat_share_its_seed_and_heats_do_not():
    """Weights and batch order belong to the heat."""
    heats = heats_of(suite())

    assert all({trial.seed for trial in heat.trials} == {heat.seed} for heat in heats)
    assert len({heat.seed for heat in heats}) == len(heats)


def test_repetitions_are_interleaved():
    """No cell runs its second heat before every cell has run its first."""
    repetitions = [heat.repetition for heat in heats_of(suite())]

    assert repetitions == sorted(repetitions)


def test_positions_are_balanced_over_the_heats():
    """Over eight heats of four runs each entry stands in each position twice."""
    heats = [h for h in heats_of(suite(heats=8)) if h.cell.workload.name == "mnist_mlp"]

    counts = Counter((t.entry, t.control, t.position) for h in heats for t in h.trials)
    assert set(counts.values()) == {2}


def test_a_heat_is_never_longer_than_pairing_can_bear():
    """Nine entries are split, and each part has the baseline and its control."""
    heats = heats_of(suite(heats=1, variants=VARIANTS))

    assert max(len(heat.trials) for heat in heats) <= MAX_RUNS_PER_HEAT
    assert all(sum(t.entry.variant == "exact" for t in heat.trials) == 2 for heat in heats)
    assert {heat.part for heat in heats} == {1, 2}


def test_trial_ids_are_unique_and_follow_the_content():
    """A changed learning rate is another trial."""
    chosen = suite()
    cells = expand_suite(chosen)
    changed = [
        dataclasses.replace(c, workload=c.workload.model_copy(update={"version": c.workload.version + 1}))
        for c in cells
    ]

    ids = [t.trial_id for h in plan_heats(chosen, cells) for t in h.trials]
    other = [t.trial_id for h in plan_heats(chosen, changed) for t in h.trials]
    assert len(set(ids)) == len(ids)
    assert not set(ids) & set(other)
