"""A store made by an earlier version opens, and says what it said then."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from analysis.rendering.wording import told_rows
from analysis.results.reader import read_measured
from store.database import Store
from store.snapshot import SNAPSHOTS

# Written by deadheat 0.1.0 (commit 1989d96), before its packages had wings.
FINDINGS = json.loads((Path(__file__).parents[2] / "data" / "findings_of_the_snapshot.json").read_text("utf-8"))


@pytest.mark.parametrize("name", sorted(FINDINGS))
def test_a_snapshot_has_the_findings_that_it_had(name: str) -> None:
    """Every field of every finding; numbers to the last digits that two processors agree on."""
    columns, rows = told_rows(read_measured(Store(SNAPSHOTS / name)).findings())
    found = [dict(zip(columns, row, strict=True)) for row in rows]

    assert len(found) == len(FINDINGS[name])
    for ours, theirs in zip(found, FINDINGS[name], strict=True):
        assert {key for key in theirs if not is_same(ours[key], theirs[key])} == set()


def is_same(ours: object, theirs: object) -> bool:
    """Whether two values of a field are equal; floats may differ in their last digit."""
    if isinstance(ours, float) and isinstance(theirs, float):
        return math.isclose(ours, theirs, rel_tol=1e-13, abs_tol=1e-300)
    return ours == theirs
