"""What the site of a fresh clone says: the snapshots that deadheat brings, and nothing of this machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from analysis.pages.all_pages import result_pages
from analysis.results.reader import read_results
from store.database import Store
from store.snapshot import SNAPSHOTS, read_snapshots
from tests.analysis.sites import visible_text


@pytest.fixture(scope="module")
def front_page(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Make the front page of a store that does not exist."""
    snapshots = read_snapshots()
    nothing = Path(tmp_path_factory.mktemp("fresh") / "none")
    store = Store(nothing, beside=[SNAPSHOTS / snapshot.name for snapshot in snapshots])
    pages = {made.path: made.text for made in result_pages(read_results(store, snapshots))}
    return visible_text(pages["index.md"])


def test_three_languages_stand_side_by_side_with_verdicts(front_page: str) -> None:
    """Real Flux and real Axon, beside real PyTorch."""
    assert "elixir_axon: slower on both clocks" in front_page
    assert "julia_flux: slower on both clocks" in front_page
    assert "against python_pytorch" in front_page
    assert "not yet measured" not in front_page


def test_versions_stand_beside_the_names_with_what_nobody_has_run(front_page: str) -> None:
    """Who reads a verdict on Flux or Axon sees at once of which."""
    assert "Flux 0.12.4, zygote · Julia 1.5.3" in front_page
    assert "Axon 0.8.1, torchx · Elixir 1.18.4" in front_page
    assert "exla, exla_loop (no XLA for EXLA could be had)" in front_page
    assert "Flux 0.16 (only 0.12.4 could be had" in front_page
