"""Frames split by group, as frames and as columns."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from analysis.frames.columns import Columns, Parts, groups

FRAME = pd.DataFrame(
    {
        "run_id": ["a", "b", "c", "d", "e"],
        "cell": ["late", "early", "late", None, "early"],
        "size": [8, 8, 8, 8, 16],
        "value": [1.0, 2.0, None, 4.0, 5.0],
    }
)


def test_groups_come_in_the_order_of_their_first_rows_and_keep_that_of_their_own():
    """What lacks a key is in no group."""
    found = [list(group["run_id"]) for group in groups(FRAME, ["cell", "size"])]

    assert found == [["a", "c"], ["b"], ["e"]]


def test_a_frame_without_rows_has_no_groups():
    """Nothing in, nothing out."""
    assert list(groups(FRAME.iloc[:0], ["cell"])) == []


def test_columns_are_taken_by_slices_places_and_truths():
    """All three mean the same rows, in all columns."""
    columns = Columns.of(FRAME)

    for rows in (slice(1, 3), np.array([1, 2]), columns["cell"] != "late"):
        mine = columns.where(rows)
        assert mine["run_id"].tolist()[0] == "b"
        assert len(mine) == len(mine["value"])
    assert list(columns.where(columns["size"] == 16)["run_id"]) == ["e"]


def test_the_first_row_has_plain_values():
    """A cell that is made of them can be written as JSON and compared with one from elsewhere."""
    first = Columns.of(FRAME).first(["run_id", "size", "value"])

    assert first == {"run_id": "a", "size": 8, "value": 1.0}
    assert [type(value) for value in first.values()] == [str, int, float]


def test_assigned_columns_leave_the_others_as_they_were():
    """The rows that they came from do not change."""
    columns = Columns.of(FRAME)
    changed = columns.assign(size=np.zeros(5), more=np.ones(5))

    assert (changed["size"].sum(), changed["more"].sum(), columns["size"].sum()) == (0, 5, 48)
    with pytest.raises(KeyError):
        columns["more"]


def test_parts_leave_out_what_belongs_to_no_group():
    """And a group without rows is an empty frame with the same columns."""
    parts = Parts(FRAME, {"a": 1, "c": 1, "b": 0})

    assert list(parts.of(1)["run_id"]) == ["a", "c"]
    assert parts.of(7).empty
    assert list(parts.of(7).columns) == list(FRAME.columns)
