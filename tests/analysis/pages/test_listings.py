"""Pages: what a reader finds on them, from rows to Markdown."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from datetime import timedelta
from functools import cache

import jinja2
import markdown
import pandas as pd
import pytest

from analysis.findings.comparison import Verdict
from analysis.pages.addresses import file_name, run_addresses, source, workload_address
from analysis.pages.all_pages import navigation, result_pages
from analysis.pages.gate import gate_page
from analysis.pages.home import verdict_words
from analysis.pages.listings import empty_page
from analysis.rendering import render
from analysis.rendering.render import Page
from analysis.rendering.wording import sentence
from analysis.results.cell_results import MOST_POINTS, cell_results, headline_cell, median_curve, phase_medians, thinned
from analysis.results.results import Results
from store.records import GateRow, Row, RunRow
from store.snapshot import Snapshot
from tests.analysis.builders import (
    JAX,
    JULIA,
    NUMPY,
    PYTORCH,
    START,
    Campaign,
    contender,
    gate_row,
    run_row,
)
from tests.analysis.sites import HOSTILE, assert_snapshot, results_of, small_rows, visible_text

EXTENSIONS = ["admonition", "attr_list", "def_list", "tables", "toc"]


@cache
def small() -> Results:
    """Return the small campaign, read once."""
    return results_of(small_rows())


def pages_of(rows: Sequence[Row]) -> dict[str, Page]:
    """Return every page but those of runs, by path."""
    return {made.path: made for made in result_pages(results_of(rows))}


@cache
def small_pages() -> dict[str, Page]:
    """Return the pages of the small campaign, made once."""
    return {made.path: made for made in result_pages(small())}


def shown(page: Page) -> str:
    """Return what a reader sees of a page, without the queries."""
    body = page.text.partition("---\n")[2].partition("---\n")[2]
    text = markdown.markdown(body, extensions=EXTENSIONS)
    return visible_text(re.sub(r'<details class="dh-query">.*?</details>', "", text, flags=re.DOTALL))


def test_the_front_page_says_every_finding_of_its_workload() -> None:
    """Sentence for sentence as the terminal has it."""
    home = shown(small_pages()["index.md"])
    found = [f for f in small().findings if f.cell.workload == "mnist_mlp" and f.verdict is not Verdict.NOT_RANKED]

    assert len(found) == 4
    assert all(" ".join(sentence(finding).split()) in home for finding in found)


def test_the_front_page_begins_with_the_verdict_on_the_frameworks() -> None:
    """A bare language is never the headline."""
    headline = headline_cell(cell_results(small()))
    home = shown(small_pages()["index.md"])

    assert headline is not None
    assert verdict_words(headline) == "python_jax: slower on both clocks, against python_pytorch"
    assert home.index("python_jax: slower on both clocks") < home.index("Bare languages")


def test_clocks_with_different_verdicts_are_told_apart() -> None:
    """Faster in training may be slower from start to end."""
    costly = dataclasses.replace(JAX, fixed_s=9.0, train_s_per_epoch=0.5, eval_s=0.05)
    headline = headline_cell(cell_results(results_of(Campaign(racers=(PYTORCH, costly)).rows())))

    assert headline is not None
    assert (
        verdict_words(headline)
        == "python_jax: faster on the train clock, slower on the e2e clock, against python_pytorch"
    )


def test_a_front_page_without_another_framework_claims_nothing() -> None:
    """A comparison with a bare language is no comparison of languages."""
    home = shown(pages_of(Campaign(racers=(PYTORCH, JULIA)).rows())["index.md"])

    assert "No framework has been measured beside python_pytorch yet" in home


def test_a_language_without_a_measured_framework_reads_so() -> None:
    """Julia's standard library and plain Elixir stand for no language."""
    home = shown(small_pages()["index.md"])

    assert "Julia not yet measured – –" in home
    assert "Elixir not yet measured – –" in home
    assert "Python PyTorch also measured: python_jax" in home


def test_the_front_page_is_about_the_newest_campaign() -> None:
    """An older campaign is a replication, whatever it found."""
    old = Campaign(racers=(PYTORCH, NUMPY), heats=30).rows()
    older = [dataclasses.replace(row, **_older(row)) for row in old if isinstance(row, RunRow)]
    pages = pages_of([*small_rows(), *older])

    assert "10 heats" in shown(pages["index.md"])
    assert "python_numpy" not in shown(pages["index.md"]).partition("All workloads")[0].partition("Bare")[0]
    assert "Earlier campaigns" in shown(pages["workloads/mnist_mlp.md"])


def test_results_from_elsewhere_say_so() -> None:
    """On the front page and on the workload's, with the machine."""
    pages = {made.path: made for made in result_pages(dataclasses.replace(small(), snapshots=[OWLS]))}
    told = (
        "Measured elsewhere. Owls in a barn: a snapshot that deadheat brings, measured last winter on Owl 9, 2 cores."
    )

    assert told in shown(pages["index.md"])
    assert told in shown(pages["workloads/mnist_mlp.md"])
    assert "were measured elsewhere, in snapshots that deadheat brings" in shown(pages["runs/index.md"])
    assert "measured elsewhere Owls in a barn" in shown(pages["environments.md"])
    assert "elsewhere" not in shown(small_pages()["index.md"]) + shown(small_pages()["workloads/mnist_mlp.md"])


def test_own_results_come_before_newer_ones_from_elsewhere() -> None:
    """The front page is about what the reader has measured, and the two are never compared."""
    old = Campaign(racers=(PYTORCH, NUMPY), heats=30).rows()
    own = [dataclasses.replace(row, **_older(row)) for row in old if isinstance(row, RunRow)]
    pages = {
        made.path: made
        for made in result_pages(dataclasses.replace(results_of([*small_rows(), *own]), snapshots=[OWLS]))
    }

    assert "30 heats" in shown(pages["index.md"])
    assert "Also here, measured elsewhere and never compared with these: Owls in a barn" in shown(pages["index.md"])
    mlp = shown(pages["workloads/mnist_mlp.md"])
    assert "UTC on Owl 9, 2 cores, mnist_mlp" in mlp.partition("Measured elsewhere")[2]
    assert "Earlier campaigns" not in mlp


OWLS = Snapshot(
    name="bench",
    title="Owls in a barn",
    machine="Owl 9, 2 cores",
    measured="last winter",
    commit="",
    versions=[],
    campaigns=["demo-1"],
    runs=1,
    left_out=[],
)


def _older(row: RunRow) -> dict[str, object]:
    started_at = row.started_at.replace(year=2025)
    return {
        "campaign_id": "demo-0",
        "run_id": f"old-{row.run_id}",
        "heat_id": f"old-{row.heat_id}",
        "started_at": started_at,
        "target_accuracy": None,
    }


def test_too_few_heats_are_called_insufficient() -> None:
    """The word stands above the numbers."""
    lenet = shown(small_pages()["workloads/mnist_lenet.md"])
    steps = shown(small_pages()["workloads/mnist_mlp_steps.md"])

    assert "Insufficient. 1 of the 10 heats" in lenet
    assert "Insufficient. 6 of the 10 heats" in steps
    assert "There are too few heats for intervals." in lenet
    assert "Insufficient." not in shown(small_pages()["workloads/mnist_mlp.md"])


def test_an_ending_is_shown_with_its_reason() -> None:
    """Crashed and unavailable runs are results."""
    lenet = shown(small_pages()["workloads/mnist_lenet.md"])
    mlp = shown(small_pages()["workloads/mnist_mlp.md"])

    assert f"python_numpy crashed 1 {' '.join(HOSTILE.split())}" in lenet
    assert "elixir_axon unavailable – mix was not found; make setup installs it" in mlp


def test_a_failed_gate_is_shown_with_both_values_and_the_cause() -> None:
    """On the workload's page and on the gate's."""
    steps = shown(small_pages()["workloads/mnist_mlp_steps.md"])
    gate = shown(small_pages()["gate.md"])

    assert "part A: losses is 294.73, expected 2.302585 (the loss is summed, not averaged)" in steps
    assert "julia_stdlib mnist_mlp_steps adam, resident, cpu, fp32 A losses 2.302585 294.73 127 1e-05" in gate
    assert "✕ failed 1.27e+07 ×" in gate
    assert "julia_stdlib – ✓ 1 ✕ FAIL A in 1 of 1" in gate


def test_what_nobody_has_run_for_real_is_not_yet_verified() -> None:
    """With the reason; what this store has proved on the CPU says nothing about a GPU, and is left out itself."""
    jax = contender(
        runner="python_jax",
        variant="jit",
        framework="JAX",
        family="xla",
        devices=["cpu", "cuda"],
        unverified={"cuda": "no GPU was at hand", "mnist_mlp": "never gated"},
    )
    axon = jax.model_copy(update={"runner": "elixir_axon", "variant": "exla", "unverified": {"exla": "no XLA *here*"}})
    page = gate_page(dataclasses.replace(small(), roster=(axon, jax)))

    assert "elixir_axon:exla all of it: no XLA *here* not gated here Python JAX xla cpu, cuda" in shown(page)
    assert "python_jax:jit cuda: no GPU was at hand 2 of 2 workloads Python JAX xla cpu, cuda" in shown(page)
    assert "never gated" not in shown(page)


def test_an_entry_that_passed_here_is_verified_whatever_its_definition_says() -> None:
    """And one that failed is not."""
    passed = gate_row(runner="elixir_axon", variant="exla")
    axon = contender(
        runner="elixir_axon",
        variant="exla",
        language="Elixir",
        framework="Axon",
        family="xla",
        unverified={"exla": "no XLA"},
    )

    verified = dataclasses.replace(results_of([passed]), roster=(axon,))
    failed = dataclasses.replace(results_of([dataclasses.replace(passed, passed=False)]), roster=(axon,))
    assert "elixir_axon:exla – 1 of 1 workload Elixir Axon xla cpu" in shown(gate_page(verified))
    assert "elixir_axon:exla all of it: no XLA 0 of 1 workload Elixir Axon xla cpu" in shown(gate_page(failed))


def test_a_workload_shows_the_gates_of_its_own_campaign() -> None:
    """What was gated by hand afterwards cannot contradict the verdicts above it."""
    rows = small_rows()
    passed = next(row for row in rows if isinstance(row, GateRow) and row.passed)
    by_hand = dataclasses.replace(
        passed, gate_id="later", campaign_id="", passed=False, found="9.9", gated_at=passed.gated_at + timedelta(days=1)
    )

    path = f"workloads/{passed.workload}.md"
    assert shown(pages_of([*rows, by_hand])[path]) == shown(pages_of(rows)[path])


def test_an_entry_that_was_never_gated_reads_so() -> None:
    """No result is not the same as a pass."""
    rows = [row for row in small_rows() if not (type(row) is type(gate_row()) and row.runner == "python_jax")]

    assert "python_jax not gated –" in shown(pages_of(rows)["workloads/mnist_mlp.md"])


def test_pooled_epochs_are_explained_where_they_are_used() -> None:
    """Only a workload with a target that somebody reached has them."""
    pooled = next(f.epochs_to_target for f in small().findings if f.cell.workload == "mnist_mlp")

    assert f"for the {pooled:.3g} epochs" in shown(small_pages()["workloads/mnist_mlp.md"])
    assert "that all gated entries together needed" not in shown(small_pages()["workloads/mnist_mlp_steps.md"])
    assert "Too few runs reached the target of 98.5 %" in shown(small_pages()["workloads/mnist_lenet.md"])


def test_text_of_a_runner_is_inert_on_every_page() -> None:
    """A message may hold anything."""
    rows = [dataclasses.replace(row, message=HOSTILE) if isinstance(row, RunRow) else row for row in small_rows()]

    for page in pages_of(rows).values():
        made = markdown.markdown(page.text, extensions=EXTENSIONS)
        assert "<script" not in made
        assert "javascript:" not in re.sub(r">[^<]*<", "><", made)
        assert "<em>bold</em>" not in made


def test_every_chart_says_in_words_what_it_shows() -> None:
    """The words are the picture's alternative text and the chart's own description."""
    charts = [chart for page in small_pages().values() for chart in page.charts]

    assert len({chart.name for chart in charts}) == len(charts) > 5
    for chart in charts:
        assert len(chart.alt) > 40
        assert chart.spec["description"] == chart.alt
        assert chart.query.lstrip().startswith(("SELECT", "WITH"))


def test_every_table_has_a_caption() -> None:
    """On every page."""
    for page in small_pages().values():
        assert page.text.count("<table>") == page.text.count("<caption>")


def test_the_front_page_is_the_one_that_was_looked_at() -> None:
    """A change of its words is seen before it is published."""
    assert_snapshot("index.md", small_pages()["index.md"].text)


def test_the_page_of_a_workload_is_the_one_that_was_looked_at() -> None:
    """A change of its words is seen before it is published."""
    assert_snapshot("mnist_lenet.md", small_pages()["workloads/mnist_lenet.md"].text)


def test_an_empty_store_gives_one_page_that_says_what_to_do() -> None:
    """No error, and every page that others link to."""
    made = result_pages(results_of([]))

    assert made[0] == empty_page()
    assert "deadheat run demo" in made[0].text
    assert {page.path for page in made[1:]} >= {"trends.md", "runs/index.md", "gate.md", "environments.md"}


def test_a_store_of_gates_alone_has_no_results_yet() -> None:
    """Gating is not measuring; what was proven is shown all the same."""
    pages = pages_of([gate_row()])

    assert pages["index.md"] == empty_page()
    assert "python_pytorch:eager adam resident cpu fp32 ✓ 1 %" in shown(pages["gate.md"])


def test_a_campaign_whose_heats_are_all_incomplete_has_pages() -> None:
    """Interrupted at once: nothing is concluded, everything is shown."""
    interrupted = run_row(status="interrupted", train_clock_s=None, e2e_clock_s=None, heat_size=2)
    results = results_of([interrupted])
    counted = dataclasses.replace(results.measured, runs=results.measured.runs.iloc[:0])
    pages = {made.path: made for made in result_pages(dataclasses.replace(results, measured=counted, findings=[]))}

    assert "python_pytorch interrupted 1" in shown(pages["workloads/mnist_mlp.md"])


def test_a_name_that_does_not_exist_in_a_template_is_an_error() -> None:
    """Nothing is printed as an empty place."""
    with pytest.raises(jinja2.UndefinedError):
        render.page("index.md", "home.md.jinja", {})


def test_names_from_the_store_are_no_paths() -> None:
    """A workload called ../x lies where the others do, and so does a run called index."""
    assert workload_address("mnist_mlp") == "workloads/mnist_mlp.html"
    assert "/" not in file_name("../x")
    assert run_addresses(["index", "a"])["a"] == "runs/a.html"
    assert run_addresses(["index", "a"])["index"] != "runs/index.html"
    assert source("runs/a.html") == "runs/a.md"


def test_a_navigation_lists_folders_and_leaves_out_what_is_not_there() -> None:
    """Nested titles too."""
    planned = [{"Results": "index.md"}, {"Method": ["a.md", {"How-to": "how-to/"}]}, {"None": ["b.md"]}]

    found = navigation(planned, ["index.md", "a.md", "how-to/two.md", "how-to/one.md"])

    assert found == [{"Results": "index.md"}, {"Method": ["a.md", {"How-to": ["how-to/one.md", "how-to/two.md"]}]}]


def test_phases_that_repeat_are_added_up_per_run_before_the_median() -> None:
    """Twelve training intervals are one phase of one run."""
    [mlp] = [mine for mine in cell_results(small()) if mine.cell.workload == "mnist_mlp"]
    medians = phase_medians(mlp).set_index(["label", "phase"])["duration_s"]
    clock_s = mlp.completed[mlp.completed["entry"] == "python_pytorch:eager"]["train_clock_s"].median()

    assert medians["python_pytorch", "train"] == pytest.approx(clock_s)


def test_a_median_curve_has_one_point_per_evaluation() -> None:
    """Medians of clock and accuracy at the same epoch."""
    runs = [("r1", 1.0, 0.8), ("r2", 2.0, 0.9), ("r3", 9.0, 0.7)]
    curves = pd.DataFrame(
        [{"label": "a", "run": run, "epoch": 0.25, "clock_s": s, "test_accuracy": a} for run, s, a in runs]
    )

    assert median_curve(curves).to_dict("records") == [
        {"label": "a", "epoch": 0.25, "clock_s": 2.0, "test_accuracy": 0.8}
    ]


@pytest.mark.parametrize(("runs", "evaluations"), [(3, 12), (500, 12), (40, 400), (2, 10_000)])
def test_a_chart_of_many_runs_draws_as_many_of_each_entry_as_it_can_carry(runs: int, evaluations: int) -> None:
    """The same number of each, at least one, and whole runs."""
    curves = pd.DataFrame(
        [
            {"run": f"{label}{run}", "label": label, "clock_s": 1.0 * epoch}
            for label in "ab"
            for run in range(runs)
            for epoch in range(evaluations)
        ]
    )
    kept = thinned(curves).groupby("label")["run"].agg(["nunique", "size"])

    assert set(kept["nunique"]) == {min(runs, max(1, MOST_POINTS // (2 * evaluations)))}
    assert (kept["size"] == kept["nunique"] * evaluations).all()


def test_a_campaign_can_be_repeated_with_the_command_on_the_page() -> None:
    """Also one that was chosen on the command line, without a suite's file."""
    chosen = Campaign(racers=(PYTORCH, JAX), heats=2, changes={"suite": "chosen"}).rows()

    assert "deadheat run demo , then deadheat site --serve" in shown(small_pages()["index.md"])
    again = (
        "deadheat run --runner python_pytorch,python_jax --workload mnist_mlp --mode train --epochs 3 --batch-size 128 "
        "--optimizer adam --learning-rate 0.001 --weight-decay 0 --heats 2"
    )
    assert again in shown(pages_of(chosen)["index.md"])


def test_too_few_heats_are_no_headline() -> None:
    """The first line of the site does not sound like a verdict."""
    home = shown(pages_of(Campaign(racers=(PYTORCH, JAX), heats=2).rows())["index.md"])

    assert "python_jax: too few heats for a verdict, against python_pytorch" in home


def test_a_moment_on_a_page_is_in_utc() -> None:
    """The store's times are, and the page says so."""
    assert f"{START.day} January 2026, 03:05 to 03:14 UTC" in shown(small_pages()["index.md"])
