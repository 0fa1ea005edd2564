"""Data sets: what they are, where their files lie once fetched, and whether those files are right."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Self

from filelock import FileLock
from pydantic import Field, model_validator

from collector.datasets.files import CIFAR10_IMAGE, DataFiles, DataFormat
from collector.datasets.source import (
    GeneratedSource,
    RawFile,
    Report,
    Source,
    SourceError,
    copy_verified,
    fetch_files,
    work_folder,
)
from collector.datasets.synthetic import write_synthetic
from store.definition import Definition, DefinitionError, read_definition, unknown_name

DATASETS = Path(__file__).parent
MARKER = "verified.json"

Positive = Annotated[int, Field(gt=0)]


class DatasetError(DefinitionError):
    """A data set that does not exist, is not there, is damaged, or that no source delivers."""


class RawFiles(Definition):
    """The files of a data set: images and labels for `idx`, the batches in order for `cifar10_binary`."""

    train: Annotated[list[RawFile], Field(min_length=1)]
    test: Annotated[list[RawFile], Field(min_length=1)]

    def all(self) -> list[RawFile]:
        """Return the files in a fixed order."""
        return [*self.train, *self.test]


class Dataset(Definition):
    """One data set; the definition file's name is its name."""

    name: str
    title: str
    licence: str
    citation: str
    format: DataFormat
    image_shape: Annotated[tuple[Positive, Positive, Positive], Field(strict=False)]
    classes: Positive
    train_examples: Positive
    test_examples: Positive
    mean: list[float]
    std: list[Annotated[float, Field(gt=0)]]
    files: RawFiles
    sources: Annotated[list[Source], Field(min_length=1)]

    @model_validator(mode="after")
    def _channels_are_whole(self) -> Self:
        channels = self.image_shape[0]
        if not len(self.mean) == len(self.std) == channels:
            raise ValueError(f"mean and std need one value for each of the {channels} channels")
        return self

    @model_validator(mode="after")
    def _files_fit_the_format(self) -> Self:
        if self.format == "idx" and not len(self.files.train) == len(self.files.test) == 2:
            raise ValueError("format 'idx' needs two files for train and two for test: images, then labels")
        if self.format == "cifar10_binary" and self.image_shape != CIFAR10_IMAGE:
            raise ValueError(f"format 'cifar10_binary' needs image_shape {list(CIFAR10_IMAGE)}")
        return self

    @property
    def size_bytes(self) -> int:
        """Return the size of all files, uncompressed."""
        return sum(file.size_bytes for file in self.files.all())


def known_datasets(folder: Path = DATASETS) -> list[str]:
    """Return the names of the data sets in `folder`, sorted."""
    return sorted(path.stem for path in folder.glob("*.toml"))


def read_dataset(name: str, folder: Path = DATASETS) -> Dataset:
    """Return the definition of the data set called `name`."""
    path = folder / f"{name}.toml"
    if name not in known_datasets(folder):
        advice = f"Add {name}.toml to collector/datasets or correct the name."
        raise DatasetError(unknown_name("data set", name, known_datasets(folder), advice))
    dataset = read_definition(path, Dataset, DatasetError)
    if dataset.name != name:
        raise DatasetError(f"{path}: name: got {dataset.name!r}; expected the file's own name {name!r}. Correct it.")
    return dataset


def default_cache() -> Path:
    """Return the folder that fetched files are kept in: DEADHEAT_CACHE, else deadheat in the user's cache.

    Raises
    ------
    DatasetError
        If neither is named and there is no home folder.
    """
    named = os.environ.get("DEADHEAT_CACHE") or f"{os.environ.get('XDG_CACHE_HOME') or '~/.cache'}/deadheat"
    try:
        return Path(named).expanduser().absolute()
    except RuntimeError:
        raise DatasetError(
            "data sets: there is no home folder to keep them in; expected one. "
            "Name a folder in DEADHEAT_CACHE or XDG_CACHE_HOME."
        ) from None


def dataset_folder(dataset: Dataset, cache: Path | None = None) -> Path:
    """Return where the files of a data set lie in the cache."""
    return (cache or default_cache()) / "datasets" / dataset.name


def files_in(folder: Path, dataset: Dataset) -> DataFiles:
    """Return the files of a data set as they lie in `folder`, unverified."""
    return DataFiles(
        format=dataset.format,
        train=tuple(folder / file.name for file in dataset.files.train),
        test=tuple(folder / file.name for file in dataset.files.test),
        train_examples=dataset.train_examples,
        test_examples=dataset.test_examples,
        image_shape=dataset.image_shape,
        classes=dataset.classes,
        mean=tuple(dataset.mean),
        std=tuple(dataset.std),
    )


def probe_dataset(dataset: Dataset, cache: Path | None = None) -> DataFiles:
    """Return the files of a data set that was fetched; a file unchanged since it was verified is not read again.

    Raises
    ------
    DatasetError
        If it was not fetched, or a file is damaged: which, what it has, what was expected.
    """
    folder = dataset_folder(dataset, cache)
    if not any((folder / file.name).exists() for file in dataset.files.all()):
        raise DatasetError(
            f"data set {dataset.name}: is not in {folder}; expected its verified files. "
            f"Get them: deadheat data fetch {dataset.name}"
        )
    marks = _read_marks(folder)
    flaws = {file.name: _flaw(folder, file, marks.get(file.name)) for file in dataset.files.all()}
    flawed = [f"{folder / name}: {flaw}. " for name, flaw in flaws.items() if flaw]
    if flawed:
        raise DatasetError(f"data set {dataset.name}: {''.join(flawed)}Repair it: deadheat data fetch {dataset.name}")
    with contextlib.suppress(OSError):  # a cache that others keep may be read-only
        _write_marks(folder, dataset, marks)
    return files_in(folder, dataset)


def fetch_dataset(
    dataset: Dataset,
    *,
    cache: Path | None = None,
    sources: Sequence[Source] | None = None,
    report: Report = lambda *_: None,
) -> DataFiles:
    """Return the files of a data set after verifying each in full and fetching those that are missing or damaged.

    Parameters
    ----------
    dataset : Dataset
        What to fetch.
    cache : Path, optional
        The cache folder; `default_cache()` if None.
    sources : sequence of Source, optional
        Where to look, in order; the data set's own sources if None.
    report : callable
        Told (what, bytes done, bytes in all or None) as it goes on.

    Raises
    ------
    DatasetError
        If no source delivers; the message lists each and why.
    """
    folder = dataset_folder(dataset, cache)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / ".lock"):
            _fetch_missing(dataset, folder, dataset.sources if sources is None else sources, report)
            _write_marks(folder, dataset, {})
    except (PermissionError, NotADirectoryError, FileExistsError) as reason:
        raise DatasetError(
            f"data set {dataset.name}: {reason.filename}: {reason.strerror}; expected a cache that can be written. "
            "Name another one in DEADHEAT_CACHE."
        ) from None
    return files_in(folder, dataset)


def _fetch_missing(dataset: Dataset, folder: Path, sources: Sequence[Source], report: Report) -> None:
    """Fetch what is missing or damaged, asking one source after the other."""
    reasons: list[str] = []
    for source in sources:
        missing = _missing(dataset, folder)
        if not missing:
            return
        try:
            if isinstance(source, GeneratedSource):
                _generate(dataset, source, missing, folder)
            else:
                fetch_files(source, missing, folder, report)
        except SourceError as reason:
            reasons.append(f"  {source}: {reason}")
    missing = _missing(dataset, folder)
    if missing:
        raise _not_delivered(dataset, missing, reasons)


def _generate(dataset: Dataset, source: GeneratedSource, files: Sequence[RawFile], folder: Path) -> None:
    with work_folder(folder) as work:
        write_synthetic(files_in(work, dataset), source.seed)
        for file in files:
            copy_verified(work / file.name, file, folder)


def _missing(dataset: Dataset, folder: Path) -> list[RawFile]:
    return [file for file in dataset.files.all() if _flaw(folder, file, None)]


def _not_delivered(dataset: Dataset, missing: Sequence[RawFile], reasons: Sequence[str]) -> DatasetError:
    names = ", ".join(file.name for file in missing)
    return DatasetError(
        f"data set {dataset.name}: could not fetch {names}; expected one of its sources to have them whole:\n"
        + "\n".join(reasons)
        + f"\nConnect to the network, or get the files otherwise: deadheat data fetch {dataset.name} --from FOLDER"
    )


def _flaw(folder: Path, file: RawFile, mark: object) -> str:
    """Return what is wrong with a file, or nothing; one that still fits its mark is not read."""
    path = folder / file.name
    if not path.is_file():
        return "is missing"
    size = path.stat().st_size
    if size != file.size_bytes:
        return f"has {size} bytes; expected {file.size_bytes}"
    if mark == _mark(folder, file):
        return ""
    with path.open("rb") as content:
        found = hashlib.file_digest(content, "sha256").hexdigest()
    return "" if found == file.sha256 else f"sha256 is {found}; expected {file.sha256}"


def _mark(folder: Path, file: RawFile) -> dict[str, int | str]:
    """Return what a verified file looked like."""
    status = (folder / file.name).stat()
    return {"sha256": file.sha256, "size_bytes": status.st_size, "mtime_ns": status.st_mtime_ns}


def _read_marks(folder: Path) -> dict[str, object]:
    try:
        marks = json.loads((folder / MARKER).read_bytes())
    except (OSError, ValueError):
        return {}
    return marks if isinstance(marks, dict) else {}


def _write_marks(folder: Path, dataset: Dataset, known: dict[str, object]) -> None:
    """Note that every file was verified as it is now."""
    marks = {file.name: _mark(folder, file) for file in dataset.files.all()}
    if marks != known:
        temporary = folder / f".{MARKER}.{os.getpid()}"
        temporary.write_text(json.dumps(marks, indent=1), encoding="utf-8")
        temporary.replace(folder / MARKER)
