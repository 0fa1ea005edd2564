"""What an earlier study published: its tables, the figures in its text and its claims, read from `published/*.toml`.

Nothing is corrected here: a value stands as it stands in the study. What a study says in words has no value.
The store itself reads `published/published.tsv`: the same rows with what the audit's rules find about each.
It is made by DEADHEAT_SNAPSHOTS=write pytest tests/analysis/audit/test_table_rules.py; a test holds it to the files.
"""

from __future__ import annotations

import difflib
import functools
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from store.definition import Definition, DefinitionError, read_definition
from store.records import PublishedRow

FOLDER = Path(__file__).parent / "published"
OWN_COLUMNS = ("system", "workload")
CLAIM = "claim"

Scalar = str | int | float | bool
How = Literal["more_than", "less_than", "ratio", "difference", "sum", "product", "greater", "smaller", "fact", "words"]
Measure = Literal[
    "train_s_per_epoch", "infer_examples_per_s", "cpu_cores_busy", "memory_peak_bytes", "final_test_accuracy"
]


class StudyError(DefinitionError):
    """A study's file that cannot be used."""


class Cell(Definition):
    """A number whose unit is not that of its column."""

    value: float
    unit: str


class PublishedTable(Definition):
    """A table as the study prints it, or figures of its text in that form."""

    id: str = Field(pattern=r"^[a-z0-9_]+$")
    place: str  # where it stands in the study
    keys: list[str]  # of the first columns: system, workload, or the name of a condition
    metrics: dict[str, str]  # of the other columns: name and unit
    rows: list[list[Cell | str | int | float]]  # "": the study has nothing there
    system: str = ""
    workload: str = ""
    header: str = ""  # how the study heads the column of keys, where that is not what they are
    conditions: dict[str, Scalar] = {}
    parts: dict[str, list[str]] = {}  # a total, and the metrics that it covers


class Here(Definition):
    """Which measurements of ours answer a claim."""

    workload: str  # as the study names it: see `equal_work`
    candidate: str  # a system of the study
    baseline: str
    metric: Measure
    expected: Literal["more", "less", "equal"]  # the candidate's, as the study claims


class Claim(Definition):
    """One figure that the study derives, or one thing that it says in words."""

    id: str = Field(pattern=r"^[a-z0-9_]+$")
    place: str
    says: str  # in words of ours
    how: How
    value: float | None = None  # none: said in words
    unit: str = ""
    metric: str = CLAIM
    system: str = ""
    workload: str = ""
    of: list[list[str]] = []  # the numbers it can be made of, each a way: "table/key/.../metric"
    base: str = ""  # the system that the words make 100 %
    names: str = ""  # what the words name, where the numbers are of something else
    note: str = ""  # what its own figures, or its program, say besides
    approximate: bool = False
    known: float | None = None  # the established value of a fact
    source: str = ""  # where that stands
    here: list[Here] = []


class Side(Definition):
    """One of the systems that a study compares, and what of ours stands for it."""

    system: str
    language: str
    frameworks: list[str] = []  # of that language; empty: any
    recipes: dict[str, str] = {}  # the study's workload, and the workload of ours that trains it as published


class Study(Definition):
    """One study."""

    study: str = Field(pattern=r"^[a-z0-9_]+$")
    title: str
    year: int
    source: str
    runs: int | None = None  # behind each number; none: not stated
    conditions: dict[str, Scalar] = {}
    unequal: list[str] = []  # what differs between the programs that it compares
    equal_work: dict[str, str] = {}  # the study's workload, and the workload of ours that asks the same as equal work
    side: list[Side] = []
    table: list[PublishedTable] = []
    claim: list[Claim] = []

    def numbers(self) -> dict[str, PublishedRow]:
        """Return every row of the study by its reference: "table/key/.../metric", or "claim/id"."""
        rows = [pair for table in self.table for pair in _table_rows(self, table)]
        return dict([*rows, *((f"{CLAIM}/{claim.id}", _claim_row(self, claim)) for claim in self.claim)])


def read_study(path: Path) -> Study:
    """Return the study in a file.

    Raises
    ------
    StudyError
        If it is no TOML of a study, a row does not fit its table, or a claim names a number that is not there.
    """
    study = read_definition(path, Study, StudyError)
    for table in study.table:
        _require_rows(table, f"{path}: table {table.id}")
    _require_once([t.id for t in study.table], f"{path}: table")
    _require_once([f"{c.id}" for c in study.claim], f"{path}: claim")
    _require_once([ref for table in study.table for ref, _ in _table_rows(study, table)], f"{path}: number")
    _require_known(study, path)
    return study


@functools.cache
def read_studies(folder: Path = FOLDER) -> tuple[Study, ...]:
    """Return every study of a folder, in the order of the files' names.

    Raises
    ------
    StudyError
        As `read_study`, or if two files hold the same study.
    """
    paths = sorted(folder.glob("*.toml"))
    studies = tuple(read_study(path) for path in paths)
    _require_once([study.study for study in studies], f"{folder}: study")
    return studies


def published_rows(studies: Iterable[Study]) -> list[PublishedRow]:
    """Return the rows of several studies, one study after the other."""
    return [row for study in studies for row in study.numbers().values()]


def _table_rows(study: Study, table: PublishedTable) -> Iterator[tuple[str, PublishedRow]]:
    for row in table.rows:
        keys = dict(zip(table.keys, row, strict=False))
        for (metric, unit), cell in zip(table.metrics.items(), row[len(table.keys) :], strict=False):
            if isinstance(cell, str):
                continue
            value, unit_here = (cell.value, cell.unit) if isinstance(cell, Cell) else (float(cell), unit)
            ref = "/".join([table.id, *(_word(key) for key in row[: len(table.keys)]), metric])
            yield ref, _row(study, table, keys, metric, value, unit_here)


def _row(
    study: Study, table: PublishedTable, keys: Mapping[str, Any], metric: str, value: float, unit: str
) -> PublishedRow:
    axes = [key for key in table.keys if key not in OWN_COLUMNS]
    conditions: dict[str, Any] = {
        **study.conditions,
        **({"runs": study.runs} if study.runs else {}),
        **table.conditions,
        **{key: keys[key] for key in axes},
        **({"axes": axes} if axes else {}),
        **({"header": table.header} if table.header else {}),
        **({"parts": table.parts[metric]} if metric in table.parts else {}),
    }
    return PublishedRow(
        study=study.study,
        place=table.place,
        system=str(keys.get("system", table.system)),
        workload=str(keys.get("workload", table.workload)),
        metric=metric,
        value=value,
        unit=unit,
        conditions=json.dumps(conditions, ensure_ascii=False),
        suspicion="",
    )


def _claim_row(study: Study, claim: Claim) -> PublishedRow:
    conditions = {"says": claim.says, **({"derived_from": claim.of} if claim.of else {})}
    return PublishedRow(
        study=study.study,
        place=claim.place,
        system=claim.system,
        workload=claim.workload,
        metric=claim.metric,
        value=claim.value,
        unit=claim.unit,
        conditions=json.dumps(conditions, ensure_ascii=False),
        suspicion="",
    )


def _word(key: object) -> str:
    return str(key.value if isinstance(key, Cell) else key)


def _require_rows(table: PublishedTable, where: str) -> None:
    """Refuse rows that have not one cell per column, or text where a number stands."""
    columns = [*table.keys, *table.metrics]
    for number, row in enumerate(table.rows, start=1):
        if len(row) != len(columns):
            raise StudyError(
                f"{where}: row {number} has {len(row)} cells ({row!r}); expected {len(columns)}: "
                f'{", ".join(columns)}. Write "" where the study has nothing.'
            )
        for name, cell in zip(list(table.metrics), row[len(table.keys) :], strict=True):
            if isinstance(cell, str) and cell:
                raise StudyError(
                    f'{where}: row {number}: {name} is {cell!r}; expected a number, or "" where the study has '
                    "nothing. Write the number without quotes."
                )
    for total, parts in table.parts.items():
        for name in (total, *parts):
            _require_one_of(name, table.metrics, f"{where}: parts", "metric")


def _require_known(study: Study, path: Path) -> None:
    """Refuse claims about numbers, systems or workloads that the study does not have."""
    numbers = study.numbers()
    systems = {row.system for row in numbers.values()} | {side.system for side in study.side}
    for claim in study.claim:
        where = f"{path}: claim {claim.id}"
        for ref in (ref for way in claim.of for ref in way):
            _require_one_of(ref, numbers, f"{where}: of", "number")
        if claim.base:
            _require_one_of(claim.base, systems, f"{where}: base", "system")
        for here in claim.here:
            _require_one_of(here.workload, study.equal_work, f"{where}: here.workload", "workload of equal_work")
            for system in (here.candidate, here.baseline):
                _require_one_of(system, [side.system for side in study.side], f"{where}: here", "side")


def _require_one_of(name: str, known: Iterable[str], where: str, what: str) -> None:
    names = list(known)
    if name in names:
        return
    near = difflib.get_close_matches(name, names, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else f" Known: {', '.join(names) or 'none'}."
    raise StudyError(f"{where}: {name!r} is no {what} of the study.{hint}")


def _require_once(names: Sequence[str], where: str) -> None:
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise StudyError(f"{where} {twice!r} stands twice; expected once. Rename or remove one of them.")
