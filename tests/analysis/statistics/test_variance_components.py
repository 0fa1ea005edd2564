"""Variance by level, against closed forms, statsmodels' mixed model and known truths."""

from __future__ import annotations

import doctest
import math

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm

from analysis.statistics import variance_components
from analysis.statistics.variance_components import (
    LEVELS,
    cheapest_repetitions,
    false_positives,
    nested_variances,
    seed_effect,
)
from tests.analysis.builders import JAX, PYTORCH, Campaign, frame, frames_of, run_row

TRUE = {"machines": 0.20, "campaigns": 0.05, "heats": 0.03, "runs": 0.01, "epochs": 0.02}


def nest(*sizes):
    """Return codes of a balanced nesting: the series, then each level; the last level is the observation."""
    total = int(np.prod(sizes))
    codes = [np.zeros(total, dtype=int)]
    return [*codes, *(np.arange(total) // int(np.prod(sizes[depth:])) for depth in range(1, len(sizes) + 1))]


def test_the_examples_are_true():
    """What the docstrings show is what the functions return."""
    assert doctest.testmod(variance_components).failed == 0


def test_a_one_way_layout_is_the_textbooks():
    """σ²_heat = (MS_between - MS_within) / n, σ² = MS_within, to the last digit."""
    values = np.random.default_rng(1).normal(0, 1, (8, 5)) + np.random.default_rng(2).normal(0, 2, (8, 1))
    within = values.var(axis=1, ddof=1).mean()
    between = 5 * values.mean(axis=1).var(ddof=1)
    found = nested_variances(values.ravel(), nest(8, 5))

    assert found.variances[:, 0] == pytest.approx([(between - within) / 5, within], rel=1e-12)
    assert found.freedom[:, 0].tolist() == [7, 32]


@pytest.mark.filterwarnings("ignore::statsmodels.tools.sm_exceptions.ConvergenceWarning")
def test_a_balanced_layout_is_statsmodels_mixed_model():
    """For equal numbers REML and the analysis of variance agree where no estimate is cut."""
    generator = np.random.default_rng(3)
    heats, runs, epochs = 12, 4, 5
    values = (
        generator.normal(0, 2, (heats, 1, 1))
        + generator.normal(0, 1, (heats, runs, 1))
        + generator.normal(0, 0.7, (heats, runs, epochs))
    ).ravel()
    codes = nest(heats, runs, epochs)
    found = nested_variances(values, codes).variances[:, 0]
    data = pd.DataFrame({"y": values, "heat": codes[1], "run": codes[2]})
    model = sm.MixedLM.from_formula("y ~ 1", data, groups="heat", re_formula="1", vc_formula={"run": "0 + C(run)"})
    fitted = model.fit(reml=True, method="bfgs", gtol=1e-9)

    theirs = [float(fitted.cov_re.iloc[0, 0]), float(fitted.vcomp[0]), float(fitted.scale)]
    assert found == pytest.approx(theirs, rel=1e-6)


def test_unequal_numbers_are_estimated_without_bias():
    """Heats of one to four runs of one to six epochs: over 400 series the means are the true variances."""
    generator, values, codes = np.random.default_rng(4), [], [[], [], [], []]
    heat_number = run_number = 0
    for series in range(400):
        for _ in range(8):
            heat, heat_number = generator.normal(0, 0.3), heat_number + 1
            for _ in range(generator.integers(1, 5)):
                run, run_number = generator.normal(0, 0.2), run_number + 1
                for _ in range(generator.integers(1, 7)):
                    values.append(heat + run + generator.normal(0, 0.1))
                    for code, number in zip(codes, (series, heat_number, run_number, len(values)), strict=True):
                        code.append(number)
    dense = [np.unique(code, return_inverse=True)[1] for code in codes]
    # Cut estimates are biased upwards, so the mean is taken of what is far from 0.
    found = nested_variances(np.array(values), dense).variances.mean(axis=1)

    assert found == pytest.approx([0.09, 0.04, 0.01], rel=0.08)


def campaigns(machines=30, each=3, heats=8):
    """Return frames of campaigns of one entry on several machines, with the deviations of `TRUE`."""
    generator, rows, intervals = np.random.default_rng(5), [], []
    for machine in range(machines):
        m = generator.normal(0, TRUE["machines"])
        for campaign in range(each):
            c = generator.normal(0, TRUE["campaigns"])
            for heat in range(heats):
                h = generator.normal(0, TRUE["heats"])
                for control in (False, True):
                    run_id = f"{machine}-{campaign}-{heat}-{control}"
                    log = m + c + h + generator.normal(0, TRUE["runs"])
                    rows.append(
                        run_row(
                            run_id=run_id,
                            heat_id=f"h{heat}",
                            campaign_id=f"c{machine}-{campaign}",
                            control=control,
                            environment_id=f"m{machine}",
                        )
                    )
                    seconds = np.exp(log + generator.normal(0, TRUE["epochs"], 6))
                    intervals += [{"run_id": run_id, "train_s": s, "examples": 15_000} for s in seconds]
    return frame(rows, "runs"), pd.DataFrame(intervals)


def test_every_level_comes_back():
    """Machines 20 %, campaigns 5 %, heats 3 %, runs 1 %, epochs 2 %."""
    (found,) = variance_components.variance_components(*campaigns())

    deviations = {level.name: math.sqrt(level.variance) for level in found.levels}
    assert deviations["machines"] == pytest.approx(0.20, rel=0.35)
    assert deviations["campaigns"] == pytest.approx(0.05, rel=0.25)
    assert deviations["heats"] == pytest.approx(0.03, rel=0.1)
    assert deviations["runs"] == pytest.approx(0.01, rel=0.1)
    assert deviations["epochs"] == pytest.approx(0.02, rel=0.05)
    assert [level.groups for level in found.levels] == [30, 90, 720, 1440, 8640]
    assert found.total == pytest.approx(sum(d**2 for d in deviations.values()))


def test_each_entry_is_a_series_and_a_level_that_does_not_vary_is_not_known():
    """One machine and one campaign say nothing about machines and campaigns; candidates run once per heat."""
    frames = frames_of(Campaign(heats=10).rows())
    found = {c.key["entry"]: c for c in variance_components.variance_components(frames.runs, frames.epochs)}

    assert set(found) == {PYTORCH.entry, JAX.entry}
    known = {name: [level.name for level in c.levels if level.is_known] for name, c in found.items()}
    assert known == {PYTORCH.entry: ["heats", "runs", "epochs"], JAX.entry: ["heats", "epochs"]}


def test_failed_runs_and_an_empty_store_have_no_levels():
    """A crash has no duration."""
    frames = frames_of(Campaign(heats=3, changes={"status": "crashed"}).rows())

    assert variance_components.variance_components(frames.runs, frames.epochs) == []
    assert variance_components.variance_components(frame([], "runs"), frame([], "epochs")) == []


@pytest.mark.parametrize("unit", [1e-3, 60.0])
def test_unit_order_and_duplication_of_series_do_not_matter(unit):
    """Seconds or minutes, in whatever order; a second series changes nothing of the first."""
    runs, epochs = campaigns(machines=3, each=2, heats=3)
    (one,) = variance_components.variance_components(runs, epochs)
    mixed = epochs.assign(train_s=epochs["train_s"] * unit).sample(frac=1, random_state=1)
    other = runs.assign(run_id="x" + runs["run_id"], entry="another:one")
    both = pd.concat([runs.sample(frac=1, random_state=2), other])
    twice = pd.concat([mixed, mixed.assign(run_id="x" + mixed["run_id"])])
    found = {c.key["entry"]: c for c in variance_components.variance_components(both, twice)}

    for components in found.values():
        assert [level.variance for level in components.levels] == pytest.approx(
            [level.variance for level in one.levels], abs=1e-9
        )
    assert len(LEVELS) == len(one.levels)


def test_the_cheapest_repetitions_are_the_cheapest():
    """Of all splits of the same time, none has a smaller variance of the mean than that of the formula."""
    inner, outer, inner_s, outer_s = 0.09, 0.01, 1.0, 16.0
    (best,) = cheapest_repetitions([inner, outer], [inner_s, outer_s])

    def variance(each):
        return (outer + inner / each) * (outer_s + each * inner_s)

    assert best == 12
    assert min(range(1, 200), key=variance) == best
    assert cheapest_repetitions([0.1, 0.0], [1.0, 5.0]) == [0]


def test_the_false_positives_of_a_campaign_have_an_exact_interval():
    """One of twenty is what 5 % looks like; ten of twenty is not."""
    hits, number, interval = false_positives([0.01] + [0.5] * 19)

    assert (hits, number) == (1, 20)
    assert not interval.excludes(0.05)
    assert false_positives([0.01] * 10 + [0.5] * 10)[2].excludes(0.05)
    assert false_positives([])[2].high == 1.0


def seeded(deviation, seed=7, campaigns=4):
    """Return runs of campaigns that repeat twelve seeds, each with its own effect."""
    generator = np.random.default_rng(seed)
    effects = generator.normal(0, deviation, 12)
    return pd.DataFrame(
        [
            {
                "campaign_id": str(campaign), "seed": number, "status": "completed",
                "train_clock_s": math.exp(0.1 * campaign + effect + generator.normal(0, 0.01)),
            }
            for campaign in range(campaigns)
            for number, effect in enumerate(effects)
        ]
    )  # fmt: skip


def test_the_effect_of_the_seed_shows_where_campaigns_repeat_it():
    """5 % between seeds is found through drift between campaigns; one campaign cannot tell."""
    found = seed_effect(seeded(0.05), "train_clock_s")

    assert math.sqrt(found.variance) == pytest.approx(0.05, rel=0.5)
    assert found.p_value < 1e-6
    assert (found.campaigns, found.seeds) == (4, 12)
    assert seed_effect(seeded(0.05, campaigns=1), "train_clock_s") is None


def test_a_seed_without_effect_is_seen_in_about_5_percent():
    """Of 400 sets."""
    seen = [seed_effect(seeded(0.0, seed), "train_clock_s").p_value < 0.05 for seed in range(400)]

    assert 0.02 <= np.mean(seen) <= 0.085
