"""The command `deadheat runners`: who can take part, and in what state each is here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import typer
from rich.console import Console

from collector.plan.roster import UNVERIFIED, Found, families, probe_runner
from collector.plan.runner import known_runners
from store.commands import FormatOption
from store.database import Rows
from store.output import Format, write_rows, write_table
from store.roster import by_reason

roster_app = typer.Typer()
SHOWN = ["runner", "language", "framework", "families", "devices", "state"]
EXACT = [
    "runner", "language", "language_version", "framework", "framework_version", "class", "variants", "devices",
    "devices_found", "state", "unavailable", "unverified",
]  # fmt: skip


@roster_app.command()
def runners(form: FormatOption = Format.TABLE) -> None:
    """List every runner with its versions, families and devices, and its state: ready, unavailable, not yet verified.

    Example: deadheat runners
    """
    found = [probe_runner(name) for name in known_runners()]
    if form is not Format.TABLE:
        write_rows(Rows(EXACT, [exact_row(one) for one in found]), form)
        return
    write_table(Rows(SHOWN, [shown_row(one) for one in found]), break_words=False)
    console = Console(soft_wrap=True)
    for line in state_lines(found):
        console.print(line, highlight=False, markup=False)


def shown_row(found: Found) -> tuple[str, ...]:
    """Return a runner in a few words, the versions beside what they are versions of."""
    runner, told = found.runner, found.told
    language, framework = (told.language_version, told.framework_version) if told else ("", "")
    return (
        runner.name,
        f"{runner.language} {language}".rstrip(),
        f"{runner.framework} {framework}".rstrip(),
        ", ".join(families(runner)),
        ", ".join(runner.devices),
        found.state.replace(", ", "\n"),
    )


def exact_row(found: Found) -> tuple[Any, ...]:
    """Return everything that is known of a runner."""
    runner, told = found.runner, found.told
    return (
        runner.name,
        runner.language,
        told.language_version if told else None,
        runner.framework,
        told.framework_version if told else None,
        runner.runner_class,
        {name: variant.family for name, variant in runner.variants.items()},
        list(runner.devices),
        list(told.devices) if told else [],
        found.state,
        found.reason,
        dict(runner.unverified),
    )


def state_lines(found: Sequence[Found]) -> list[str]:
    """Return per runner: its variants by family, the headline first, why it is unavailable, what is not verified."""
    return [line for one in found for line in (_variants_line(one), *_notes(one))]


def _variants_line(found: Found) -> str:
    runner = found.runner
    parts = "; ".join(f"{', '.join(names)} ({family})" for family, names in families(runner).items())
    return f"{runner.name}: {parts}"


def _notes(found: Found) -> list[str]:
    absent = [f"  unavailable: {found.reason}"] if found.reason else []
    return [*absent, *(f"  {UNVERIFIED}: {names}: {why}" for names, why in by_reason(found.runner.unverified))]
