"""The events a runner writes: their types, the only decoder, and the order they must come in."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from store.errors import DeadheatError

E = TypeVar("E")
Count = Annotated[int, Field(ge=0)]
Seconds = Annotated[float, Field(ge=0)]
Position = Annotated[float, Field(gt=0)]  # in epochs, at the end of the pair


class EventError(DeadheatError):
    """A line that is no event, or an event out of order."""


class _Event(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)

    at_ns: int


class RunStart(_Event):
    """The first statement of the program."""

    kind: Literal["run_start"]
    unix_ns: int
    pid: int


class PhaseStop(_Event):
    """The end of a phase before training."""

    kind: Literal["import_stop", "load_stop", "preprocess_stop", "compile_stop"]


class BuildStop(_Event):
    """Model and optimizer are built, their trainable parameters counted."""

    kind: Literal["build_stop"]
    parameters: Count


class EpochStart(_Event):
    """The train clock starts; `epoch` is the position at the end of the pair."""

    kind: Literal["epoch_start"]
    epoch: Position


class FirstStepStop(_Event):
    """The very first training step is done."""

    kind: Literal["first_step_stop"]


class ChunkStop(_Event):
    """A chunk of training steps is done; `steps` counts from epoch_start."""

    kind: Literal["chunk_stop"]
    steps: Count


class EpochStop(_Event):
    """The train clock stops."""

    kind: Literal["epoch_stop"]
    epoch: Position
    examples: Count
    data_wait_s: Seconds
    train_loss: float | None = None  # mode infer has none


class EvalStart(_Event):
    """An evaluation begins."""

    kind: Literal["eval_start"]
    epoch: Position


class EvalStop(_Event):
    """The whole test set has been evaluated."""

    kind: Literal["eval_stop"]
    epoch: Position
    examples: Annotated[int, Field(gt=0)]
    correct: Count
    loss: float


class RunStop(_Event):
    """The last statement, with what the runtime itself knows."""

    kind: Literal["run_stop"]
    flushes_subnormals: bool | None = None
    threads: Count | None = None
    gc_s: Seconds | None = None
    compile_s: Seconds | None = None
    device_bytes_used: Count | None = None
    device_bytes_reserved: Count | None = None


class Diverged(_Event):
    """The loss is not finite any more."""

    kind: Literal["diverged"]
    epoch: float
    message: str


class Unsupported(_Event):
    """The runner cannot do this trial."""

    kind: Literal["unsupported"]
    message: str


Event = Annotated[
    RunStart
    | PhaseStop
    | BuildStop
    | EpochStart
    | FirstStepStop
    | ChunkStop
    | EpochStop
    | EvalStart
    | EvalStop
    | RunStop
    | Diverged
    | Unsupported,
    Field(discriminator="kind"),
]
EVENT: TypeAdapter[Event] = TypeAdapter(Event)

ENDINGS = ("run_stop", "diverged", "unsupported")
SETUP = ("run_start", "import_stop", "load_stop", "preprocess_stop", "build_stop")
# What may follow each kind once the set-up is over. `diverged` and `unsupported` may follow anything.
FOLLOWERS = {
    "build_stop": ("compile_stop", "run_stop"),  # mode gate has no training
    "compile_stop": ("epoch_start",),
    "epoch_start": ("first_step_stop", "chunk_stop", "epoch_stop"),
    "first_step_stop": ("chunk_stop", "epoch_stop"),
    "chunk_stop": ("chunk_stop", "epoch_stop"),
    "epoch_stop": ("eval_start", "epoch_start", "run_stop"),
    "eval_start": ("eval_stop",),
    "eval_stop": ("epoch_start", "run_stop"),
}


def decode_event(line: str, number: int) -> Event:
    """Return the event of one line; `number` counts from 1 and is named in the error."""
    try:
        return EVENT.validate_json(line)
    except ValidationError as mistakes:
        raise EventError(f"events.jsonl line {number}: {_explain(line, mistakes)}") from None


def decode_events(text: str) -> list[Event]:
    """Return the events of a whole file in their checked order.

    Raises
    ------
    EventError
        If there is no event, the last line is cut off, a line is no event or the order is wrong.
    """
    if not text:
        raise EventError("events.jsonl: is empty; expected run_start first. See log.txt for what the runner said.")
    lines = text.split("\n")
    if lines.pop():
        raise EventError(
            f"events.jsonl line {len(lines) + 1}: is cut off; expected every line to end. "
            "The runner was killed or wrote without flushing; see log.txt."
        )
    events = [decode_event(line, number) for number, line in enumerate(lines, start=1)]
    check_order(events)
    return events


def read_events(path: Path) -> list[Event]:
    """Return the events in `path`, checked."""
    try:
        return decode_events(path.read_text(encoding="utf-8"))
    except OSError:
        raise EventError("events.jsonl: was not written; expected run_start first. See log.txt.") from None
    except UnicodeDecodeError as reason:
        raise EventError(f"events.jsonl: is not UTF-8 ({reason.reason} at byte {reason.start}).") from None


def check_order(events: Sequence[Event]) -> None:
    """Raise `EventError` at the first event that may not stand where it stands, or if the ending is missing."""
    previous = ""
    for number, event in enumerate(events, start=1):
        allowed = _allowed_after(previous)
        if event.kind not in allowed:
            raise EventError(
                f"events.jsonl line {number}: {event.kind} after {previous or 'nothing'}; "
                f"expected {' or '.join(allowed) or 'no further event'}. See the order in collector/protocol/README.md."
            )
        previous = event.kind
    if previous not in ENDINGS:
        raise EventError(f"events.jsonl: ends with {previous}; expected {' or '.join(ENDINGS)} last. See log.txt.")
    _check_clock(events)
    _check_first_step(events)


def of_kind(events: Iterable[Event], kind: type[E]) -> Iterator[E]:
    """Yield the events of one type, in order."""
    return (event for event in events if isinstance(event, kind))


def _allowed_after(previous: str) -> tuple[str, ...]:
    if not previous:
        return ("run_start",)
    if previous in ENDINGS:
        return ()
    if previous in SETUP[:-1]:
        following: tuple[str, ...] = (SETUP[SETUP.index(previous) + 1],)
    else:
        following = FOLLOWERS[previous]
    return (*following, "diverged", "unsupported")


def _check_clock(events: Sequence[Event]) -> None:
    for number, (before, after) in enumerate(itertools.pairwise(events), start=2):
        if after.at_ns < before.at_ns:
            raise EventError(
                f"events.jsonl line {number}: {after.kind}.at_ns is {after.at_ns}, before line {number - 1}'s "
                f"{before.at_ns}; expected a monotonic clock. Use the runtime's monotonic clock."
            )


def _check_first_step(events: Sequence[Event]) -> None:
    numbers = [n for n, event in enumerate(events, start=1) if event.kind == "first_step_stop"]
    epochs = [n for n, event in enumerate(events, start=1) if event.kind == "epoch_stop"]
    if epochs and (len(numbers) != 1 or numbers[0] > epochs[0]):
        raise EventError(
            f"events.jsonl: first_step_stop stands on lines {numbers}; expected it once, in the first epoch pair."
        )


def _explain(line: str, mistakes: ValidationError) -> str:
    first = mistakes.errors()[0]
    if first["type"] == "json_invalid":
        return f"is not JSON ({line[:80]!r}); expected one object per line. Escape strings and write whole lines."
    if first["type"] == "union_tag_invalid":
        return f"unknown kind in {line[:80]!r}; expected one of {first['ctx']['expected_tags']}. Correct the runner."
    place = ".".join(str(part) for part in first["loc"])
    if first["type"] == "finite_number":
        return f"{place}: got {first['input']!r}; expected a finite number. Write a 'diverged' event instead."
    return f"{place or 'event'}: got {first['input']!r}; {first['msg'][:1].lower()}{first['msg'][1:]}."
