"""Read a TOML definition (suite, workload, runner, study) into a strict type, or say what is wrong with it."""

from __future__ import annotations

import difflib
import hashlib
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from store.errors import DeadheatError

T = TypeVar("T", bound="Definition")
# Suffixes of what the project is made of, in all its languages.
CODE = frozenset({".py", ".jl", ".ex", ".exs", ".cpp", ".h", ".toml", ".txt", ".json"})


class DefinitionError(DeadheatError):
    """A definition file that cannot be used."""


class Definition(BaseModel):
    """Base of everything read from TOML: strict types, no unknown key, no change afterwards."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)


def read_definition(path: Path, kind: type[T], error: type[DeadheatError]) -> T:
    """Return the definition in `path`; raise `error` naming the file, the key, the value and what is expected."""
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as reason:
        raise error(f"{path}: cannot be read ({reason.strerror}); expected a TOML file. Check the path.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as reason:
        raise error(f"{path}: is not valid TOML ({reason}); expected UTF-8 TOML. Correct that line.") from None
    return validate_definition(content, kind, error, where=str(path))


def validate_definition(content: dict[str, Any], kind: type[T], error: type[DeadheatError], where: str) -> T:
    """Return `content` as `kind`; raise `error` with every mistake found, each on its own line."""
    try:
        return kind.model_validate(content)
    except ValidationError as mistakes:
        lines = [_mistake(where, m["loc"], m["type"], m["msg"], m["input"], kind) for m in mistakes.errors()]
        raise error("\n".join(lines)) from None


def _mistake(where: str, loc: tuple[Any, ...], kind: str, text: str, value: object, model: type[Definition]) -> str:
    place = ".".join(str(part) for part in loc) or "file"
    if kind == "extra_forbidden":
        known = _known_keys(model, loc[:-1])
        expected = f"known keys are {', '.join(known)}" if known else "no such key exists"
        return f"{where}: {place}: unknown key; {expected}. Remove it or correct its spelling."
    if kind == "missing":
        return f"{where}: {place}: is missing; expected a value. Add it."
    expected = text.removeprefix("Value error, ")
    return f"{where}: {place}: got {value!r}; {expected[:1].lower()}{expected[1:]}. Correct the value."


def _known_keys(model: type[Definition], path: tuple[Any, ...]) -> list[str]:
    """Return the keys known where an unknown one was found; follows lists and nested definitions."""
    current: Any = model
    for part in path:
        if isinstance(part, str) and isinstance(current, type) and issubclass(current, BaseModel):
            fields = {f.alias or name: f for name, f in current.model_fields.items()}
            current = _inner_definition(fields[part].annotation) if part in fields else None
    if not (isinstance(current, type) and issubclass(current, BaseModel)):
        return []
    return sorted(f.alias or name for name, f in current.model_fields.items())


def _inner_definition(annotation: Any) -> Any:  # noqa: ANN401 - a type annotation can be anything
    if isinstance(annotation, type):
        return annotation
    inner = [_inner_definition(a) for a in getattr(annotation, "__args__", ())]
    return next((a for a in inner if isinstance(a, type) and issubclass(a, BaseModel)), None)


def unknown_name(what: str, name: str, known: Iterable[str], advice: str) -> str:
    """Return the message for a name that nobody knows, with the nearest one that exists."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=1)
    hint = f" Did you mean '{near[0]}'?" if near else ""
    return f"{name!r} is not a known {what}; known: {', '.join(names) or 'none'}.{hint} {advice}"


def near(name: str, known: Iterable[str]) -> str:
    """Return what to do about a name that nobody knows.

    >>> near("mnist_mpl", ["mnist_mlp", "mnist_lenet"])
    "Did you mean 'mnist_mlp'?"
    """
    names = sorted(set(known))
    found = difflib.get_close_matches(name, names, n=1) or [other for other in names if name and name in other]
    return f"Did you mean {found[0]!r}?" if found else "Name one of these."


def person_path(text: str | Path) -> Path:
    """Return a path as a person means it: ~ is the home folder, also where no shell has put it in.

    Raises
    ------
    DefinitionError
        If there is no home folder to put there.
    """
    try:
        return Path(text).expanduser()
    except RuntimeError:
        raise DefinitionError(f"{text}: there is no home folder; expected a path without '~'. Name it whole.") from None


def code_hash(root: Path, places: Iterable[str]) -> str:
    """Return a hash of the code and definitions below `root` in `places`, folders or files, with their names.

    What an editor or an interpreter leaves beside the code (swap files, copies, caches) is not code.
    """
    files = sorted({file for place in places for file in _code_files(root / place)})
    return content_hash(*(item for f in files for item in (f.relative_to(root).as_posix(), f.read_bytes())))


def _code_files(place: Path) -> list[Path]:
    found = [place] if place.is_file() else place.rglob("*")
    return [f for f in found if f.suffix in CODE and not f.name.startswith((".", "#")) and f.is_file()]


def content_hash(*parts: str | bytes) -> str:
    """Return the first 16 hex digits of the SHA-256 of the parts, each delimited by its length."""
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        digest.update(len(data).to_bytes(8, "big") + data)
    return digest.hexdigest()[:16]
