"""Who became steady, after how long, and who catches up when: with "none" said in words."""

from __future__ import annotations

import dataclasses
import doctest

import pytest

from analysis.pages.all_pages import RunFiles, result_pages, run_pages
from analysis.pages.workload import steady_state as module
from analysis.pages.workload.steady_state import run_steady_words, steady_table, steady_words
from analysis.results.cell_results import cell_results
from analysis.results.reader import read_results
from store.records import MeasurementRow, RunRow
from tests.analysis.builders import JAX, PYTORCH, Campaign, frame
from tests.analysis.sites import results_of, visible_text, write_store

QUIET = {"heat_deviation": 1e-9, "run_deviation": 1e-9}


def rows_with(told, **campaign):
    """Return a campaign's rows with what `told` gives of each completed run about its steady state."""
    rows = Campaign(**campaign).rows()
    runs = [row for row in rows if isinstance(row, RunRow)]
    numbers = [
        MeasurementRow(run_id=run.run_id, metric=metric, value=value)
        for run in runs
        for metric, value in told(run).items()
    ]
    return [*rows, *numbers]


def jax_late(run):
    """Return that the baseline is steady from the start, JAX after a second but for its first heat, which never is."""
    if run.runner == "python_pytorch":
        return {"is_steady": 1.0, "steady_after_s": 0.0, "steady_step_s": 0.002}
    if run.repetition == 1:
        return {"is_steady": 0.0}
    return {"is_steady": 1.0, "steady_after_s": 1.0 + 0.01 * run.repetition, "steady_step_s": 0.004}


def cell_of(rows):
    """Return the only cell."""
    (mine,) = cell_results(results_of(rows))
    return mine


def test_the_examples_are_true():
    """What the docstrings show is what the functions return."""
    assert doctest.testmod(module).failed == 0


def test_each_entry_says_how_many_runs_after_how_long_and_how_fast():
    """Nine of ten, 1.02 to 1.10 s: a median of 1.06 s, and 4 ms per step; the control is left out."""
    table = steady_table(cell_of(rows_with(jax_late)))

    assert [row[:2] for row in table.rows] == [("python_pytorch", "10 of 10"), ("python_jax", "9 of 10")]
    assert table.rows[0][2:4] == ("0 s", "–")
    assert table.rows[1][2:4] == ("1.06 s", "1.02 s to 1.10 s")


def test_who_never_becomes_steady_is_said_to_be_none():
    """In the table and in a sentence."""
    mine = cell_of(rows_with(lambda run: {"is_steady": float(run.runner == "python_pytorch"), "steady_after_s": 0.0}))

    assert steady_table(mine).rows[1] == ("python_jax", "none of 10", "none", "–", "–")
    assert "No run of python_jax reached a speed that it kept" in steady_words(mine)[0]


def test_without_chunks_a_sentence_stands_in_the_place_of_the_table():
    """Nothing was recorded that could tell."""
    mine = cell_of(Campaign(**QUIET).rows())

    assert steady_table(mine).rows == []
    assert steady_words(mine) == [
        "Whether training became steady is not known: no run has the twenty chunks that it takes to tell."
    ]


def test_who_prepares_longer_and_trains_faster_catches_up():
    """10 s more and half a second less per epoch: after 20 epochs, far beyond the plan of three."""
    late = dataclasses.replace(JAX, fixed_s=12.0, train_s_per_epoch=0.5, eval_s=0.05)
    words = steady_words(cell_of(Campaign(racers=(PYTORCH, late), **QUIET).rows()))[-1]

    assert words == (
        "python_jax takes 10.0 s more than python_pytorch before its first epoch and 0.500 s less per epoch: it has "
        "caught up after 20 epochs, beyond the 3 epochs of this plan."
    )


@pytest.mark.parametrize("fixed_s", [1.99, 3.0])
def test_lines_that_lie_on_each_other_or_never_cross_are_not_told(fixed_s):
    """Half a percent less to prepare is no difference; slower in both never catches up."""
    other = dataclasses.replace(JAX, fixed_s=fixed_s)

    assert not any(
        "caught up" in words for words in steady_words(cell_of(Campaign(racers=(PYTORCH, other), **QUIET).rows()))
    )


def test_a_run_says_whether_it_became_steady():
    """At once, later, never, or nobody can tell."""
    steady = {"is_steady": 1.0, "steady_after_s": 1.5, "steady_step_s": 0.004}

    assert run_steady_words(steady).startswith("Steady state: after 1.50 s of training, then ")
    assert "from the first step on" in run_steady_words(steady | {"steady_after_s": 0.0})
    assert run_steady_words({}).startswith("Steady state: not known")


def test_the_pages_of_workload_and_run_show_it(tmp_path):
    """From the store."""
    results = read_results(write_store(tmp_path / "store", rows_with(jax_late)))
    workload = next(page for page in result_pages(results) if page.path == "workloads/mnist_mlp.md")
    nothing = RunFiles(devices=frame([], "readings"), sources=frame([], "readings"), raw=())
    made = {run.page.path: visible_text(run.page.text) for run in run_pages(results, lambda _: nothing)}

    assert "9 of 10" in visible_text(workload.text)
    assert sum("Steady state: none" in text for text in made.values()) == 1
    assert sum("Steady state: after" in text for text in made.values()) == 9
