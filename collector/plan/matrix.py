"""A suite file becomes cells: workloads × axes, each with its entries and its number of heats."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Self, get_args

from pydantic import Field, field_validator, model_validator

from collector.datasets.dataset import read_dataset
from collector.plan.axes import Axes, Change, effective_workload
from collector.plan.repetition import UNTIL_DECIDED, Rule, reason_refused
from collector.plan.runner import RUNNERS, Entry, Mode, Names, Runner, read_entry, read_runner
from collector.plan.workload import WORKLOADS, Positive, Workload, read_workload
from store.definition import Definition, DefinitionError, content_hash, read_definition, unknown_name

SUITES = Path(__file__).parent.parent / "suites"


class MatrixError(DefinitionError):
    """A suite that does not exist, is wrong or asks for nothing."""


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
    repetitions: Rule = "fixed"
    mode: Mode | None = None  # the workload's own
    steps: Positive | None = None  # in modes steps and infer
    axes: Axes = Axes()
    exclusions: list[Exclusion] = []

    @field_validator("repetitions", mode="before")
    @classmethod
    def _is_fixed_in_advance(cls, rule: object) -> object:
        if rule not in get_args(Rule):
            raise ValueError(f"expected {UNTIL_DECIDED}")
        return rule

    @model_validator(mode="after")
    def _heats_fit_the_rule(self) -> Self:
        if reason := reason_refused(self.repetitions, self.heats):
            raise ValueError(f"expected a number of heats that its rule allows: {reason}; here heats = {self.heats}")
        return self

    @model_validator(mode="after")
    def _baseline_takes_part(self) -> Self:
        if self.baseline not in self.runners:
            raise ValueError(f"baseline {self.baseline!r} must be one of the group's runners")
        return self

    @model_validator(mode="after")
    def _inference_trains_nothing(self) -> Self:
        axes = self.axes
        if self.mode == "infer" and (axes.optimizer or axes.learning_rate or axes.weight_decay):
            raise ValueError("mode 'infer' trains nothing and takes no optimizer, learning_rate or weight_decay")
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

    workload: Workload  # as it is run: with the mode, steps and optimizer that the group asks for
    device: str
    dtype: str
    batch_size: int
    threads: int
    loader: str
    loader_workers: int
    epochs: int
    baseline: Entry
    candidates: tuple[Entry, ...]
    heats: int
    repetitions: Rule = "fixed"

    @property
    def entries(self) -> tuple[Entry, ...]:
        """Who competes, the baseline first."""
        return (self.baseline, *self.candidates)

    @property
    def track(self) -> str:
        """The rules it is run by: `published` is a study's own recipe; a loader's own order makes it `open`."""
        if self.workload.track == "closed" and self.loader == "stream":
            return "open"
        return self.workload.track

    @property
    def key(self) -> str:
        """The cell in words: what its trials have in common."""
        parts = [self.device, self.dtype, f"batch {self.batch_size}", f"threads {self.threads}"]
        if self.loader == "stream" or self.loader_workers:
            parts.append(f"{self.loader} loader, workers {self.loader_workers}")
        if self.workload.mode != "infer":
            optimizer = self.workload.optimizer
            decay = f" decay {optimizer.weight_decay:g}" if optimizer.weight_decay else ""
            parts.append(f"{optimizer.label} {optimizer.learning_rate:g}{decay}")
        work = {"train": f"{self.epochs} epochs", "steps": f"{self.workload.steps} steps"}
        parts.append(work.get(self.workload.mode, f"{self.workload.steps} forward passes"))
        return f"{self.workload.name} [{', '.join(parts)}]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """An entry that cannot do what a cell asks, and why."""

    cell: Cell
    entry: Entry
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Matrix:
    """What a suite asks for: the cells that can be run, and what of it cannot."""

    cells: list[Cell]
    refusals: list[Refusal]


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
    """Return the cells of `suite` that can be run, in the order of the file."""
    return expand_matrix(suite, workloads=workloads, runners=runners).cells


def expand_matrix(suite: Suite, *, workloads: Path = WORKLOADS, runners: Path = RUNNERS) -> Matrix:
    """Return the cells of `suite` in the order of the file, without the entries that cannot run them, and those.

    Raises
    ------
    MatrixError
        If nothing is left that can be run.
    """
    asked = [cell for number, _ in enumerate(suite.group) for cell in _group_cells(suite, number, workloads, runners)]
    if not asked:
        raise MatrixError(
            f"suite {suite.name}: the matrix is empty: every entry is excluded; expected at least one cell. "
            "Remove an exclusion or add a runner."
        )
    _refuse_twins(suite, asked)
    refusals = [refusal for cell in asked for refusal in _refusals(cell, runners)]
    refused = {(refusal.cell.key, refusal.entry) for refusal in refusals}
    cells = [
        replace(cell, candidates=tuple(e for e in cell.candidates if (cell.key, e) not in refused))
        for cell in asked
        if (cell.key, cell.baseline) not in refused
    ]
    if not cells:
        reasons = "\n  ".join(dict.fromkeys(refusal.reason for refusal in refusals))
        raise MatrixError(
            f"suite {suite.name}: nothing of it can be run; expected at least one cell that its baseline supports. "
            f"Change what it asks for:\n  {reasons}"
        )
    return Matrix(cells=cells, refusals=refusals)


def _refusals(cell: Cell, runners: Path) -> list[Refusal]:
    """Return who cannot run `cell`; without its baseline nobody can be compared."""
    reasons = {entry: reason_unsupported(cell, entry, read_runner(entry.runner, runners)) for entry in cell.entries}
    if reasons[cell.baseline]:
        alone = f"not run, because its baseline cannot: {reasons[cell.baseline]}"
        reasons = {entry: reason or alone for entry, reason in reasons.items()}
    return [Refusal(cell=cell, entry=entry, reason=reason) for entry, reason in reasons.items() if reason]


def reason_unsupported(cell: Cell, entry: Entry, runner: Runner) -> str:
    """Return why `entry` cannot run `cell`, or an empty string."""
    workload, offered = cell.workload, runner.offers(entry.variant)
    asked = {"workload": workload.name, "device": cell.device, "dtype": cell.dtype, "loader": cell.loader}
    asked["mode"] = workload.mode
    if workload.mode != "infer":
        asked["optimizer"] = workload.optimizer.name
    for what, value in asked.items():
        if value not in offered[what]:
            return f"{entry} does not support the {what} {value!r}; it supports {', '.join(offered[what])}"
    return _contradiction(cell)


def _contradiction(cell: Cell) -> str:
    """Return why nobody can run `cell`, or an empty string."""
    if cell.dtype == "tf32" and cell.device == "cpu":
        return "tf32 is a format of NVIDIA GPUs; the device is cpu"
    if cell.loader == "resident":
        return (
            f"the resident loader has no workers; {cell.loader_workers} were asked for" if cell.loader_workers else ""
        )
    if cell.workload.mode == "infer":
        return "mode 'infer' predicts resident batches; the loader 'stream' feeds training only"
    if cell.workload.last_batch != "smaller":
        wanted = cell.workload.last_batch
        return f"the loader 'stream' ends an epoch with a smaller batch; this recipe wants it {wanted}"
    examples = read_dataset(cell.workload.dataset).train_examples
    if cell.workload.mode == "steps" and cell.workload.steps * cell.batch_size > examples:
        return (
            f"the loader 'stream' delivers one epoch of {examples} examples in mode 'steps'; "
            f"{cell.workload.steps} steps of {cell.batch_size} are more"
        )
    return ""


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
    chosen = [read_workload(name, workloads) for name in group.workloads]
    _check_modes(group, chosen, where)
    for workload in chosen:
        competing = [e for e in entries if not any(x.covers(e, workload.name) for x in group.exclusions)]
        if baseline not in competing:
            if competing:
                raise MatrixError(
                    f"{where}: {workload.name}: the baseline {baseline} is excluded; expected it among the entries, "
                    "because every comparison is made against it. Name another baseline or exclude the workload."
                )
            continue
        yield from _axis_cells(group, workload, baseline, tuple(e for e in competing if e != baseline))


def _check_modes(group: Group, workloads: Sequence[Workload], where: str) -> None:
    """Raise where epochs or steps are asked of workloads that have none in their mode."""
    modes = {group.mode or workload.mode for workload in workloads}
    if group.axes.epochs and "train" not in modes:
        raise MatrixError(
            f"{where}: axes.epochs: got {group.axes.epochs}; expected none, because no workload here runs in mode "
            "'train'. Set mode = \"train\" (--mode train) or leave the epochs out."
        )
    if group.steps is not None and modes == {"train"}:
        raise MatrixError(
            f"{where}: steps: got {group.steps}; expected none, because every workload here runs in mode 'train'. "
            'Set mode = "steps" or "infer" (--mode), or leave the steps out.'
        )


def _axis_cells(group: Group, workload: Workload, baseline: Entry, candidates: tuple[Entry, ...]) -> Iterator[Cell]:
    for point in group.axes.points():
        change = Change(
            mode=group.mode,
            steps=group.steps,
            optimizer=point["optimizer"],
            learning_rate=point["learning_rate"],
            weight_decay=point["weight_decay"],
        )
        effective = effective_workload(workload, change)
        trains = effective.mode == "train"
        if not trains and point["epochs"] not in (None, *group.axes.epochs[:1]):
            continue  # a workload without epochs has one cell, however many numbers of epochs the others have
        yield Cell(
            workload=effective,
            device=point["device"],
            dtype=point["dtype"],
            batch_size=point["batch_size"] or workload.batch_size,
            threads=point["threads"],
            loader=point["loader"],
            loader_workers=point["loader_workers"],
            epochs=(point["epochs"] or workload.epochs) if trains else 1,
            baseline=baseline,
            candidates=candidates,
            heats=group.heats,
            repetitions=group.repetitions,
        )
