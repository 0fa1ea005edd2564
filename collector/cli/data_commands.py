"""The commands `deadheat data`: get the data sets, and see what is there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn, TransferSpeedColumn

from collector.datasets.dataset import (
    Dataset,
    DatasetError,
    dataset_folder,
    fetch_dataset,
    known_datasets,
    probe_dataset,
    read_dataset,
)
from collector.datasets.source import FolderSource, Report
from store.database import Rows
from store.output import Format, write_rows

data_app = typer.Typer(no_args_is_help=True, help="Get the data sets. Example: deadheat data fetch mnist")


@data_app.command()
def fetch(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME]...", help="Data sets; `deadheat data list` shows them.")
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="All data sets.")] = False,
    folder: Annotated[Path | None, typer.Option("--from", help="A folder to look into first.")] = None,
) -> None:
    """Get data sets, each from the first source that has it, and verify every file.

    Example: deadheat data fetch mnist cifar10
    """
    if bool(names) is every:
        raise DatasetError(
            f"data fetch: got {'names and --all' if names else 'no name'}; expected names or --all. "
            f"Known data sets: {', '.join(known_datasets())}."
        )
    given = [FolderSource(kind="folder", path=str(folder))] if folder else []
    for dataset in list(map(read_dataset, names or known_datasets())):
        with _progress() as report:
            fetch_dataset(dataset, sources=[*given, *dataset.sources], report=report)
        typer.echo(f"{dataset.name}: verified in {dataset_folder(dataset)}")


@data_app.command("list")
def list_datasets(
    form: Annotated[Format, typer.Option("--format", help="How the list is written.")] = Format.TABLE,
) -> None:
    """List the data sets with their state, size, licence and citation.

    Example: deadheat data list
    """
    names = ["name", "state", "size_bytes", "licence", "title", "citation", "folder"]
    write_rows(Rows(names, [_row(read_dataset(name)) for name in known_datasets()]), form)


def _row(dataset: Dataset) -> tuple[str | int, ...]:
    described = (dataset.size_bytes, dataset.licence, dataset.title, dataset.citation)
    return (dataset.name, _state(dataset), *described, str(dataset_folder(dataset)))


def _state(dataset: Dataset) -> str:
    try:
        probe_dataset(dataset)
    except DatasetError:
        return "damaged" if any((dataset_folder(dataset) / f.name).exists() for f in dataset.files.all()) else "absent"
    return "ready"


@contextmanager
def _progress() -> Iterator[Report]:
    """Show a bar per file on a terminal's standard error."""
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        tasks: dict[str, TaskID] = {}

        def report(what: str, done: int, total: int | None) -> None:
            if what not in tasks:
                tasks[what] = progress.add_task(what, total=total)
            progress.update(tasks[what], completed=done, total=total)

        yield report
