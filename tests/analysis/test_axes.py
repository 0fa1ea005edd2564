"""What pages say along axes: cells apart, divisions, loaders, inference, families, studies and the gate's matrix."""

from __future__ import annotations

import dataclasses
from functools import cache
from pathlib import Path

import pytest

from analysis.findings.finding import Cell
from analysis.pages.all_pages import result_pages, run_pages
from analysis.pages.home import verdict_words
from analysis.pages.workload.families import family_medians
from analysis.pages.workload.sweeps import PER_EPOCH, WAIT_SHARE, find_sweeps, sweep_points, sweep_query
from analysis.rendering.render import Page
from analysis.rendering.wording import cell_words, sentence
from analysis.results.cell_results import cell_results, headline_cell
from analysis.results.results import Results
from store.database import Store
from store.records import GateRow, MeasurementRow, RunRow
from tests.analysis.axes import axes_rows
from tests.analysis.builders import gate_row
from tests.analysis.pages.test_listings import pages_of, shown
from tests.analysis.sites import queries_on, results_of, small_rows, write_store


@cache
def along() -> Results:
    """Return the campaign along axes, read once."""
    return results_of(axes_rows())


@cache
def pages() -> dict[str, Page]:
    """Return its pages, made once."""
    return {made.path: made for made in result_pages(along())}


@cache
def words(path: str) -> str:
    """Return what a reader sees of a page."""
    return shown(pages()[path])


CNN = "workloads/mnist_cnn.md"


def test_a_cell_is_said_in_a_few_words() -> None:
    """What nearly all have in common goes unsaid."""
    usual: dict[str, object] = dataclasses.asdict(cell_results(along())[0].cell)
    cell = Cell(**usual)  # type: ignore[arg-type]
    rare = dataclasses.replace(
        cell, batch_size=512, dtype="bf16", threads=2, track="open", loader="stream", loader_workers=4, epochs=1
    )
    rare = dataclasses.replace(rare, learning_rate=0.001, weight_decay=0.0005)

    assert cell_words(dataclasses.replace(cell, batch_size=32)) == "2 epochs, batch 32, 1 thread, adam 0.01"
    assert cell_words(rare) == (
        "1 epoch, batch 512, bf16, 2 threads, stream loader with 4 workers, adam 0.001 decay 0.0005"
    )
    assert cell_words(dataclasses.replace(rare, mode="infer", steps=50)) == (
        "50 forward passes, batch 512, bf16, 2 threads, stream loader with 4 workers"
    )
    assert "batch" not in cell_words(cell, without="batch_size")


def test_cells_that_differ_in_an_axis_are_different_cells() -> None:
    """Each has findings of its own, also those of the loaders' own order."""
    cells = {(f.cell.mode, f.cell.track, f.cell.batch_size, f.cell.loader_workers) for f in along().findings}

    assert cells == {
        *(("train", "closed", size, 0) for size in (32, 128, 512)),
        *(("train", "open", 128, workers) for workers in (0, 2, 4)),
        *(("infer", "closed", size, 0) for size in (1, 64)),
    }


def test_records_from_before_loaders_and_optimizers_were_noted_still_have_findings_and_pages() -> None:
    """Null means the resident loader and an optimizer that is not said."""
    nothing = {"loader": None, "optimizer": None, "learning_rate": None, "weight_decay": None}
    rows = [dataclasses.replace(row, **nothing) if isinstance(row, RunRow) else row for row in small_rows()]
    old = [
        dataclasses.replace(row, loader=None, optimizer=None, exceptions=None) if isinstance(row, GateRow) else row
        for row in rows
    ]
    found = pages_of(old)

    assert [sentence(f) for f in results_of(old).findings] == [sentence(f) for f in results_of(small_rows()).findings]
    assert "3 epochs, batch 128, 1 thread" in shown(found["workloads/mnist_mlp.md"])
    assert "optimizer = " not in found["workloads/mnist_mlp.md"].text


def test_the_loaders_own_order_has_a_division_that_is_explained_once() -> None:
    """And it is never what the front page is about."""
    headline = headline_cell(cell_results(along()))

    assert headline is not None
    assert headline.cell.track == "closed"
    assert words(CNN).count("Open division. Same network, data and hyperparameters") == 1
    assert words(CNN).count("adam 0.01 · open: own loader and order") == 3


def test_an_axis_is_drawn_with_a_line_per_entry() -> None:
    """Medians of the runs, at every value, and only what differs in that axis alone."""
    cells = [mine for mine in cell_results(along()) if mine.cell.mode == "train" and mine.cell.track != "published"]
    sweeps = {sweep.axis: sweep for sweep in find_sweeps(cells)}
    points = sweep_points(sweeps["batch_size"], PER_EPOCH)
    jax = points[points["label"] == "python_jax"]

    assert set(sweeps) == {"batch_size", "loader_workers"}
    assert list(jax["x"]) == [32, 128, 512]
    assert list(jax["y"]) == sorted(jax["y"], reverse=True)
    for place, y in zip(jax["x"], jax["y"], strict=True):
        [mine] = [m for m in sweeps["batch_size"].cells if m.cell.batch_size == place]
        clocks = mine.completed[mine.completed["entry"] == "python_jax:jit"]["train_clock_s"]
        assert y == pytest.approx(clocks.median() / 2)


def test_with_loader_workers_the_share_of_waiting_is_drawn_too() -> None:
    """Zero workers wait half of the time in this campaign."""
    cells = [mine for mine in cell_results(along()) if mine.cell.track == "open"]
    [sweep] = find_sweeps(cells)

    assert sweep.quantities == [PER_EPOCH, WAIT_SHARE]
    assert list(sweep_points(sweep, WAIT_SHARE).groupby("x")["y"].first()) == pytest.approx([1 / 2, 1 / 6, 1 / 10])
    assert "python_pytorch 50.0 % 16.7 % 10.0 %" in words(CNN)


def test_inference_has_latencies_throughput_and_a_chart_over_batch_sizes() -> None:
    """A row per batch size and entry."""
    mine = [chart.name for chart in pages()[CNN].charts if "infer" in chart.name]

    assert mine == ["mnist_cnn-infer-0-infer-examples-per-s"]
    assert "100 forward passes, batch 64, 1 thread python_pytorch 2" in words(CNN)


def test_families_stand_side_by_side_with_their_share_of_the_machine() -> None:
    """C++ and PyTorch share kernels: the difference is the front end."""
    mine = next(m for m in cell_results(along()) if m.cell.batch_size == 128 and m.cell.track == "closed")
    medians = family_medians(mine).set_index("entry")
    cpp, torch = medians.loc["cpp_libtorch:default"], medians.loc["python_pytorch:eager"]

    assert cpp["family"] == torch["family"] == "libtorch"
    share = f"{torch['train_s_per_epoch'] / cpp['train_s_per_epoch']:.2f}"
    assert "libtorch cpp_libtorch C++ 6" in words(CNN)
    assert f"{share} ×" in words(CNN)
    assert f"{100 * torch['limit_ratio']:.1f} %" in words(CNN)


def test_kernels_alone_are_no_language_that_competes() -> None:
    """C++ stands in tables and in a card of its own, never in the headline or the table of languages."""
    home = words("index.md")
    headline = headline_cell(cell_results(along()))

    assert headline is not None
    assert "cpp_libtorch" not in verdict_words(headline)
    assert "Kernels alone: those of a framework, without the language in front cpp_libtorch" in home
    assert "C++" not in home.partition("By language")[2].partition("All workloads")[0]


def test_what_nobody_could_run_is_named_with_its_reason() -> None:
    """In the cell where others ran, and apart where nobody did."""
    assert "elixir_axon unsupported – it has no batch norm" in words(CNN)
    assert "stream" not in words(CNN).partition("Asked for, and run by nobody")[2].partition("python_pytorch:eager")[0]
    assert "python_pytorch:eager unsupported a resident loader has no workers" in words(CNN)


def test_a_workload_that_nobody_could_run_has_a_page() -> None:
    """The link from its run's page leads there."""
    lonely = [row for row in axes_rows() if isinstance(row, RunRow) and row.heat_id == ""]
    page = shown(pages_of(lonely)[CNN])

    assert "Asked for, and run by nobody" in page
    assert "it has no batch norm" in page


def test_a_recipe_stands_beside_equal_work_and_is_not_ranked() -> None:
    """With what differs, the seconds that its study counted, and the same batch size alone."""
    studies = words("studies.md")

    assert "The Julia/Python blog post" in studies
    assert "parameters 34,826 against 101,770; optimizer adam 0.001 against adam 0.01" in studies
    assert "as published python_pytorch 34,826 adam 0.001 128 resident 2 2 4.00 s" in studies
    assert "equal work cpp_libtorch 101,770 adam 0.01 128 resident 2 6 –" in studies
    assert "adam 0.01 512" not in studies
    assert not any(f.cell.track == "published" for f in along().findings)
    assert "published_blog" not in words("index.md")
    assert "workloads/published_blog_keras_mnist.md" not in pages()


def test_with_nothing_but_recipes_the_front_page_leads_to_the_studies() -> None:
    """The page of studies is there in any case."""
    recipes = [row for row in axes_rows() if not (isinstance(row, RunRow) and row.track != "published")]

    assert "Its recipes, run here" in shown(pages_of(small_rows())["studies.md"])
    assert "only recipes as studies published them" not in shown(pages_of([])["index.md"])
    assert "only recipes as studies published them" in shown(pages_of(recipes)["index.md"])


def test_the_gates_matrix_folds_what_was_tried_into_a_mark() -> None:
    """Passes are counted, failures name their parts, declining is no failure, and details follow."""
    gate = words("gate.md")

    assert "python_pytorch ✕ FAIL C in 1 of 6" in gate
    assert "cpp_libtorch ✓ 1" in gate
    assert "elixir_beam:default unsupported" in gate
    assert "elixir_beam:default mnist_cnn adam, resident, cpu, fp32 it has no batch norm" in gate
    assert "momentum, resident, cpu, fp32 C c.conv1.weight 0.25 0.31 0.24 1e-05 Nesterov is on" in gate
    assert "python_pytorch adamw resident cpu fp32 – – ✓ 1 % – adam_epsilon_hat" in gate


def test_the_last_gating_is_told_apart_by_optimizer_and_loader(tmp_path: Path) -> None:
    """A newer result of another optimizer replaces nothing."""
    store = Store(tmp_path)
    later = along().gates["gated_at"].max()
    rows = [
        gate_row(gate_id="old", optimizer="sgd", passed=False),
        gate_row(gate_id="new", optimizer="adam", gated_at=later),
        gate_row(gate_id="stream", optimizer="adam", loader="stream", part="L", gated_at=later),
        gate_row(gate_id="older", optimizer=None, loader=None),
    ]
    store.append("gates", rows, day=later.date())

    assert set(store.query("SELECT gate_id FROM latest_gates")["gate_id"]) == {"old", "new", "stream", "older"}


def test_every_query_of_these_pages_runs_and_gives_what_is_drawn(tmp_path: Path) -> None:
    """On a store of the same rows."""
    store = write_store(tmp_path, axes_rows())
    asked = {sql for path in (CNN, "studies.md", "gate.md") for sql in queries_on(pages()[path].text)}
    cells = [mine for mine in cell_results(along()) if mine.cell.track == "open"]
    [sweep] = find_sweeps(cells)

    answers = {sql: store.query(sql) for sql in asked}
    assert not [sql for sql, answer in answers.items() if answer.empty and "status <> 'completed'" not in sql]
    for quantity in sweep.quantities:
        answer = answers[sweep_query(sweep, quantity)]
        points = sweep_points(sweep, quantity)
        assert sorted(answer["median"]) == pytest.approx(sorted(points["y"]))


def test_the_page_of_a_recipes_run_leads_to_the_studies() -> None:
    """There is no page of its workload."""
    from analysis.pages.all_pages import RunFiles
    from tests.analysis.pages.run.test_page import NO_SOURCES, devices

    made = run_pages(along(), lambda _: RunFiles(devices=devices(), sources=NO_SOURCES, raw=[]))
    texts = {run.page.path: run.page.text for run in made}

    assert 'href="../studies.html"' in texts["runs/recipe-python_jax-jit-1.md"]
    assert 'href="../workloads/mnist&#95;cnn.html"' in texts["runs/batch32-python_jax-jit-1.md"]


def test_numbers_that_the_store_lacks_are_dashes() -> None:
    """Old campaigns have no share of the machine's limit."""
    rows = [row for row in axes_rows() if not isinstance(row, MeasurementRow)]

    assert "libtorch cpp_libtorch C++ 6 – – – –" in shown(pages_of(rows)[CNN])
