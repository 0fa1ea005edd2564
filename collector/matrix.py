"""A suite file becomes cells: workloads × axes, each with its entries and its number of heats."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from collector.definition import Definition, DefinitionError, content_hash, read_definition, unknown_name
from collector.runner import RUNNERS, Entry, Runner, read_entry, read_runner
from collector.workload import WORKLOADS, Workload, read_workload

SUITES = Path(__file__).parent / "suites"

Positive = Annotated[int, Field(gt=0)]
Names = Annotated[list[str], Field(min_length=1)]


class MatrixError(DefinitionError):
    """A suite that does not exist, is wrong or asks for nothing."""


class Axes(Definition):
    """The values that a group's cells are made of; none given means the workload's own."""

    device: Annotated[list[Literal["cpu", "cuda"]], Field(min_length=1)] = ["cpu"]
    dtype: Annotated[list[Literal["fp32"]], Field(min_length=1)] = ["fp32"]
    batch_size: list[Positive] = []
    threads: Annotated[list[Positive], Field(min_length=1)] = [1]
    loader_workers: Annotated[list[Literal[0]], Field(min_length=1)] = [0]


class Exclusion(Definition):
    """What is left out of a group, and why."""

    reason: Annotated[str, Field(min_length=1)]
    runner: str | None = None
    workload: str | None = None

    def covers(self, entry: Entry, workload: str) -> bool:
        """Whether this exclusion leaves `entry` out of `workload`."""
        runner_matches = self.runner is None or self.runner in (entry.runner, str(entry))
        return runner_matches and self.workload in (None, workload)


class Group(Definition):
    """Workloads × runners × axes that share a baseline and a number of heats."""

    workloads: Names
    runners: Names
    baseline: str
    heats: Positive
    epochs: Positive | None = None
    axes: Axes = Axes()
    exclusions: list[Exclusion] = []

    @model_validator(mode="after")
    def _baseline_takes_part(self) -> Self:
        if self.baseline not in self.runners:
            raise ValueError(f"baseline {self.baseline!r} must be one of the group's runners")
        return self


class Suite(Definition):
    """A benchmark matrix; the file's name is its name."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")]
    description: str
    seed: Annotated[int, Field(ge=0, lt=2**31)]
    equivalence_margin_ratio: Annotated[float, Field(gt=0, lt=1)] = 0.03
    timeout_s: Annotated[float, Field(gt=0)] = 3600.0
    heat_attempts: Positive = 2
    group: Annotated[list[Group], Field(min_length=1)]

    @property
    def content(self) -> str:
        """A hash of everything that the suite asks for."""
        return content_hash(self.model_dump_json())


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One point of the matrix, without repetition and seed, and who competes there."""

    workload: Workload
    device: str
    dtype: str
    batch_size: int
    threads: int
    loader: Literal["resident", "stream"] = "resident"
    loader_workers: int
    epochs: int
    baseline: Entry
    candidates: tuple[Entry, ...]
    heats: int

    @property
    def key(self) -> str:
        """The cell in words: what its trials have in common."""
        work = f"{self.epochs} epochs" if self.workload.mode == "train" else f"{self.workload.steps} steps"
        parts = (self.device, self.dtype, f"batch {self.batch_size}", f"threads {self.threads}", work)
        return f"{self.workload.name} [{', '.join(parts)}]"


def known_suites(folder: Path = SUITES) -> list[str]:
    """Return the names of the suites in `folder`, sorted."""
    return sorted(path.stem for path in folder.glob("*.toml"))


def read_suite(name_or_path: str, folder: Path = SUITES) -> Suite:
    """Return the suite of that name, or in that file."""
    path = Path(name_or_path) if name_or_path.endswith(".toml") else folder / f"{name_or_path}.toml"
    if not path.exists():
        advice = "Name one of these, or the path of a .toml file that exists."
        raise MatrixError(unknown_name("suite", name_or_path, known_suites(folder), advice))
    suite = read_definition(path, Suite, MatrixError)
    if suite.name != path.stem:
        raise MatrixError(f"{path}: name: got {suite.name!r}; expected the file's own name {path.stem!r}. Rename one.")
    return suite


def expand_suite(suite: Suite, *, workloads: Path = WORKLOADS, runners: Path = RUNNERS) -> list[Cell]:
    """Return the cells of `suite` in the order of the file.

    Raises
    ------
    MatrixError
        If nothing is left, or an entry cannot run what the group asks of it.
    """
    cells = [cell for number, _ in enumerate(suite.group) for cell in _group_cells(suite, number, workloads, runners)]
    if not cells:
        raise MatrixError(
            f"suite {suite.name}: the matrix is empty: every entry is excluded; expected at least one cell. "
            "Remove an exclusion or add a runner."
        )
    _refuse_twins(suite, cells)
    return cells


def _refuse_twins(suite: Suite, cells: list[Cell]) -> None:
    """Raise where a cell, or an entry inside one, occurs twice: their runs could not be told apart."""
    for what, names in (
        ("the cell", [cell.key for cell in cells]),
        *((f"{cell.key}: the entry", [str(e) for e in (cell.baseline, *cell.candidates)]) for cell in cells),
    ):
        if twins := sorted({name for name in names if names.count(name) > 1}):
            raise MatrixError(
                f"suite {suite.name}: {what} {twins[0]} occurs twice; expected every one once. Remove one of them; "
                "a bare runner name means its default variant."
            )


def _group_cells(suite: Suite, number: int, workloads: Path, runners: Path) -> Iterator[Cell]:
    group = suite.group[number]
    where = f"suite {suite.name}: group {number + 1}"
    entries = [read_entry(name, runners) for name in group.runners]
    for name in (e.runner for e in group.exclusions if e.runner):
        read_entry(name, runners)
    baseline = read_entry(group.baseline, runners)
    for name in group.workloads:
        workload = read_workload(name, workloads)
        competing = _competing(group, entries, workload, where, runners)
        if baseline not in competing:
            if competing:
                raise MatrixError(
                    f"{where}: {name}: the baseline {baseline} is excluded; expected it among the entries, because "
                    "every comparison is made against it. Name another baseline or exclude the workload."
                )
            continue
        yield from _axis_cells(group, workload, baseline, tuple(e for e in competing if e != baseline))


def _competing(group: Group, entries: Sequence[Entry], workload: Workload, where: str, runners: Path) -> list[Entry]:
    """Return the entries left in `workload`; one that cannot run it must be excluded with a reason."""
    left = [e for e in entries if not any(x.covers(e, workload.name) for x in group.exclusions)]
    for entry in left:
        runner = read_runner(entry.runner, runners)
        if workload.name not in runner.workloads:
            raise MatrixError(
                f"{where}: {entry} does not support the workload {workload.name!r}; it supports "
                f"{', '.join(runner.workloads)}. Add an exclusion with a reason, or take it out."
            )
        _check_axes(group.axes, entry, runner, where)
    return left


def _check_axes(axes: Axes, entry: Entry, runner: Runner, where: str) -> None:
    for axis, wanted, offered in (("device", axes.device, runner.devices), ("dtype", axes.dtype, runner.dtypes)):
        if missing := [value for value in wanted if value not in offered]:
            raise MatrixError(
                f"{where}: axes.{axis}: {entry} does not support {missing[0]!r}; it supports {', '.join(offered)}. "
                "Put the runners that do into a group of their own."
            )


def _axis_cells(group: Group, workload: Workload, baseline: Entry, candidates: tuple[Entry, ...]) -> Iterator[Cell]:
    axes = group.axes
    batch_sizes = axes.batch_size or [workload.batch_size]
    for device, dtype, batch_size, threads, workers in itertools.product(
        axes.device, axes.dtype, batch_sizes, axes.threads, axes.loader_workers
    ):
        yield Cell(
            workload=workload,
            device=device,
            dtype=dtype,
            batch_size=batch_size,
            threads=threads,
            loader_workers=workers,
            epochs=(group.epochs or workload.epochs) if workload.mode == "train" else 1,
            baseline=baseline,
            candidates=candidates,
            heats=group.heats,
        )
