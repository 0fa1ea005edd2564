"""What may be appended at once."""

from __future__ import annotations

from typing import Any

import pytest

from store.database import Store, StoreError
from store.delivery import by_table
from store.records import MeasurementRow, PhaseRow, RunRow
from tests.store.rows import DAY, row, whole_run


def test_runs_are_written_last() -> None:
    """So that a run exists only when all of it does."""
    assert list(by_table("r1", whole_run("r1")))[-1] == "runs"


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "got no rows"),
        ([row(PhaseRow, run_id="r9")], r"phases\.run_id: got 'r9', which is no run of this append"),
        ([row(RunRow, run_id="r1"), row(RunRow, run_id="r1")], r"runs\.run_id: got 'r1' 2 times; expected it once"),
        ([row(RunRow, run_id="r1"), row(PhaseRow, run_id="r1", phase="lunch")], r"phases\.phase: got 'lunch'"),
        ([row(RunRow, run_id="r1"), row(MeasurementRow, run_id="r1", metric="x")], r"measurements\.metric: got 'x'"),
        (["r1"], "got a str; expected rows of environments, runs"),
    ],
)
def test_rows_that_make_no_run_are_refused(store: Store, rows: list[Any], message: str) -> None:
    """A run exists only whole, and words have a meaning."""
    with pytest.raises(StoreError, match=message):
        store.append("r1", rows, day=DAY)

    assert not store.path.exists()


@pytest.mark.parametrize("name", ["", "../up", "a/b", ".hidden", "a b", "x" * 300])
def test_a_name_that_is_no_file_name_is_refused(store: Store, name: str) -> None:
    """Nothing is written outside the store, nor where no reader looks."""
    with pytest.raises(StoreError, match="append: name: got"):
        store.append(name, whole_run("r1"), day=DAY)

    assert not store.path.exists()
