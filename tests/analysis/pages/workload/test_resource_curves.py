"""Repetitions laid above each other: the view's grid, and the means with their spread."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from analysis.pages.all_pages import result_pages
from analysis.pages.workload.resource_curves import MOST_BANDS, aligned_charts, aligned_means, aligned_phases
from analysis.rendering import queries
from analysis.results.cell_results import CellResults, cell_results
from analysis.results.reader import read_results
from store.database import Store
from store.records import ReadingRow, Row, RunRow
from tests.analysis.builders import JAX, PYTORCH, Campaign, phase_row, reading_row, run_row
from tests.analysis.pages.test_listings import shown
from tests.analysis.sites import results_of, write_store


def reading(at_s: float, cpu_s: float, **changes: object) -> ReadingRow:
    """Return a reading of the run's control group."""
    return reading_row(at_s=at_s, cpu_s=cpu_s, **{"source": "cgroup_v2", "quality": "exact", **changes})


def grid_of(tmp_path: Path, *rows: Row) -> pd.DataFrame:
    """Return the view of one run that trains from 1.05 s on."""
    training = phase_row(phase="train", start_s=1.05, duration_s=1.0)
    store = write_store(tmp_path / "store", [run_row(), training, *rows])
    return store.query("SELECT * FROM aligned_readings ORDER BY run_id, at_s")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Return ten heats whose runs keep one core busy; one of them was disturbed."""
    rows = Campaign(racers=(PYTORCH, JAX)).rows()
    place, run = next((n, row) for n, row in enumerate(rows) if isinstance(row, RunRow) and "jax" in row.runner)
    rows[place] = replace(run, contaminated=True, contamination="other programs used 1.0 CPU s")
    return write_store(tmp_path_factory.mktemp("store"), rows)


def cell_of(store: Store) -> CellResults:
    """Return the only cell of a store."""
    [mine] = cell_results(read_results(store))
    return mine


def test_the_grid_begins_to_count_at_the_first_training_step(tmp_path: Path) -> None:
    """And each step holds the cores that were busy in it, whenever the readings were made."""
    busy = [(n * 0.1 + 0.013 * (n % 3), n) for n in range(30)]
    grid = grid_of(tmp_path, *(reading(at_s, 0.5 * at_s) for at_s, _ in busy))

    at_zero = grid[grid["since_training_s"] == 0]
    assert list(at_zero["at_s"]) == [pytest.approx(1.05)]
    assert list(grid["since_training_s"].diff().dropna()) == pytest.approx([0.1] * (len(grid) - 1))
    assert list(grid["cores"].dropna()) == pytest.approx([0.5] * (len(grid) - 1))
    assert grid["at_s"].min() == pytest.approx(0.05)


def test_nothing_is_read_out_of_a_gap(tmp_path: Path) -> None:
    """A quarter of a second is bridged, more than half a second is not."""
    moments = [*(n / 10 for n in range(11)), 1.25, *(1.3 + n / 10 for n in range(3)), 2.5, 2.6, 2.7]
    grid = grid_of(tmp_path, *(reading(at_s, at_s) for at_s in moments)).set_index("since_training_s")

    unknown = grid.index[grid["cores"].isna()]
    assert grid.loc[0.1, "cores"] == pytest.approx(1.0)
    assert [value for value in unknown if value < 1.6] == pytest.approx([0.4 + n / 10 for n in range(11)])
    assert grid["memory_bytes"].isna().sum() >= 9


def test_a_control_group_comes_before_the_process_tree(tmp_path: Path) -> None:
    """For each quantity by itself."""
    rows = [reading(n / 10, n / 10, memory_bytes=None) for n in range(20)]
    rows += [reading_row(at_s=n / 10, cpu_s=n / 5, memory_bytes=10**8 + n) for n in range(20)]
    grid = grid_of(tmp_path, *rows)

    assert list(grid["cores"].dropna()) == pytest.approx([1.0] * (len(grid) - 1))
    assert grid["memory_bytes"].max() == 10**8 + 19


def test_the_largest_memory_remains_however_long_the_run(tmp_path: Path) -> None:
    """At most some three hundred steps, and the peak is in one of them."""
    sizes = {4321: 7 * 10**8}
    grid = grid_of(tmp_path, *(reading(n / 10, n / 10, memory_bytes=sizes.get(n, 10**8)) for n in range(6000)))

    assert 250 < len(grid) <= 310
    assert grid["memory_bytes"].max() == 7 * 10**8
    assert list(grid["cores"].dropna()) == pytest.approx([1.0] * (len(grid) - 1))


def test_a_run_that_never_trained_has_a_curve_and_no_place_beside_others(tmp_path: Path) -> None:
    """It crashed before."""
    store = write_store(tmp_path / "store", [run_row(status="crashed"), *(reading(n / 10, n / 10) for n in range(9))])
    grid = store.query("SELECT * FROM aligned_readings")

    assert list(grid["cores"].dropna()) == pytest.approx([1.0] * 7)
    assert grid["since_training_s"].isna().all()


def test_the_query_of_the_means_gives_what_the_page_draws(store: Store) -> None:
    """Undisturbed repetitions only, as long as half of them go on."""
    mine = cell_of(store)
    drawn = aligned_means(mine).drop(columns="label").sort_values(["entry", "since_training_s"])
    asked = store.query(queries.aligned_means(mine.cell))

    assert set(drawn["entry"]) == {"python_pytorch:eager", "python_jax:jit"}
    assert drawn.groupby("entry")["runs"].max().to_dict() == {"python_pytorch:eager": 10, "python_jax:jit": 9}
    assert drawn["runs"].min() >= 5
    pd.testing.assert_frame_equal(asked, drawn[list(asked.columns)].reset_index(drop=True), check_dtype=False)


def test_every_entry_has_a_row_with_its_phases(store: Store) -> None:
    """Training begins at nought, and what came before lies before."""
    mine = cell_of(store)
    phases = aligned_phases(mine)
    first = phases[(phases["phase"] == "train") & (phases["index"] == 0)]
    cores, memory = aligned_charts(mine, "name")

    assert list(first["start_s"]) == [0.0, 0.0]
    assert (phases.loc[phases["phase"] == "compile", "stop_s"] <= 1e-9).all()
    assert "python_pytorch: 1.00 cores." in cores.alt
    assert "python_jax: 1" in memory.alt
    assert "up to 10 runs" in cores.caption


def test_many_intervals_are_one_band(store: Store) -> None:
    """A row of a hundred epochs is no comb."""
    mine = cell_of(store)
    many = [mine.phases.assign(index=mine.phases["index"] + 100 * n) for n in range(1 + MOST_BANDS // 20)]
    phases = aligned_phases(replace(mine, phases=pd.concat(many)))

    assert (phases.groupby(["entry", "phase"]).size().unstack()["train"] == 1).all()
    assert "eval" not in set(phases["phase"])


def test_a_workload_whose_runs_were_not_read_has_no_such_chart() -> None:
    """Nor a heading of one."""
    pages = {made.path: made for made in result_pages(results_of(Campaign(heats=2).rows()))}

    assert "What it used" not in shown(pages["workloads/mnist_mlp.md"])


def test_a_workload_shows_what_its_entries_used(store: Store) -> None:
    """With the query behind it."""
    pages = {made.path: made for made in result_pages(read_results(store))}
    text = shown(pages["workloads/mnist_mlp.md"])

    assert "What it used" in text
    assert "Each row is full at 1.10 cores" in text
