"""What a person asks for on the command line: a suite, or runners and workloads with their axes."""

from __future__ import annotations

import functools
import inspect
import itertools
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any

import typer

from collector.plan.axes import Axes
from collector.plan.matrix import Group, MatrixError, Suite, known_suites, read_suite
from collector.plan.workload import WORKLOADS, read_workload
from store.definition import validate_definition

RATES = ("learning_rate", "weight_decay")
DEFAULT_SEED = 20260101
DEFAULT_HEATS = 10
AXES = tuple(Axes.model_fields)


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """The options of `plan` and `run` that say what is run; `axes` has those that were given, as written."""

    suite: Annotated[str | None, typer.Argument(metavar="[SUITE]", help="Name of a suite, or the path of a .toml.")]
    subset: Annotated[bool, typer.Option("--subset", help="One heat, one epoch, first and last value of each axis.")]
    runner: Annotated[str, typer.Option(help="Runners instead of a suite's, separated by commas; first the baseline.")]
    workload: Annotated[str, typer.Option(help="Workloads instead of a suite's, separated by commas.")]
    heats: Annotated[int | None, typer.Option(min=1, help=f"Heats of each cell; {DEFAULT_HEATS} when not given.")]
    repetitions: Annotated[str | None, typer.Option(help="fixed, pilot or looks: what fixes the number of heats.")]
    seed: Annotated[int | None, typer.Option(min=0, help="Seed of weights, batch order, dropout and order of runs.")]
    mode: Annotated[str | None, typer.Option(help="train, steps or infer instead of the workload's own.")]
    steps: Annotated[int | None, typer.Option(min=1, help="Steps or forward passes in modes steps and infer.")]
    axes: dict[str, str]

    @property
    def beside_a_suite(self) -> list[str]:
        """The options given that have no place beside a suite."""
        names = ("runner", "workload", "heats", "repetitions", "seed", "mode", "steps")
        given = [name for name in names if getattr(self, name) not in (None, "")]
        return [option_name(name) for name in (*given, *self.axes)]


def option_name(field: str) -> str:
    """Return how an option is written.

    >>> option_name("batch_size")
    '--batch-size'
    """
    return "--" + field.replace("_", "-")


def with_choice(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command, which takes one `choice`, an option for each field of `Choice` and for each axis."""
    own = [p for p in inspect.signature(command, eval_str=True).parameters.values() if p.name != "choice"]
    offered = _parameters()

    @functools.wraps(command)
    def chosen(**options: Any) -> None:
        taken = {name: options.pop(name) for name in (parameter.name for parameter in offered)}
        axes = {name: text for name in AXES if (text := taken.pop(name)) is not None}
        command(Choice(axes=axes, **taken), **options)

    chosen.__signature__ = inspect.Signature([*offered, *own])  # type: ignore[attr-defined]
    chosen.__annotations__ = {parameter.name: parameter.annotation for parameter in (*offered, *own)}
    return chosen


def _parameters() -> list[inspect.Parameter]:
    hints = inspect.get_annotations(Choice, eval_str=True)
    defaults = {"subset": False, "runner": "", "workload": ""}
    kinds = {field.name: (hints[field.name], defaults.get(field.name)) for field in fields(Choice)}
    del kinds["axes"]
    for name, axis in Axes.model_fields.items():
        kinds[name] = (Annotated[str | None, typer.Option(help=f"{axis.description}, separated by commas.")], None)
    return [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=kind)
        for name, (kind, default) in kinds.items()
    ]


def choose_suite(choice: Choice, *, workloads: Path = WORKLOADS) -> Suite:
    """Return the suite that was named, or one made of the runners, workloads and axes given instead.

    Raises
    ------
    MatrixError
        If both were given, or neither, or a value makes no sense.
    """
    if choice.suite:
        if choice.beside_a_suite:
            raise MatrixError(
                f"suite {choice.suite}: {', '.join(choice.beside_a_suite)} cannot be given too; expected either a "
                "suite or --runner and --workload with what they are to do. Leave one out."
            )
        suite = read_suite(choice.suite)
        return subset_of(suite, workloads) if choice.subset else suite
    if choice.subset:
        raise MatrixError("--subset: no suite was named; expected the suite to take it of. Name one.")
    if not (choice.runner and choice.workload):
        raise MatrixError(
            f"no suite was named; expected one of {', '.join(known_suites())}, or --runner and --workload. "
            "Example: deadheat run demo"
        )
    return _own_suite(choice)


def _own_suite(choice: Choice) -> Suite:
    runners = choice.runner.split(",")
    group = {
        "workloads": choice.workload.split(","),
        "runners": runners,
        "baseline": runners[0],
        "heats": choice.heats or DEFAULT_HEATS,
        "repetitions": choice.repetitions or "fixed",
        "mode": choice.mode,
        "steps": choice.steps,
        "axes": {name: _values(name, text) for name, text in choice.axes.items()},
    }
    content = {
        "name": "chosen",
        "description": "Chosen on the command line",
        "seed": DEFAULT_SEED if choice.seed is None else choice.seed,
        "group": [group],
    }
    return validate_definition(content, Suite, MatrixError, where="command line")


def _values(name: str, text: str) -> list[int | float | str]:
    """Return the values of an axis; raise where a comma may stand for a decimal point or between thousands."""
    items = [item.strip() for item in text.split(",")]
    for first, second in itertools.pairwise(items):
        both = first.isdecimal() and second.isdecimal()
        if both and (name in RATES or (second.startswith("0") and len(second) > 1)):
            meant = f"{first}.{second}" if name in RATES else f"{first}{second}"
            raise MatrixError(
                f"--{name.replace('_', '-')}: got {text!r}; expected values separated by commas, with a point in a "
                f"decimal. Write {meant}, or {first}.0,{second.lstrip('0') or '0'}.0 for two values."
            )
    return [_value(item) for item in items]


def _value(text: str) -> int | float | str:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def subset_of(suite: Suite, workloads: Path = WORKLOADS) -> Suite:
    """Return the suite in small: one heat, one epoch, the first and the last value of each axis."""
    groups = [_subset_group(group, workloads) for group in suite.group]
    changes = {"name": f"{suite.name}_subset", "description": f"{suite.description} (subset)", "group": groups}
    return suite.model_copy(update=changes)


def _subset_group(group: Group, workloads: Path) -> Group:
    modes = {group.mode or read_workload(name, workloads).mode for name in group.workloads}
    axes = group.axes.ends()
    if "train" in modes:
        axes = axes.model_copy(update={"epochs": [1]})
    return group.model_copy(update={"heats": 1, "repetitions": "fixed", "axes": axes})


def refusal_lines(reasons: Sequence[str]) -> list[str]:
    """Return why entries do not take part in cells, each reason once with its number of cells."""
    counts = Counter(reasons)
    return [f"unsupported in {n} {'cell' if n == 1 else 'cells'}: {reason}" for reason, n in counts.items()]
