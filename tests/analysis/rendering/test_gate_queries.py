"""What the gate said here and elsewhere: the store's own results decide, the others are marked."""

from __future__ import annotations

import dataclasses
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from analysis.frames.views import latest_gates
from analysis.pages.gate import gate_page
from analysis.rendering.gate_queries import gates
from analysis.results.reader import read_results
from analysis.results.results import titles_of
from store.database import Store
from store.records import GateRow
from tests.analysis.builders import START, contender, gate_row
from tests.analysis.pages.test_listings import OWLS, shown

LATER = START + timedelta(days=1)
TITLES = titles_of([OWLS])
PYTORCH = contender()


def store_of(folder: Path, own: list[GateRow], others: list[GateRow]) -> Store:
    """Return a store with results of its own, beside a snapshot with others."""
    for name, rows in (("own", own), ("barn", others)):
        if rows:
            Store(folder / name).append("gates", rows, day=START.date())
    return Store(folder / "own", beside=[folder / "barn"])


def elsewhere(**changes: Any) -> GateRow:
    """Return a part that was passed on the snapshot's machine, later than anything here."""
    return gate_row(**{"gate_id": "theirs", "gated_at": LATER, **changes})


def here(**changes: Any) -> GateRow:
    """Return a part that was not passed here."""
    return gate_row(**{"gate_id": "ours", "campaign_id": "", "passed": False, **changes})


def latest(store: Store) -> list[tuple[Any, ...]]:
    """Return what counts: workload, part, whether it was passed, and where it was, if not here."""
    return store.rows(f"SELECT workload, part, passed, elsewhere FROM ({latest_gates(TITLES)}) ORDER BY ALL").values


def test_an_own_failure_is_not_hidden_by_a_newer_pass_elsewhere(tmp_path: Path) -> None:
    """Nor by parts that were not even tried here."""
    store = store_of(tmp_path, [here()], [elsewhere(), elsewhere(part="B")])

    assert latest(store) == [("mnist_mlp", "A", False, "")]


def test_what_only_a_snapshot_knows_is_there_with_its_title(tmp_path: Path) -> None:
    """Another workload, another optimizer, and a form that nobody noted are each their own."""
    old = {"optimizer": None, "loader": None}
    others = [elsewhere(workload="mnist_lenet"), elsewhere(optimizer="sgd"), elsewhere(**old)]
    store = store_of(tmp_path, [here(), here(**old)], others)

    title = OWLS.title
    assert latest(store) == [
        ("mnist_lenet", "A", True, title),
        ("mnist_mlp", "A", False, ""),
        ("mnist_mlp", "A", False, ""),
        ("mnist_mlp", "A", True, title),
    ]


def test_the_last_gating_counts_on_either_side(tmp_path: Path) -> None:
    """As in the view: parts of an older gating do not stay beside those of a newer one."""
    own = [here(), here(gate_id="again", passed=True, gated_at=LATER), here(part="B")]
    others = [
        elsewhere(workload="mnist_lenet", part="B"),
        elsewhere(workload="mnist_lenet", gate_id="again", gated_at=LATER + timedelta(days=1)),
    ]

    assert latest(store_of(tmp_path, own, others)) == [
        ("mnist_lenet", "A", True, OWLS.title),
        ("mnist_mlp", "A", True, ""),
    ]


@pytest.mark.parametrize("titles", [{}, TITLES])
def test_the_query_of_the_page_gives_the_frame_of_the_page(tmp_path: Path, titles: dict[str, str]) -> None:
    """With snapshots and without: the same results, in the same number."""
    store = store_of(tmp_path, [here()], [elsewhere(workload="mnist_lenet")])
    shown_rows = read_results(store, [OWLS] if titles else []).gates
    asked = store.query(gates(titles))

    columns = ["workload", "part", "passed", "elsewhere"]
    assert sorted(asked[columns].values.tolist()) == sorted(shown_rows[columns].values.tolist())


def test_the_page_says_what_was_proved_here_and_what_elsewhere(tmp_path: Path) -> None:
    """In the matrix, part by part, and beside each entry."""
    store = store_of(tmp_path, [here()], [elsewhere(), elsewhere(workload="mnist_lenet")])
    results = dataclasses.replace(read_results(store, [OWLS]), roster=(PYTORCH,))
    text = shown(gate_page(results))

    assert "python_pytorch:eager ✓ 1 elsewhere ✕ FAIL A in 1 of 1" in text
    assert "0 of 1 workload; elsewhere 1 of 1 workload (Owls in a barn) Python PyTorch" in text
    assert "cpu fp32 ✓ 1 % – Owls in a barn" in text
    assert "known from a snapshot only" in text


def test_a_failure_elsewhere_says_so(tmp_path: Path) -> None:
    """Beside what it failed with."""
    store = store_of(tmp_path, [], [elsewhere(passed=False)])
    text = shown(gate_page(read_results(store, [OWLS])))

    assert "mnist_mlp adam, resident, cpu, fp32, elsewhere: Owls in a barn A a.losses" in text
    assert "✕ FAIL A in 1 of 1, elsewhere" in text
