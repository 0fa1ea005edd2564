"""Every entry that deadheat brings, and what of it was never run for real: read from `roster.json`.

The file is made from the runners' own definitions by `make schema`, and a test holds it to them.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from store.definition import Definition, DefinitionError, validate_definition

ROSTER = Path(__file__).parent / "roster.json"


class RosterError(DefinitionError):
    """A roster that cannot be read."""


class Contender(Definition):
    """One entry: a runner with one of its variants."""

    runner: str
    variant: str
    is_headline: bool
    language: str
    framework: str
    runner_class: str
    family: str
    devices: list[str]
    unverified: dict[str, str]  # what was never run for real, and why: see `runner.toml` in the contract

    @property
    def entry(self) -> str:
        """Return "runner:variant"."""
        return f"{self.runner}:{self.variant}"

    @property
    def whole(self) -> str:
        """Why nothing of this entry was ever run for real; empty where something was."""
        return self.unverified.get(self.runner, "") or self.unverified.get(self.variant, "")


class Roster(Definition):
    """All of them, by runner."""

    contenders: list[Contender]


@functools.cache
def read_roster(path: Path = ROSTER) -> tuple[Contender, ...]:
    """Return every entry that the package brings, in the order of their runners' names.

    Raises
    ------
    RosterError
        If the file is no roster.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as reason:
        raise RosterError(f"{path}: cannot be read ({reason}); expected a roster. Make it anew: make schema") from None
    return tuple(validate_definition(content, Roster, RosterError, where=str(path)).contenders)


def roster_text(contenders: Iterable[Contender]) -> str:
    """Return the file's text."""
    roster = Roster(contenders=list(contenders))
    return json.dumps(roster.model_dump(mode="json"), ensure_ascii=False, indent=1) + "\n"


def by_reason(unverified: Mapping[str, str]) -> list[tuple[str, str]]:
    """Return what was never run for real, and why: things with the same reason together.

    >>> by_reason({"cuda": "no GPU", "exla": "no XLA", "tf32": "no GPU"})
    [('cuda, tf32', 'no GPU'), ('exla', 'no XLA')]
    """
    found: dict[str, list[str]] = {}
    for name, why in unverified.items():
        found.setdefault(why, []).append(name)
    return [(", ".join(names), why) for why, names in found.items()]
