"""Every runner that deadheat brings: what it declares, and what of it was never run for real."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from collector.plan.runner import (
    RUNNERS,
    Description,
    Runner,
    RunnerUnavailableError,
    known_runners,
    probe_description,
    read_runner,
)
from store.roster import Contender

UNVERIFIED = "not yet verified"


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A runner, and what came of asking it for its versions."""

    runner: Runner
    told: Description | None
    reason: str  # why it told nothing, with the remedy

    @property
    def state(self) -> str:
        """Whether it can run here, and whether anybody ever saw it run."""
        here = "ready" if self.told else "unavailable"
        if self.runner.name in self.runner.unverified:
            return f"{here}, {UNVERIFIED}"
        return f"{here}, in part {UNVERIFIED}" if self.runner.unverified else here


def list_contenders(folder: Path = RUNNERS) -> list[Contender]:
    """Return every entry of the runners in `folder`, as they declare themselves; nothing is started."""
    return [
        Contender(
            runner=runner.name,
            variant=name,
            is_headline=name == runner.default_variant,
            language=runner.language,
            framework=runner.framework,
            runner_class=runner.runner_class,
            family=variant.family,
            devices=list(runner.devices),
            unverified=runner.unverified_of(name),
        )
        for runner in (read_runner(name, folder) for name in known_runners(folder))
        for name, variant in runner.variants.items()
    ]


def probe_runner(name: str, folder: Path = RUNNERS) -> Found:
    """Ask a runner for its versions; one that does not answer is an answer too."""
    runner = read_runner(name, folder)
    try:
        return Found(runner=runner, told=probe_description(runner, folder), reason="")
    except RunnerUnavailableError as reason:
        return Found(runner=runner, told=None, reason=str(reason).removeprefix(f"{name}: "))


def families(runner: Runner) -> dict[str, list[str]]:
    """Return the variants of each family, the headline's family first."""
    ordered = sorted(runner.variants, key=lambda name: name != runner.default_variant)
    found: dict[str, list[str]] = {}
    for name in ordered:
        found.setdefault(runner.variants[name].family, []).append(name)
    return found


def describe_lines(language: str, runners: Path = RUNNERS) -> list[str]:
    """Return for each runner of `language` a line with what its `--describe` tells, or why it cannot be used."""
    return [_described(path.parent.name, runners) for path in sorted(runners.glob(f"{language}_*/runner.toml"))]


def _described(name: str, runners: Path) -> str:
    try:
        told = probe_description(read_runner(name, runners), runners)
    except RunnerUnavailableError as reason:
        return f"{reason}"
    versions = ", ".join(f"{key} {value}" for key, value in told.versions.items())
    return f"{name}: {versions}; devices {', '.join(told.devices)}"
