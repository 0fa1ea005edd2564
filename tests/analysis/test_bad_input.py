"""What cannot be compared: a sentence in the place of the number, on the page and in every command of the terminal."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from analysis.commands import app
from analysis.frames.validity import STATUS, marked
from analysis.pages.all_pages import result_pages
from analysis.results.reader import read_results
from store.records import EnvironmentRow, EpochRow, Row, RunRow
from tests.analysis.builders import JAX, PYTORCH, START, Campaign, environment_row, epoch_row, frame, run_row
from tests.analysis.sites import visible_text, write_store

NUMBERS_THAT_ARE_NONE = re.compile(r"\b(nan|NaN|inf|-inf|NaT)\b")


def changed(rows: Sequence[Row], kind: type, change: Callable[[Any], dict[str, Any]]) -> list[Row]:
    """Return `rows` with what `change` gives for each row of a kind."""
    return [dataclasses.replace(row, **change(row)) if isinstance(row, kind) else row for row in rows]


def alone(racer: Any, name: str, **changes: Any) -> list[Row]:
    """Return a campaign of one entry, which is its own baseline."""
    made = Campaign(racers=(racer,), changes={"campaign_id": name, **changes}).rows()
    return changed(made, RunRow, lambda run: {"started_at": run.started_at + timedelta(days=name == "demo-2")})


def apart(**changes: Any) -> list[Row]:
    """Return two campaigns of one entry each, the second one changed."""
    other = environment_row(environment_id="environment2", hostname="other")
    second = [row for row in alone(JAX, "demo-2", **changes) if not isinstance(row, EnvironmentRow)]
    return [*alone(PYTORCH, "demo-1"), other, *second]


def of_jax(row: Any) -> bool:
    """Whether a row is of the candidate."""
    return str(row.run_id).startswith("python_jax")


def without_time(clock_s: float) -> list[Row]:
    """Return a campaign in which the candidate's train clock shows that."""
    return changed(Campaign().rows(), RunRow, lambda run: {"train_clock_s": clock_s} if of_jax(run) else {})


def backwards() -> list[Row]:
    """Return a campaign in which an interval of the candidate ends before it begins."""
    return changed(
        Campaign().rows(), EpochRow, lambda row: {"train_s": -0.25} if of_jax(row) and row.epoch == 1.0 else {}
    )


CRASHED = {"status": "crashed", "message": "out of luck"}
CASES = {
    "a baseline that never succeeded": (
        Campaign(racers=(dataclasses.replace(PYTORCH, **CRASHED), JAX)).rows(),
        "the baseline python_pytorch:eager never completed (20 crashed): out of luck",
    ),
    "a candidate that never succeeded": (
        Campaign(racers=(PYTORCH, dataclasses.replace(JAX, **CRASHED))).rows(),
        "it never completed (10 crashed): out of luck",
    ),
    "disturbed runs alone": (
        changed(Campaign().rows(), RunRow, lambda _: {"contaminated": True, "contamination": "another program"}),
        "there is no heat in which both completed undisturbed",
    ),
    "a train clock of 0": (without_time(0.0), f"it never completed (10 {STATUS}): its train clock is 0 s"),
    "a negative train clock": (without_time(-3.0), f"it never completed (10 {STATUS}): its train clock is -3 s"),
    "an interval that ends before it begins": (
        backwards(),
        f"it never completed (10 {STATUS}): it has a training interval of -0.25 s at epoch 1",
    ),
    "5 heats where 6 are needed": (
        Campaign(heats=5).rows(),
        "an interval needs 6 heats and a public verdict 10",
    ),
}


@pytest.fixture(params=CASES.values(), ids=CASES.keys())
def case(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, str]:
    """Return the folder of a store, and the sentence that belongs to it."""
    rows, sentence = request.param
    return write_store(tmp_path / "store", rows).path, sentence


def told(*arguments: str) -> tuple[int, str]:
    """Return exit code and words of a command, its lines joined; a traceback is an error of the test."""
    result = CliRunner().invoke(app, list(arguments), catch_exceptions=False)
    return result.exit_code, " ".join((result.stdout + result.stderr).split())


def pages(store: Path) -> dict[str, str]:
    """Return the text of every page."""
    from store.database import Store

    return {page.path: visible_text(page.text) for page in result_pages(read_results(Store(store)))}


def test_the_page_of_the_workload_says_it(case: tuple[Path, str]) -> None:
    """In the place of the verdict; no number that is none stands anywhere."""
    store, sentence = case
    found = pages(store)

    assert sentence in found["workloads/mnist_mlp.md"]
    for text in found.values():
        assert not NUMBERS_THAT_ARE_NONE.search(re.sub(r"SELECT .*?(ORDER BY [\w ,]+)", "", text))


def test_compare_says_it(case: tuple[Path, str]) -> None:
    """Exit code 1 where there is no number, 0 where there is one without an interval."""
    store, sentence = case
    code, text = told("compare", "python_pytorch", "python_jax", "--store", str(store))

    assert sentence.lower() in text.lower()
    assert code == (0 if "interval needs" in sentence else 1)
    assert not NUMBERS_THAT_ARE_NONE.search(text)


@pytest.mark.parametrize("options", [(), ("--markdown",)])
def test_report_says_it(case: tuple[Path, str], options: tuple[str, ...]) -> None:
    """In the terminal and for a pull request, where signs are escaped."""
    store, sentence = case
    code, text = told("report", "--store", str(store), *options)

    assert code == 0
    assert sentence in text.replace("\\", "")
    assert not NUMBERS_THAT_ARE_NONE.search(text)


def test_trends_say_that_there_is_none(case: tuple[Path, str]) -> None:
    """One campaign is no series, and raises nothing."""
    code, text = told("trends", "--fail-on-regression", "--store", str(case[0]))

    assert code == 0
    assert "There is no trend yet: the store holds" in text
    assert not NUMBERS_THAT_ARE_NONE.search(text)


def test_an_empty_store_is_said_everywhere(tmp_path: Path) -> None:
    """Each with its own sentence, and the front page says what to do."""
    store = str(tmp_path)

    assert "nothing was measured" in told("compare", "python_pytorch", "python_jax", "--store", store)[1]
    assert "nothing was measured" in told("report", "--store", store)[1]
    assert "nothing was measured" in told("report", "--markdown", "--store", store)[1]
    assert "the store holds no completed run" in told("trends", "--store", store)[1]
    assert "deadheat run" in pages(tmp_path)["index.md"]
    assert "no completed run" in pages(tmp_path)["trends.md"]


def test_one_runner_alone_is_said_everywhere(tmp_path: Path) -> None:
    """Nothing to compare with: not "no heat is complete", because all are."""
    store = write_store(tmp_path / "store", alone(PYTORCH, "demo-1")).path
    sentence = "python_pytorch:eager ran alone, and a comparison needs two"

    for options in ((), ("--markdown",), ("--workload", "mnist_mlp")):
        assert sentence in told("report", "--store", str(store), *options)[1].replace("\\", "")
    found = pages(store)
    assert "Nobody ran beside the baseline." in found["workloads/mnist_mlp.md"]
    assert "No framework has been measured beside python_pytorch yet" in found["index.md"]
    assert "Two campaigns are a series" in told("trends", "--store", str(store))[1]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"environment_id": "environment2"}, "hardware (bench (Test CPU, 2 cores) against other (Test CPU, 2 cores))"),
        ({"workload_version": 2}, "workload version (1 against 2)"),
    ],
)
def test_other_hardware_and_other_versions_are_never_compared(
    tmp_path: Path, changes: dict[str, Any], reason: str
) -> None:
    """Compare names what differs; report and page have no number; the series stay apart."""
    store = write_store(tmp_path / "store", apart(**changes)).path
    code, text = told("compare", "python_pytorch", "python_jax", "--store", str(store))

    assert code == 1
    assert reason in text
    assert "are not compared" in text
    assert "ran alone" in told("report", "--store", str(store))[1]
    assert "Nobody ran beside the baseline." in pages(store)["workloads/mnist_mlp.md"]
    assert "regression" not in told("trends", "--store", str(store))[1]


def test_only_recipes_of_studies_are_no_findings(tmp_path: Path) -> None:
    """They are shown on the page of studies, and never compared."""
    store = write_store(tmp_path / "store", Campaign(heats=2, changes={"track": "published"}).rows()).path

    assert "only the recipes of studies" in told("report", "--store", str(store))[1]


def test_a_sound_run_is_never_called_impossible() -> None:
    """A whole campaign, a run without clocks, and one without epochs."""
    sound = Campaign().rows()
    runs = frame([*sound, run_row(run_id="none", train_clock_s=None, e2e_clock_s=None)], "runs")

    assert marked(runs, frame(sound, "epochs")) is runs
    assert marked(runs, frame([], "epochs")) is runs
    assert marked(frame([], "runs"), frame([], "epochs")).empty


@pytest.mark.parametrize(
    ("clocks", "words"),
    [
        ({"train_clock_s": 0.0}, "its train clock is 0 s"),
        ({"e2e_clock_s": -1.0}, "its e2e clock is -1 s"),
        ({"train_clock_s": np.inf}, "its train clock is inf s"),
        ({"train_clock_s": 9.0}, "its e2e clock, 5 s, is shorter than its train clock"),
    ],
)
def test_clocks_that_cannot_be_are_named(clocks: dict[str, float], words: str) -> None:
    """With their value, and what lists the rest."""
    found = marked(frame([run_row(**clocks)], "runs"), frame([], "epochs")).iloc[0]

    assert found["status"] == STATUS
    assert found["message"] == f"{words}, which cannot be; 'deadheat check' lists what is wrong"


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"eval_s": -0.1}, "an evaluation of -0.1 s at epoch 0.25"),
        ({"train_clock_s": 0.0}, "a train clock of 0 s"),
        ({"e2e_clock_s": 0.1}, "an e2e clock before its own training of 0.1 s"),
    ],
)
def test_intervals_that_cannot_be_are_named(values: dict[str, float], words: str) -> None:
    """The first one of the run."""
    found = marked(frame([run_row()], "runs"), frame([epoch_row(**values)], "epochs")).iloc[0]

    assert words in found["message"]
    assert found["started_at"] == START
