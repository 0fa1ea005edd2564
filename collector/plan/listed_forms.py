"""The forms that frameworks fix and that are not errors, as exceptions.toml lists them."""

from __future__ import annotations

import tomllib
from functools import cache
from pathlib import Path

from store.definition import Definition, DefinitionError, validate_definition

EXCEPTIONS = Path(__file__).parent / "exceptions.toml"


class Exceptional(Definition):
    """One form: what it is, how much it matters, and in which parts of the gate it shows."""

    what: str
    effect: str
    parts: list[str]


@cache
def read_exceptions() -> dict[str, Exceptional]:
    """Return every listed form by its name."""
    content = tomllib.loads(EXCEPTIONS.read_text(encoding="utf-8"))
    where = EXCEPTIONS.name
    return {name: validate_definition(form, Exceptional, DefinitionError, where) for name, form in content.items()}
