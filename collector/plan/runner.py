"""Who trains: what a runner.toml declares, and what the runner says about itself."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, ValidationInfo, field_validator, model_validator

from collector.plan.listed_forms import read_exceptions
from collector.plan.workload import known_workloads
from collector.toolchains.cmake import find_build, reason_unbuilt
from collector.toolchains.toolchain import PROJECT, find_toolchain
from store.definition import Definition, DefinitionError, content_hash, read_definition, unknown_name

RUNNERS = Path(__file__).parent.parent / "runners"
DESCRIBE_TIMEOUT_S = 120.0


class RunnerError(DefinitionError):
    """A runner that does not exist or whose file is wrong."""


class RunnerUnavailableError(RunnerError):
    """A runner whose toolchain is missing or does not start here."""


Device = Literal["cpu", "cuda"]
Dtype = Literal["fp32", "tf32", "bf16"]
Loader = Literal["resident", "stream"]
Mode = Literal["train", "steps", "infer"]
DECLARED = ("variants", "devices", "dtypes", "loaders", "workloads")  # what can be not yet verified
NARROWED = {"workloads": "workloads", "lacks": "workloads", "dtypes": "dtypes", "loaders": "loaders"}  # by a variant
Names = Annotated[list[str], Field(min_length=1)]
Dtypes = Annotated[list[Dtype], Field(min_length=1)]
Loaders = Annotated[list[Loader], Field(min_length=1)]


class Variant(Definition):
    """One way to run a runner; where it names workloads, dtypes or loaders, it can do only these."""

    family: str
    command: Annotated[list[str], Field(min_length=1)] | None = None  # where it is not started as the runner is
    default: bool = False
    description: str = ""
    workloads: Names | None = None
    lacks: list[str] = []  # workloads that it cannot do, where naming those is shorter
    dtypes: Dtypes | None = None
    loaders: Loaders | None = None
    exceptions: list[str] = []


class Runner(Definition):
    """One implementation that can train workloads; the folder's name is its name."""

    name: str
    language: str
    framework: str
    runner_class: Annotated[Literal["framework", "baseline", "test"], Field(alias="class")]
    command: Annotated[list[str], Field(min_length=1)]
    install: str
    workloads: Names = Field(default_factory=known_workloads)  # what of them it cannot do it declines itself
    devices: Annotated[list[Device], Field(min_length=1)]
    dtypes: Dtypes = ["fp32"]
    loaders: Loaders = ["resident"]
    modes: Annotated[list[Mode], Field(min_length=1)] = ["train", "steps"]
    optimizers: Annotated[list[Literal["sgd", "adam", "adamw"]], Field(min_length=1)] = ["sgd", "adam"]
    variants: Annotated[dict[str, Variant], Field(min_length=1)]
    environment: dict[str, str] = {}
    exceptions: list[str] = []
    gates_in_one_process: bool = False
    unverified: dict[str, Annotated[str, Field(min_length=1)]] = {}  # what was never run for real: name -> why

    @model_validator(mode="after")
    def _one_default_variant(self) -> Self:
        if sum(variant.default for variant in self.variants.values()) != 1:
            raise ValueError("exactly one variant must have default = true: the headline, named in advance")
        return self

    @model_validator(mode="after")
    def _variants_only_narrow(self) -> Self:
        for name, variant in self.variants.items():
            for key, what in NARROWED.items():
                if more := sorted(set(getattr(variant, key) or []) - set(getattr(self, what))):
                    raise ValueError(f"variants.{name}.{key} names {more[0]!r}, which the runner's own {what} lack")
        return self

    @model_validator(mode="after")
    def _exceptions_are_listed(self) -> Self:
        declared = {name for variant in self.variants for name in self.exceptions_of(variant)}
        if unknown := sorted(declared - read_exceptions().keys()):
            raise ValueError(f"exceptions names {unknown[0]!r}; exceptions.toml lists {', '.join(read_exceptions())}")
        return self

    @field_validator("unverified")
    @classmethod
    def _unverified_is_declared(cls, found: dict[str, str], info: ValidationInfo) -> dict[str, str]:
        told = info.data
        if not {"name", "framework", *DECLARED} <= told.keys():
            return found  # another mistake is told
        names = [told["name"], *(name for what in DECLARED for name in told[what])]
        for name in found:
            if name not in names and not name.startswith(f"{told['framework']} "):
                raise ValueError(
                    f"{name!r} is not declared here; expected {told['name']}, one of its {', '.join(DECLARED)}, "
                    f'or a version, such as "{told["framework"]} 1.2"'
                )
        return found

    def exceptions_of(self, variant: str) -> list[str]:
        """Return the listed forms that an entry computes instead of the contract's own."""
        return [*self.exceptions, *self.variants[variant].exceptions]

    def offers(self, variant: str) -> dict[str, list[str]]:
        """Return what `variant` can do, by what a cell asks for."""
        narrowed = self.variants[variant]
        return {
            "workload": [name for name in narrowed.workloads or self.workloads if name not in narrowed.lacks],
            "device": list(self.devices),
            "dtype": list(narrowed.dtypes or self.dtypes),
            "loader": list(narrowed.loaders or self.loaders),
            "mode": list(self.modes),
            "optimizer": list(self.optimizers),
        }

    def unverified_of(self, variant: str) -> dict[str, str]:
        """Return what of an entry was never run for real, and why: all of it, a version, or what it offers."""
        declared = {name for what in DECLARED for name in getattr(self, what)}
        offered = {name for names in self.offers(variant).values() for name in names}
        return {name: why for name, why in self.unverified.items() if name not in declared - offered - {variant}}

    @property
    def default_variant(self) -> str:
        """The variant that a bare runner name means: the headline.

        One that is marked so but was never run for real stands back for the first that was: named in advance, too.
        """
        marked = next(name for name, variant in self.variants.items() if variant.default)
        verified = [name for name in self.variants if name not in self.unverified]
        return marked if marked in verified or not verified else verified[0]


@dataclass(frozen=True, slots=True, order=True)
class Entry:
    """One competitor: a runner with one of its variants."""

    runner: str
    variant: str

    def __str__(self) -> str:
        return f"{self.runner}:{self.variant}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Description:
    """What `--describe` printed: versions of language, framework and whatever else matters."""

    versions: Mapping[str, str]
    devices: tuple[str, ...]

    @property
    def language_version(self) -> str:
        """Version of the language, empty if not told."""
        return self.versions.get("language_version", "")

    @property
    def framework_version(self) -> str:
        """Version of the framework, empty if not told."""
        return self.versions.get("framework_version", "")


def known_runners(folder: Path = RUNNERS) -> list[str]:
    """Return the names of the runners in `folder`, sorted, without those that are for tests only."""
    names = sorted(path.parent.name for path in folder.glob("[!_]*/runner.toml"))
    return [name for name in names if read_runner(name, folder).runner_class != "test"]


def read_runner(name: str, folder: Path = RUNNERS) -> Runner:
    """Return the runner called `name`."""
    path = folder / name / "runner.toml"
    try:
        known = path.stat()
    except OSError:
        advice = f"Add collector/runners/{name}/runner.toml or correct the name."
        raise RunnerError(unknown_name("runner", name, known_runners(folder), advice)) from None
    return _read_runner(name, path, known.st_mtime_ns, known.st_size)


@lru_cache(maxsize=256)
def _read_runner(name: str, path: Path, _changed_ns: int, _size: int) -> Runner:
    """Return the runner of a file as it is now: read once, and again when it has changed."""
    runner = read_definition(path, Runner, RunnerError)
    if runner.name != name:
        raise RunnerError(f"{path}: name: got {runner.name!r}; expected the folder's own name {name!r}. Rename one.")
    return runner


def read_entry(text: str, folder: Path = RUNNERS) -> Entry:
    """Return the entry named by `runner` or `runner:variant`."""
    name, _, variant = text.partition(":")
    runner = read_runner(name, folder)
    if variant and variant not in runner.variants:
        advice = f"Add [variants.{variant}] to collector/runners/{name}/runner.toml or correct the name."
        raise RunnerError(unknown_name(f"variant of {name}", variant, runner.variants, advice))
    return Entry(name, variant or runner.default_variant)


def resolve_command(runner: Runner, *, threads: int, variant: str = "", folder: Path = RUNNERS) -> list[str]:
    """Return the command of the runner, or of its `variant`, with every placeholder replaced.

    Raises
    ------
    RunnerUnavailableError
        Where its toolchain is missing.
    """
    command = (variant and runner.variants[variant].command) or runner.command
    places = {"{folder}": str(folder / runner.name), "{threads}": str(threads), "{python}": sys.executable}
    for language in ("julia", "elixir"):
        if any(f"{{{language}}}" in part for part in command):
            places[f"{{{language}}}"] = _toolchain(runner, language)
    if any("{built}" in part for part in command):
        places["{built}"] = _built(runner, folder)
    return [_replace(part, places) for part in command]


def runner_environment(runner: Runner, *, threads: int) -> dict[str, str]:
    """Return the environment of the runner's process: ours, with what runner.toml sets."""
    own = {key: _replace(value, {"{threads}": str(threads)}) for key, value in runner.environment.items()}
    return {**os.environ, **own}


def probe_description(runner: Runner, folder: Path = RUNNERS) -> Description:
    """Return what `--describe` prints; raise `RunnerUnavailableError` with the reason and the remedy."""
    command = [*resolve_command(runner, threads=1, folder=folder), "--describe"]
    environment = runner_environment(runner, threads=1)
    try:
        answer = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=DESCRIBE_TIMEOUT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as reason:
        raise _unavailable(runner, str(reason)) from None
    if answer.returncode != 0:
        last = (answer.stderr.strip().splitlines() or [f"exit code {answer.returncode}"])[-1]
        raise _unavailable(runner, last)
    return _decode_description(runner, answer.stdout)


def read_fingerprint(runner: Runner, folder: Path = RUNNERS) -> str:
    """Return a hash of everything in the runner's folder and in what its language shares."""
    language = runner.name.partition("_")[0]
    parts = [folder / runner.name, folder / f"_{language}"]
    files = sorted(f for part in parts for f in part.rglob("*") if f.is_file() and "__pycache__" not in f.parts)
    return content_hash(*(item for f in files for item in (str(f.relative_to(folder)), f.read_bytes())))


def _decode_description(runner: Runner, text: str) -> Description:
    try:
        content = json.loads(text)
        devices = tuple(str(device) for device in content.pop("devices"))
        return Description(versions={str(k): str(v) for k, v in content.items()}, devices=devices)
    except (ValueError, KeyError, AttributeError, TypeError):
        raise _unavailable(runner, f"--describe printed {text[:200]!r}, not one JSON object with 'devices'") from None


def _toolchain(runner: Runner, language: str) -> str:
    found = find_toolchain(language)
    if found is None:
        raise _unavailable(runner, f"no {language} was found under .toolchains or on the PATH")
    return str(found)


def _built(runner: Runner, folder: Path) -> str:
    found = find_build(folder / runner.name, root=PROJECT)
    if found is None:
        raise _unavailable(runner, reason_unbuilt())
    return str(found)


def _unavailable(runner: Runner, reason: str) -> RunnerUnavailableError:
    return RunnerUnavailableError(f"{runner.name}: {reason}. To install it: {runner.install}")


def _replace(text: str, places: Mapping[str, str]) -> str:
    for place, value in places.items():
        text = text.replace(place, value)
    return text
