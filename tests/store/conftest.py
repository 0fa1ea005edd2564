"""Stores to test with."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from store.database import Store
from tests.store.rows import DAY, whole_run


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Return a store that does not exist yet."""
    return Store(tmp_path / "results")


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a store with the runs r1 and r2, to be copied: writing to the disk itself is slow."""
    made = Store(tmp_path_factory.mktemp("template") / "results")
    for run_id in ("r1", "r2"):
        made.append(run_id, whole_run(run_id), day=DAY)
    return made.path


@pytest.fixture
def filled(store: Store, template: Path) -> Store:
    """Return a store with the runs r1 and r2."""
    shutil.copytree(template, store.path)
    return store
