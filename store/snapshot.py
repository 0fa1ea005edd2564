"""Small real stores that deadheat brings, so that a site has content before anything was measured here.

A snapshot is a store like any other, made by `deadheat export` (see `store.export`), with a `snapshot.toml` that says
what it is: `--store store/snapshots/NAME` opens one.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field

from store.definition import Definition, DefinitionError, read_definition

SNAPSHOTS = Path(__file__).parent / "snapshots"
ABOUT = "snapshot.toml"
NAME_PATTERN = r"^[a-z0-9][a-z0-9._-]{0,79}$"
NAME_RULE = "1 to 80 small letters, digits, '.', '_' and '-', the first a letter or a digit"


class SnapshotError(DefinitionError):
    """A snapshot that cannot be read or made."""


class Snapshot(Definition):
    """What `snapshot.toml` says; the folder's name is its name."""

    name: Annotated[str, Field(pattern=NAME_PATTERN)]
    title: Annotated[str, Field(min_length=1)]  # what was measured, in words
    machine: str  # processor, cores, memory, GPU, operating system
    measured: str  # from when to when, UTC
    commit: str  # of deadheat, when it was measured
    versions: list[str]  # of frameworks and languages
    campaigns: Annotated[list[str], Field(min_length=1)]
    runs: int
    left_out: list[str]  # what the store that it was made of had besides


def read_snapshot(folder: Path) -> Snapshot:
    """Return what a folder says that it holds.

    Raises
    ------
    SnapshotError
        If it has no `snapshot.toml`, or one that is wrong or of another name.
    """
    snapshot = read_definition(folder / ABOUT, Snapshot, SnapshotError)
    if snapshot.name != folder.name:
        raise SnapshotError(
            f"{folder / ABOUT}: name: got {snapshot.name!r}; expected the folder's own name {folder.name!r}. "
            "Rename one."
        )
    return snapshot


def read_snapshots(folder: Path = SNAPSHOTS) -> tuple[Snapshot, ...]:
    """Return every snapshot in a folder, in the order of their names; of a folder that is not there, none.

    What is being made, or was left behind half done, has a name that begins with a dot.

    Raises
    ------
    SnapshotError
        If one cannot be read, or two hold the same campaign: its results would count twice.
    """
    found = tuple(read_snapshot(path.parent) for path in sorted(folder.glob(f"[!.]*/{ABOUT}")))
    holders: dict[str, str] = {}
    for snapshot in found:
        for campaign in snapshot.campaigns:
            if campaign in holders:
                raise SnapshotError(
                    f"{folder}: campaign {campaign} is in {holders[campaign]} and in {snapshot.name}; "
                    "expected it in one. Remove one of them."
                )
            holders[campaign] = snapshot.name
    return found


def snapshot_text(snapshot: Snapshot) -> str:
    """Return the text of `snapshot.toml`."""
    lines = ["# Made by deadheat export: a store without raw files and without the machine's name."]
    for key, value in snapshot.model_dump(mode="json").items():
        if isinstance(value, list):
            lines += [f"{key} = [", *(f"    {_text(item)}," for item in value), "]"]
        else:
            lines.append(f"{key} = {value if isinstance(value, int) else _text(value)}")
    return "\n".join(lines) + "\n"


def _text(value: str) -> str:
    """Return a text as TOML has it."""
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return (
        '"' + "".join(f"\\u{ord(sign):04x}" if ord(sign) < 32 or ord(sign) == 127 else sign for sign in escaped) + '"'
    )
