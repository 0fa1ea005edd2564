"""The store's views as frames."""

from __future__ import annotations

import dataclasses
from datetime import date

import pandas as pd
import pytest

from analysis.findings.find import find_all
from analysis.frames import views
from analysis.frames.views import FrameError
from analysis.rendering.wording import sentence
from store.database import Store
from store.records import TABLES
from tests.analysis.builders import JAX, PYTORCH, Campaign, frames_of, gate_row, reading_row, run_row

DAY = date(2026, 1, 2)
READERS = {
    "runs": views.read_runs,
    "epochs": views.read_epochs,
    "phases": views.read_phases,
    "gates": views.read_gates,
    "environments": views.read_environments,
}


@pytest.fixture
def store(tmp_path):
    """Return a store with a small campaign, an interrupted attempt and an unavailable runner."""
    store = Store(tmp_path / "results")
    store.append("campaign", Campaign(heats=6).rows(), day=DAY)
    store.append("interrupted", [run_row(run_id="x", heat_id="lost", status="interrupted")], day=DAY)
    store.append("missing", [run_row(run_id="y", heat_id="", runner="elixir_axon", status="unavailable")], day=DAY)
    return store


@pytest.mark.parametrize("table", READERS)
def test_a_frame_has_the_columns_of_its_row_type(store, table):
    """records.py is the only list of columns; runs have their entry beside."""
    frame = READERS[table](store)
    more = ["entry"] if table == "runs" else []

    assert sorted(frame.columns) == sorted([*(f.name for f in dataclasses.fields(TABLES[table])), *more])
    assert len(frame) > 0


@pytest.mark.parametrize("table", READERS)
def test_an_empty_store_gives_empty_frames_with_all_columns(tmp_path, table):
    """Nothing measured is no error."""
    frame = READERS[table](Store(tmp_path / "nothing"))

    assert len(frame) == 0
    assert {f.name for f in dataclasses.fields(TABLES[table])} <= set(frame.columns)


def test_counted_runs_leave_out_the_interrupted_and_the_unavailable(store):
    """Those have frames of their own."""
    assert len(views.read_runs(store)) == 6 * 3 + 2
    assert len(views.read_counted_runs(store)) == 6 * 3
    assert views.read_unavailable(store)["entry"].tolist() == ["elixir_axon:eager"]


def test_findings_from_the_store_are_those_of_the_rows(store):
    """What is appended and read back concludes the same."""
    rows = Campaign(heats=6).rows()
    expected = frames_of([*rows, run_row(heat_id="", runner="elixir_axon", status="unavailable")])
    ours = find_all(
        views.read_counted_runs(store),
        views.read_epochs(store),
        views.read_unavailable(store),
        views.read_gates(store),
    )
    theirs = find_all(expected.runs, expected.epochs, expected.unavailable, expected.gates)

    assert [sentence(f) for f in ours] == [sentence(f) for f in theirs]
    assert [f.cell for f in ours] == [f.cell for f in theirs]
    assert {f.candidate for f in ours} == {JAX.entry, "elixir_axon:eager"}


def test_findings_of_an_empty_store_are_none(tmp_path):
    """No file, no finding, no error."""
    store = Store(tmp_path / "nothing")

    assert (
        find_all(
            *(
                read(store)
                for read in (views.read_counted_runs, views.read_epochs, views.read_unavailable, views.read_gates)
            )
        )
        == []
    )


def test_the_readings_of_one_run_come_in_their_order(store):
    """Those of other runs stay where they are."""
    name = f"{PYTORCH.runner}-{PYTORCH.variant}-1"
    other = f"{PYTORCH.runner}-{PYTORCH.variant}-2"
    rows = [reading_row(run_id=run_id, at_s=at) for run_id in (name, other) for at in (0.3, 0.1, 0.2)]
    store.append(
        "readings",
        [run_row(run_id="z", heat_id="late"), *[dataclasses.replace(r, run_id="z") for r in rows[:3]]],
        day=DAY,
    )

    assert views.read_readings(store, "z")["at_s"].tolist() == [0.1, 0.2, 0.3]
    assert views.read_readings(store, other).empty


def test_the_last_gating_of_an_entry_is_the_latest_of_all(store):
    """A repaired runner is no longer refused."""
    later = pd.Timestamp("2026-02-01", tz="UTC").to_pydatetime()
    store.append("gates", [gate_row(gate_id="later", passed=False, gated_at=later)], day=DAY)
    latest = views.read_latest_gates(store).set_index("runner")["passed"]

    assert not latest["python_pytorch"]
    assert latest["python_jax"]


class Crippled:
    """A store whose views have lost a column."""

    def query(self, sql, parameters=()):
        return pd.DataFrame({"run_id": ["a"], "phase": ["train"]})


def test_a_view_that_lost_a_column_is_named():
    """The page would otherwise fail far from the cause."""
    with pytest.raises(FrameError, match="view phases: has no column 'index'; expected the columns of PhaseRow"):
        views.read_phases(Crippled())
