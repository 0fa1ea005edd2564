"""What many tests need: small data in the published format, a store, and the fake runner's setting."""

from __future__ import annotations

import signal
from pathlib import Path

import numpy as np
import pytest

from collector.campaign.context import Setting
from collector.datasets.files import DataFiles, write_idx
from collector.machine.environment import probe_environment
from collector.run.local_executor import LocalExecutor
from store.database import Store
from store.records import EnvironmentRow

# A shell starts what runs in the background with Ctrl-C ignored, and so would be all that the tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)

TRAIN_EXAMPLES, TEST_EXAMPLES = 700, 520  # not a multiple of any batch size in use


@pytest.fixture(scope="session")
def small_data(tmp_path_factory: pytest.TempPathFactory) -> DataFiles:
    """Return IDX files of random images: for tests in which nothing has to be learned."""
    folder = tmp_path_factory.mktemp("small_data")
    generator = np.random.default_rng(7)
    for name, count in (("train", TRAIN_EXAMPLES), ("t10k", TEST_EXAMPLES)):
        images = generator.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        write_idx(folder / f"{name}-images-idx3-ubyte", images)
        write_idx(folder / f"{name}-labels-idx1-ubyte", generator.integers(0, 10, count, dtype=np.uint8))
    return DataFiles(
        format="idx",
        train=(folder / "train-images-idx3-ubyte", folder / "train-labels-idx1-ubyte"),
        test=(folder / "t10k-images-idx3-ubyte", folder / "t10k-labels-idx1-ubyte"),
        train_examples=TRAIN_EXAMPLES,
        test_examples=TEST_EXAMPLES,
        image_shape=(1, 28, 28),
        classes=10,
        mean=(0.5,),
        std=(0.3,),
    )


@pytest.fixture
def fresh_store(tmp_path: Path) -> Store:
    """Return an empty store."""
    return Store(tmp_path / "store")


@pytest.fixture(scope="session")
def environment() -> EnvironmentRow:
    """Return this machine as it was when the tests began, so that an edit during the tests changes nothing."""
    return probe_environment({}, {})


@pytest.fixture
def fake_setting(small_data: DataFiles, environment: EnvironmentRow) -> Setting:
    """Return a setting in which every data set is the small one."""
    return Setting(executor=LocalExecutor(), data=lambda _: small_data, environment=lambda *_: environment)
