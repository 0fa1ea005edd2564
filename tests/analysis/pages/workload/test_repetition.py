"""Where another repetition buys most, and what the seed does."""

from __future__ import annotations

import dataclasses
from datetime import timedelta

import numpy as np
import pytest

from analysis.pages.workload.repetition import (
    ONE_CAMPAIGN,
    heat_overhead_s,
    levels_part,
    repetition_table,
    repetitions,
    seed_table,
    widest_words,
)
from analysis.results.cell_results import cell_results
from analysis.statistics.variance_components import LEVELS, Components, Level
from store.records import RunRow
from tests.analysis.builders import START, Campaign, frame, run_row
from tests.analysis.sites import results_of
from tests.analysis.test_detail_tables import cells_of, rows_of


def components(**variances):
    """Return components with these levels known."""
    levels = tuple(
        Level(name=name, groups=9, degrees_of_freedom=8 * (name in variances), variance=variances.get(name, 0.0))
        for name in LEVELS
    )
    return Components(key={"entry": "a"}, levels=levels)


def test_the_numbers_are_those_of_kalibera_and_jones():
    """√(9 / 1 · 0.04 / 0.01) = 6 intervals per run, √(4 / 9 · 0.01 / 0.0001) = 6.7, so 7 runs per heat."""
    found = repetitions(components(epochs=0.04, runs=0.01, heats=0.0001), {"epochs": 1.0, "runs": 9.0, "heats": 4.0})

    assert found == {"epochs": 6, "runs": 7}


def test_they_give_the_least_variance_for_the_time():
    """No other whole number of intervals per run has less variance in the same time, by more than rounding."""
    inner, outer, interval_s, run_s = 0.04, 0.01, 1.0, 9.0
    (best,) = repetitions(
        components(epochs=inner, runs=outer), {"epochs": interval_s, "runs": run_s, "heats": 0}
    ).values()

    def price(number):
        return (outer + inner / number) * (run_s + number * interval_s)

    assert price(best) <= 1.01 * min(price(number) for number in range(1, 100))


def test_a_level_without_a_number_is_paid_with_the_next_one():
    """Who runs once per heat pays the run and the heat together: √((9 + 4) / 1 · 4) = 7.2."""
    found = repetitions(components(epochs=0.04, heats=0.01), {"epochs": 1.0, "runs": 9.0, "heats": 4.0})

    assert found == {"epochs": 8}


def test_a_level_that_does_not_vary_asks_for_all_inside_it():
    """0 stands for "as often as possible"; a single level has nothing inside."""
    costs = {"epochs": 1.0, "runs": 9.0, "heats": 0.0}

    assert repetitions(components(epochs=0.04, runs=0.0), costs) == {"epochs": 0}
    assert repetitions(components(epochs=0.0, runs=0.01), costs) == {"epochs": 1}
    assert repetitions(components(runs=0.01), costs) == {}
    assert repetitions(components(epochs=0.01, runs=0.01, heats=0.01), costs)["runs"] == 1


def test_the_level_that_adds_most_is_named_with_its_share():
    """Nine tenths; without any variance a dash."""
    assert widest_words(components(epochs=0.001, heats=0.009)) == "heats (90 % of the variance)"
    assert widest_words(components()) == "–"
    assert widest_words(components(heats=0.0)) == "–"


def test_what_a_heat_costs_beside_its_runs_is_the_median_gap():
    """Heats a minute apart whose two runs take 5 s each: 50 s; a single heat has no gap."""
    rows = [
        run_row(run_id=f"r{heat}{place}", heat_id=f"h{heat}", started_at=START + timedelta(minutes=heat, seconds=place))
        for heat in range(3)
        for place in range(2)
    ]

    assert heat_overhead_s(frame(rows, "runs")) == pytest.approx(50.0)
    assert heat_overhead_s(frame(rows[:2], "runs")) == 0.0


def test_a_campaign_has_a_row_per_entry_and_the_baselines_runs_per_heat():
    """Only the baseline runs twice in a heat."""
    (mine,) = cells_of(rows_of())
    part = levels_part(mine, [mine])
    rows = {row[0]: row[1:] for row in part["repetition_table"].rows}

    assert rows["python_pytorch"][0].startswith("heats (")
    assert rows["python_pytorch"][2] != "–"
    assert rows["python_jax"][2] == "–"
    assert part["seed_table"] is None
    assert part["seed_words"] == ONE_CAMPAIGN
    assert {len(row) for row in part["repetition_table"].rows} == {len(part["repetition_table"].columns)}


def test_runs_that_never_trained_have_no_row():
    """Nothing varies where nothing was timed."""
    (mine,) = cells_of(rows_of(heats=1))

    assert repetition_table(mine, {}).rows == []


def seeded(effect):
    """Return two campaigns with the same seeds, each run's seconds with a factor of its seed."""
    factors = np.exp(np.random.default_rng(4).normal(0, effect, 11))
    found = []
    for name, seed in (("demo-1", 1), ("demo-2", 2)):
        made = Campaign(changes={"campaign_id": name}, seed=seed, heat_deviation=0.01).rows()
        found += [
            dataclasses.replace(
                row,
                run_id=f"{name}-{row.run_id}",
                heat_id=f"{name}-{row.heat_id}",
                train_clock_s=row.train_clock_s * float(factors[row.seed]),
                started_at=row.started_at + timedelta(days=seed),
            )
            if isinstance(row, RunRow)
            else dataclasses.replace(row, run_id=f"{name}-{row.run_id}")
            if hasattr(row, "run_id")
            else row
            for row in made
        ]
    return found


def test_the_seed_is_seen_in_two_campaigns_that_share_it():
    """A deviation of 10 % by the seed alone is there and not by chance."""
    cells = cell_results(results_of(seeded(0.1)))
    rows = {(row[0], row[1]): row[2:] for row in seed_table(cells[0], cells).rows}
    campaigns, seeds, share, p = rows["python_jax", "train"]

    assert (campaigns, seeds) == (2, 10)
    assert 5 < float(share.removesuffix(" %")) < 20
    assert float(p) < 1e-3
    assert levels_part(cells[0], cells)["seed_words"] == ""
