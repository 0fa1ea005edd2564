"""Trends in the terminal and on their page: what changed, what was new, and when there is nothing to tell yet."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from analysis.commands import app
from analysis.findings.trends import Kind, Staleness, Trend, find_trends
from analysis.pages.trends import trends_page
from analysis.rendering.trend_words import shifts_in, stale_words, summary, too_few_campaigns
from analysis.results.reader import read_current_versions
from analysis.results.results import ResultsError
from analysis.terminal.trends_text import shift_rows, trends_text
from store.database import Store
from store.records import Row, RunRow
from tests.analysis.builders import PYTORCH, START, Campaign, environment_row
from tests.analysis.drifting import NOTHING_KNOWN, noise_of, series_of
from tests.analysis.pages.test_listings import OWLS, shown
from tests.analysis.sites import queries_on, results_of, small_rows, visible_text, write_store

STEP = np.log(1.05)
LONG = [0.0] * 20 + [STEP] * 8
FLAT = [0.0] * 28


def trends_of(*steps: Sequence[float]) -> list[Trend]:
    """Return the trends of entries whose levels are given, with noise of half a percent."""
    entries = ["python_pytorch:eager", "python_jax:jit", "julia_flux:default"]
    noise = noise_of("normal", 0.005, (len(steps), max(map(len, steps))), np.random.default_rng(3))
    made = [series_of(noise[n][: len(logs)] + np.array(logs), entry=entries[n]) for n, logs in enumerate(steps)]
    return find_trends(made, NOTHING_KNOWN)


def test_a_change_is_told_with_both_levels_its_interval_and_its_company() -> None:
    """And with what was new, which here is nothing."""
    text = trends_text(trends_of(LONG, FLAT), [])

    assert "1 regression in 2 series over 28 campaigns; 0 new." in text
    assert "regression: python_pytorch, train_clock_s on mnist_mlp" in text
    assert re.search(r"(0\.99\d|1\.00) s before, 1\.05 s after: [45]\.\d+ % longer than before \(95 % interval 4", text)
    assert "between nightly-19 and nightly-20 (22 January 2026, 03:04 UTC), raised by nightly-24" in text
    assert "new with it: nothing that was recorded" in text
    assert "1 other entry moved by" in text


def test_an_alarm_is_new_once() -> None:
    """In the campaign that raised it; since a day, where one is given."""
    raised = trends_of(LONG[:25])
    later = trends_of(LONG)

    assert [new for _, _, new in shifts_in(raised)] == [True]
    assert [new for _, _, new in shifts_in(later)] == [False]
    assert [new for _, _, new in shifts_in(later, START + timedelta(days=23))] == [True]
    assert [new for _, _, new in shifts_in(later, START + timedelta(days=26))] == [False]


def test_an_entry_that_is_no_longer_measured_raises_nothing_new() -> None:
    """Its last campaign is not the machine's."""
    trends = trends_of(LONG[:25], FLAT)

    assert [(shift.kind, new) for _, shift, new in shifts_in(trends)] == [(Kind.REGRESSION, False)]


def test_what_all_did_alike_is_said_to_be_the_machine() -> None:
    """And is no regression."""
    trends = trends_of(LONG, LONG, LONG)

    assert {shift.kind for _, shift, _ in shifts_in(trends)} == {Kind.MACHINE}
    assert "2 other entries moved by +" in trends_text(trends, [])
    assert "what all did alike is the machine, or deadheat itself" in trends_text(trends, [])


def test_series_that_are_too_short_are_counted() -> None:
    """Silence would read as "nothing changed"."""
    assert "1 of the series cannot raise an alarm yet: they have up to 5 campaigns, and an alarm needs 15." in summary(
        trends_of(FLAT, [0.0] * 5)
    )


@pytest.mark.parametrize(("count", "words"), [(0, "no completed run"), (1, "1 campaign")])
def test_without_two_campaigns_there_is_a_sentence(count: int, words: str) -> None:
    """In the place of the numbers."""
    series = [trend.series for trend in trends_of([0.0] * count)] if count else []

    assert too_few_campaigns(series).startswith(f"There is no trend yet: the store holds {words}.")


def test_rows_hold_every_change_exactly() -> None:
    """For programs: the latest first."""
    trends = trends_of(LONG, FLAT)
    columns, ((*values,),) = shift_rows(trends)
    row = dict(zip(columns, values, strict=True))

    shift = trends[0].shifts[0]
    assert (row["kind"], row["ratio"], row["first_campaign"]) == ("regression", shift.ratio, "nightly-20")
    assert (row["unit"], row["is_new"], row["news"]) == ("s", False, [])


def stale(**changes: object) -> Staleness:
    """Return an entry measured 40 days ago."""
    values: dict[str, object] = {
        "machine": "bench", "entry": "julia_flux:default", "headline": True, "framework": "Flux",
        "measured_at": START, "age_days": 40, "version": "0.16.10", "current_version": "0.16.11",
    }  # fmt: skip
    return Staleness(**(values | changes))  # type: ignore[arg-type]


def test_age_and_version_are_told() -> None:
    """The current version where it is known and another."""
    words = "julia_flux on bench: measured 40 days ago, Flux 0.16.10"

    assert stale_words(stale()) == f"{words}; current 0.16.11"
    assert stale_words(stale(current_version="")) == words
    assert stale_words(stale(current_version="0.16.10")) == words
    assert stale_words(stale(version="", age_days=0)) == "julia_flux on bench: measured today"


def test_current_versions_come_from_a_file_or_not_at_all(tmp_path: Path) -> None:
    """Of the store's folder, or one that is named; never from the network."""
    store = Store(tmp_path)
    assert read_current_versions(store) == {}

    (tmp_path / "current_versions.toml").write_text('Flux = "0.16.11"\n"TensorFlow" = "2.21"\n')
    assert read_current_versions(store) == {"Flux": "0.16.11", "TensorFlow": "2.21"}
    named = tmp_path / "named.toml"
    named.write_text('Flux = "0.17"\n')
    assert read_current_versions(store, named) == {"Flux": "0.17"}


@pytest.mark.parametrize(("text", "words"), [("Flux = 0.16\n", "Flux: got 0.16"), ("Flux", "cannot be read")])
def test_a_wrong_file_of_versions_is_refused(tmp_path: Path, text: str, words: str) -> None:
    """With what was expected."""
    path = tmp_path / "versions.toml"
    path.write_text(text)

    with pytest.raises(ResultsError, match=f"{words}.*expected a version in quotes per framework"):
        read_current_versions(Store(tmp_path), path)
    with pytest.raises(ResultsError, match="cannot be read"):
        read_current_versions(Store(tmp_path), tmp_path / "nowhere.toml")


def nightly_rows(values: Sequence[float], versions: Sequence[str]) -> list[Row]:
    """Return one run per campaign of one entry, with its seconds and its framework's version."""
    (run,) = [row for row in Campaign(racers=(PYTORCH,), heats=1).rows() if isinstance(row, RunRow) and not row.control]
    return [
        environment_row(),
        *(
            dataclasses.replace(
                run,
                run_id=f"run-{number}",
                heat_id=f"heat-{number}",
                heat_size=1,
                campaign_id=f"nightly-{number}",
                started_at=START + timedelta(days=number),
                train_clock_s=value,
                e2e_clock_s=value + 1,
                framework_version=version,
            )
            for number, (value, version) in enumerate(zip(values, versions, strict=True))
        ),
    ]


def stepped_rows() -> list[Row]:
    """Return 25 campaigns, the last five of which take a tenth longer with a newer version."""
    noise = noise_of("normal", 0.005, (1, 25), np.random.default_rng(4))[0]
    values = np.exp(noise + np.where(np.arange(25) >= 20, np.log(1.1), 0))
    return nightly_rows([float(value) for value in values], ["2.0"] * 20 + ["2.1"] * 5)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Return a store with a regression that its newest campaign raised."""
    made = Store(tmp_path_factory.mktemp("store"))
    made.append("campaigns", stepped_rows(), day=START.date())
    return made


def run(*arguments: str) -> tuple[int, str, str]:
    """Return the exit code, standard output and standard error of a command."""
    result = CliRunner().invoke(app, ["trends", *arguments])
    return result.exit_code, result.stdout, result.stderr


def test_a_new_regression_fails_where_that_is_asked(store: Store) -> None:
    """With the version that came with it; without the option the exit code is 0."""
    told, failed = run("--store", str(store.path)), run("--store", str(store.path), "--fail-on-regression")

    assert told[0] == 0
    assert failed[0] == 1
    assert "NEW regression: python_pytorch, train_clock_s on mnist_mlp" in told[1]
    assert "new with it: PyTorch 2.0 → 2.1" in told[1]
    assert failed[2] == "A regression is new.\n"


def test_a_regression_since_a_day_fails(store: Store) -> None:
    """And none after it."""
    day = (START + timedelta(days=25)).strftime("%Y-%m-%d")

    assert run("--store", str(store.path), "--fail-on-regression", "--since", "2026-01-01")[0] == 1
    assert run("--store", str(store.path), "--fail-on-regression", "--since", day)[0] == 0


def test_a_metric_that_did_not_change_does_not_fail(store: Store) -> None:
    """Memory was the same throughout."""
    asked = ("--store", str(store.path), "--fail-on-regression", "--metric", "memory_peak_bytes")

    assert run(*asked)[0] == 0
    assert "no change of level in 1 series over 25 campaigns; 0 new." in run(*asked)[1]


def test_json_holds_the_changes(store: Store) -> None:
    """One object each."""
    found = json.loads(run("--store", str(store.path), "--format", "json")[1])

    assert {(one["metric"], one["kind"], one["is_new"]) for one in found} >= {("train_clock_s", "regression", True)}
    assert found[0]["news"] == ["PyTorch 2.0 → 2.1"]


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("--metric", "speed", "got 'speed'; expected one of train, e2e, train_clock_s"),
        ("--metric", "memory_peak", "Did you mean 'memory_peak_bytes'?"),
        ("--workload", "x", "measured are mnist_mlp"),
        ("--workload", "mnist_mpl", "Did you mean 'mnist_mlp'?"),
    ],
)
def test_unknown_names_are_refused(store: Store, option: str, value: str, words: str) -> None:
    """With those that are known."""
    result = CliRunner().invoke(app, ["trends", "--store", str(store.path), option, value])

    assert isinstance(result.exception, ResultsError)
    assert words in str(result.exception)


def test_an_empty_store_has_no_trend_and_does_not_fail(tmp_path: Path) -> None:
    """A sentence."""
    code, text, _ = run("--store", str(tmp_path), "--fail-on-regression")

    assert code == 0
    assert text.startswith("There is no trend yet: the store holds no completed run.")


def test_the_page_draws_series_and_lists_changes(store: Store) -> None:
    """A chart per clock, each with the query behind it, which gives the same values."""
    results = results_of(stepped_rows())
    page = trends_page(results)
    text = visible_text(page.text)

    assert page.path == "trends.md"
    assert [chart.name for chart in page.charts] == ["trend-0-train", "trend-0-e2e"]
    assert all(chart.spec["description"] == chart.alt for chart in page.charts)
    assert "python_pytorch: regression, " in page.charts[0].alt
    assert "regression python_pytorch train_clock_s" in text
    assert "PyTorch 2.0 → 2.1" in text
    drawn = next(rows for rows in page.charts[0].spec["datasets"].values() if len(rows) == 25)
    (sql, _) = queries_on(page.text)
    asked = store.query(sql)
    assert [row["value"] for row in drawn] == pytest.approx(list(asked["value"]), rel=1e-4)
    assert [row["campaign"] for row in drawn] == list(asked["campaign_id"])


def test_the_page_of_one_campaign_is_a_sentence() -> None:
    """And how old the numbers are, counted from the newest run: a page has no today."""
    page = trends_page(results_of(small_rows()))
    text = visible_text(page.text)

    assert page.charts == ()
    assert "There is no trend yet: the store holds 1 campaign." in text
    assert "Changes of level" not in text
    assert "python_jax" in text
    assert "the same day" in text


def test_the_page_of_an_empty_store_is_a_sentence() -> None:
    """Nothing is old where nothing is."""
    text = visible_text(trends_page(results_of([])).text)

    assert "the store holds no completed run" in text
    assert "How old" not in text


def test_the_page_names_current_versions() -> None:
    """Where a file told them."""
    results = dataclasses.replace(results_of(stepped_rows()), current_versions={"PyTorch": "2.2"})

    assert "2.1 2.2" in visible_text(trends_page(results).text)


def test_writing_a_store_of_several_campaigns_keeps_their_order(tmp_path: Path) -> None:
    """As the site is made of: read back from the store."""
    path = write_store(tmp_path, nightly_rows([1.0, 1.1], ["2.0", "2.1"])).path

    assert "no change of level in 3 series over 2 campaigns" in run("--store", str(path))[1]


def test_ages_are_those_of_the_stores_own_numbers() -> None:
    """A newer run elsewhere makes nothing old, and a snapshot is as old as it says."""
    results = results_of(nightly_rows([1.0, 1.0], ["2.0", "2.1"]))

    def page(*campaigns: str) -> str:
        brought = OWLS.model_copy(update={"campaigns": list(campaigns)})
        return shown(trends_page(dataclasses.replace(results, snapshots=[brought])))

    assert "3 January 2026, 03:04 UTC the same day 2.1" in page("another")
    assert "2 January 2026, 03:04 UTC the same day 2.0" in page("nightly-1")
    assert "How old the numbers are" not in page("nightly-0", "nightly-1")


@pytest.mark.parametrize(
    ("measured", "current", "is_outdated"),
    [
        ("2.13.0", "2.0.0", False),
        ("2.4.6", "2.4", False),
        ("0.9.10", "0.16.1", True),
        ("2.13.0+cpu", "2.13.0", False),
        ("v1.10.6", "1.12.0", True),
        ("1.18-rc", "one", True),
    ],
)
def test_only_an_older_version_is_outdated(measured: str, current: str, is_outdated: bool) -> None:
    """Versions are compared as versions, not as text."""
    assert stale(version=measured, current_version=current).is_outdated is is_outdated
