"""Seconds to the target with their own interval, what they cost, and where prices come from."""

from __future__ import annotations

import dataclasses
import datetime
import doctest
import math

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from analysis.commands import app
from analysis.frames.prices import PRICES, Price, PriceError, Rates, read_prices
from analysis.pages.workload.cost import cost_part
from analysis.rendering import cost_words as cost_module
from analysis.rendering.cost_words import cost_words, times_told
from analysis.results.cell_results import cell_results
from analysis.statistics import target_cost
from analysis.statistics.paired import Effect
from analysis.statistics.target_cost import TargetSeconds, target_seconds
from tests.analysis.builders import JAX, PYTORCH, Campaign, frames_of
from tests.analysis.sites import results_of, visible_text, write_store

CERTAIN = Effect(2.0, 0.0, 9, 10)
PRICE = Price(machine="bench", per_hour=3.6, currency="EUR", source="a list", date=datetime.date(2026, 11, 1))
LIST = """
[[price]]
machine = "bench"
per_hour = 3.6
currency = "EUR"
source = "a list"
date = 2026-11-01
"""


def seconds(pooled=CERTAIN, **options):
    """Return the seconds of a campaign's entries."""
    frames = frames_of(Campaign(**options).rows())
    return target_seconds(frames.runs, frames.epochs, pooled)


@pytest.mark.parametrize("module", [target_cost, cost_module])
def test_the_examples_are_true(module):
    """What the docstrings show is what the functions return."""
    found = doctest.testmod(module)

    assert found.failed == 0
    assert found.attempted


def test_the_seconds_are_fixed_costs_and_epochs():
    """2 s before the first epoch, two epochs of 1 s with four evaluations of 0.05 s each: 4.4 s."""
    found = seconds(heat_deviation=1e-9, run_deviation=1e-9)

    assert found["python_pytorch:eager"].seconds == pytest.approx(4.4, rel=1e-6)
    assert found["python_pytorch:eager"].runs == 10
    assert set(found) == {PYTORCH.entry, JAX.entry}


def test_the_interval_is_students_on_the_logs():
    """Of ten runs, against scipy's own quantile."""
    frames = frames_of(Campaign().rows())
    found = target_seconds(frames.runs, frames.epochs, CERTAIN)[JAX.entry]
    runs = frames.runs[(frames.runs["entry"] == JAX.entry)]["run_id"]
    last = frames.epochs.groupby("run_id")["e2e_clock_s"].max().loc[runs]
    first = frames.epochs.groupby("run_id").first().loc[runs]
    fixed = first["e2e_clock_s"] - first["train_s"] - first["eval_s"]
    logs = np.log(fixed + (last - fixed) / 3 * 2.0)
    half = 2.2621571628 * logs.std(ddof=1) / math.sqrt(10)

    assert found.interval.low == pytest.approx(math.exp(logs.mean() - half), rel=1e-9)
    assert found.interval.high == pytest.approx(math.exp(logs.mean() + half), rel=1e-9)


def test_the_interval_covers_the_true_seconds():
    """Epochs and speed both uncertain: of 300 simulated cells 92 to 98 % hold 2 + 1.2 · 2."""
    generator, held = np.random.default_rng(3), []
    for _ in range(300):
        fixed, each = 2.0 * np.exp(generator.normal(0, 0.03, 10)), 1.2 * np.exp(generator.normal(0, 0.03, 10))
        epochs = 2.0 + generator.normal(0, 0.5, 10)
        pooled = Effect(float(epochs.mean()), float(epochs.std(ddof=1)) / math.sqrt(10), 9, 10)
        table = pd.DataFrame({"fixed_s": fixed, "e2e_s_per_epoch": each})
        held.append(not target_cost.of_entry("a", table, pooled).interval.excludes(2.0 + 1.2 * 2.0))

    assert 0.92 <= np.mean(held) <= 0.98


def test_one_run_has_seconds_and_no_interval():
    """Nothing is known of its uncertainty; with epochs whose own is not known neither."""
    assert seconds(heats=1)[JAX.entry].interval is None
    assert seconds(pooled=Effect(2.0, math.inf, 0, 1))[JAX.entry].interval is None


def test_disturbed_failed_and_control_runs_do_not_count():
    """As in every comparison."""
    crashed = seconds(racers=(PYTORCH, dataclasses.replace(JAX, status="crashed")))

    assert set(crashed) == {PYTORCH.entry}
    assert seconds(changes={"contaminated": True}) == {}


def test_the_cost_is_seconds_times_the_price():
    """At 3.6 an hour a second costs a thousandth; the interval scales alike."""
    found = seconds()[JAX.entry]
    cost, interval = found.at(3.6)

    assert cost == pytest.approx(found.seconds / 1000)
    assert (interval.low, interval.high) == pytest.approx((found.interval.low / 1000, found.interval.high / 1000))


def test_the_newest_price_that_names_the_machine_counts():
    """By a part of its name, whatever the case; another machine has none."""
    old, new = PRICE, PRICE.model_copy(update={"per_hour": 5.0, "date": datetime.date(2026, 12, 1), "machine": "BENCH"})
    rates = Rates(machines={"environment1": "bench, Test CPU, 2 cores", "other": "laptop"}, prices=[new, old])

    assert rates.of("environment1") is new
    assert rates.of("other") is None
    assert rates.of("never recorded") is None


def test_the_page_has_a_table_with_source_and_date_or_a_sentence():
    """And nothing at all where nobody reached a target."""
    (mine,) = cell_results(results_of(Campaign().rows()))
    machines = {"environment1": "bench, Test CPU"}
    part = cost_part(mine, Rates(machines=machines, prices=[PRICE]))
    without = cost_part(mine, Rates(machines=machines))

    assert "3.6 EUR per hour (a list, 2026-11-01)" in part["table"].caption
    assert [row[0] for row in part["table"].rows] == ["python_pytorch", "python_jax"]
    assert part["table"].rows[1][3].endswith(") EUR")
    assert without["table"] is None
    assert "prices.toml in the store's folder names no price per hour for bench, Test CPU." in without["words"]
    (never,) = cell_results(results_of(Campaign(accuracies=[0.5]).rows()))
    assert cost_part(never, Rates(machines=machines, prices=[PRICE])) == {"table": None, "words": ""}


def test_what_costs_less_than_a_coin_is_told_for_a_thousand_times():
    """4.4 s at 3.6 an hour are 0.0044: nobody reads that."""
    found = seconds().values()

    assert times_told(found, PRICE) == 1000
    assert times_told(found, PRICE.model_copy(update={"per_hour": 36.0})) == 1
    assert times_told([], PRICE) == 1
    assert cost_words(TargetSeconds(entry="a", runs=1, seconds=10.0, interval=None), PRICE, 1000) == "10 EUR"


def test_prices_are_read_from_the_stores_folder_or_not_at_all(tmp_path):
    """No file, no price; nothing is asked of anybody."""
    assert read_prices(tmp_path) == ()
    (tmp_path / PRICES).write_text(LIST)
    assert read_prices(tmp_path) == (PRICE,)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (LIST.replace("3.6", "0"), "price.0.per_hour: got 0; input should be greater than 0"),
        (LIST.replace("3.6", '"3.6"'), "price.0.per_hour: got '3.6'"),
        (LIST.replace("2026-11-01", '"yesterday"'), "price.0.date: got 'yesterday'"),
        (LIST.replace('source = "a list"', ""), "price.0.source: is missing"),
        (LIST + "euro = 1", "price.0.euro: unknown key"),
        ("[[price]", "is not valid TOML"),
    ],
)
def test_a_wrong_list_is_refused_with_its_place(tmp_path, text, message):
    """File, key, value, and what is expected."""
    (tmp_path / PRICES).write_text(text)

    with pytest.raises(PriceError) as refused:
        read_prices(tmp_path)
    assert message in str(refused.value)
    assert PRICES in str(refused.value)


def test_compare_says_the_cost_on_the_e2e_clock_alone(tmp_path):
    """Once, with the price, its source and its day; without a list not at all."""
    store = write_store(tmp_path / "store", Campaign().rows()).path
    asked = ["compare", "python_pytorch", "python_jax", "--store", str(store)]
    before = CliRunner().invoke(app, asked, catch_exceptions=False).stdout
    (store / PRICES).write_text(LIST)
    after = " ".join(CliRunner().invoke(app, asked, catch_exceptions=False).stdout.split())

    assert "price " not in before
    assert after.count("at 3.6 EUR per hour (a list, 2026-11-01) reaching the target 1,000 times costs") == 1
    assert "EUR on python_pytorch:eager and" in after


def test_the_site_shows_it(tmp_path):
    """From the file in the store to the page of the workload."""
    from analysis.pages.all_pages import result_pages
    from analysis.results.reader import read_results

    store = write_store(tmp_path / "store", Campaign().rows())
    (store.path / PRICES).write_text(LIST)
    page = next(page for page in result_pages(read_results(store)) if page.path == "workloads/mnist_mlp.md")

    assert "What reaching the target costs at 3.6 EUR per hour" in visible_text(page.text)
