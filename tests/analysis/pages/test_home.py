"""The front page: the command that repeats what it shows, and what a passed gate takes off its cards."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Sequence
from typing import Any

import pytest

from analysis.pages.home import command_again, home_page
from analysis.results.cell_results import CellResults, cell_results, headline_cell
from analysis.results.results import Results
from collector.cli.selection import AXES, Choice, choose_suite
from collector.plan import matrix
from store.records import GateRow, Row
from tests.analysis.builders import JAX, PYTORCH, Campaign, contender
from tests.analysis.pages.test_listings import shown
from tests.analysis.sites import of_workload, results_of

CHOSEN: dict[str, Any] = {"suite": "chosen"}
NUMBERS = ("heats", "steps", "seed")


def chosen(**changes: Any) -> list[Row]:
    """Return a campaign that was chosen on the command line."""
    return Campaign(racers=(PYTORCH, JAX), heats=2, changes={**CHOSEN, **changes}).rows()


def also(name: str, rows: Sequence[Row]) -> list[Row]:
    """Return rows as further cells of the same campaign."""
    return of_workload(name, rows)


def again(rows: Sequence[Row]) -> str:
    """Return the command of a front page."""
    cells = cell_results(results_of(rows))
    headline = headline_cell(cells)
    assert headline is not None
    return command_again(headline, cells, ("demo", "nightly"))


def planned(command: str) -> list[matrix.Cell]:
    """Return the cells that a command would run."""
    words = shlex.split(command)
    assert words[:2] == ["deadheat", "run"]
    options = dict(zip((word.removeprefix("--").replace("-", "_") for word in words[2::2]), words[3::2], strict=True))
    axes = {name: options.pop(name) for name in AXES if name in options}
    given: dict[str, Any] = {name: int(text) if name in NUMBERS else text for name, text in options.items()}
    defaults = {"suite": None, "subset": False, "repetitions": None, "seed": None, "mode": None, "steps": None}
    return matrix.expand_suite(choose_suite(Choice(axes=axes, **{**defaults, **given})))


def asked(cell: matrix.Cell) -> tuple[object, ...]:
    """Return what a planned cell is, as a record has it."""
    work, optimizer = cell.workload, cell.workload.optimizer
    rates = ("", 0.0, 0.0) if work.mode == "infer" else (
        optimizer.label, optimizer.learning_rate, optimizer.weight_decay
    )  # fmt: skip
    return (
        work.name, work.mode, cell.epochs, work.steps, cell.batch_size, cell.device, cell.dtype, cell.threads,
        cell.loader, cell.loader_workers, *rates,
    )  # fmt: skip


def measured(mine: CellResults) -> tuple[object, ...]:
    """Return what a measured cell is."""
    cell = mine.cell
    rates = ("", 0.0, 0.0) if cell.mode == "infer" else (cell.optimizer, cell.learning_rate, cell.weight_decay)
    return (
        cell.workload, cell.mode, cell.epochs, cell.steps, cell.batch_size, cell.device, cell.dtype, cell.threads,
        cell.loader, cell.loader_workers, *rates,
    )  # fmt: skip


STEPS: dict[str, Any] = {"mode": "steps", "steps": 7, "epochs": 1, "target_accuracy": None}
STREAM: dict[str, Any] = {"loader": "stream", "loader_workers": 2, "track": "open"}


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"epochs": 2, "batch_size": 32, "threads": 2, "dtype": "bf16"},
        {"optimizer": "momentum", "learning_rate": 0.0125, "weight_decay": 1e-5},
        STEPS,
        {**STEPS, "mode": "infer"},
        STREAM,
    ],
)
def test_a_campaign_of_the_command_line_is_repeated_with_all_its_axes(changes: dict[str, Any]) -> None:
    """The command makes the very cell that was measured, whatever the workload's own defaults are."""
    rows = chosen(**changes)
    (cell,) = cell_results(results_of(rows))

    assert list(map(asked, planned(again(rows)))) == [measured(cell)]


def test_axes_of_several_values_are_all_said() -> None:
    """Where the cells are every combination of them."""
    rows = [row for size in (32, 64) for row in also(f"b{size}", chosen(batch_size=size))]
    wanted = set(map(measured, cell_results(results_of(rows))))

    assert "--batch-size 32,64 " in again(rows)
    assert set(map(asked, planned(again(rows)))) == wanted


def test_what_is_no_product_of_axes_repeats_the_headline_alone() -> None:
    """Two workloads, each with a batch size of its own."""
    rows = [*chosen(), *also("lenet", chosen(workload="mnist_lenet", batch_size=64, target_accuracy=None))]
    cells = cell_results(results_of(rows))
    headline = headline_cell(cells)

    assert headline is not None
    assert list(map(asked, planned(again(rows)))) == [measured(headline)]


@pytest.mark.parametrize(
    ("suite", "command"),
    [
        ("nightly", "deadheat run nightly"),
        ("nightly_subset", "deadheat run nightly --subset"),
        ("mine", "deadheat run mine.toml"),
        ("mine_subset", "deadheat run mine.toml --subset"),
    ],
)
def test_a_suite_is_repeated_by_its_name_or_as_somebodys_file(suite: str, command: str) -> None:
    """A subset is no suite of its own."""
    assert again(Campaign(heats=1, changes={"suite": suite}).rows()) == command


def page_of(results: Results) -> str:
    """Return the front page as a reader sees it."""
    cells = cell_results(results)
    headline = headline_cell(cells)
    assert headline is not None
    return shown(home_page(results, cells, headline))


def test_a_suite_that_deadheat_does_not_bring_is_called_a_file() -> None:
    """And one that it brings is not."""
    told = "The suite is a file of whoever measured"

    assert told in page_of(results_of(Campaign(heats=1, changes={"suite": "mine"}).rows()))
    assert told not in page_of(results_of(Campaign(heats=1, changes={"suite": "demo_subset"}).rows()))
    assert told not in page_of(results_of(chosen()))


def test_a_version_that_passed_the_gate_is_verified_on_the_cards() -> None:
    """Of the entry that passed it, to the digits that its definition names."""
    jax = contender(
        runner="python_jax",
        variant="jit",
        framework="JAX",
        family="xla",
        unverified={"JAX 0.10": "only 0.9 could be had", "JAX 0.1": "too old"},
    )

    def page(version: str, *, passed: bool = True) -> str:
        told = f'{{"language": "Python", "framework": "JAX", "framework_version": "{version}"}}'
        rows = [
            dataclasses.replace(row, versions=told, passed=passed)
            if isinstance(row, GateRow) and row.runner == "python_jax"
            else row
            for row in Campaign(racers=(PYTORCH, JAX), heats=2).rows()
        ]
        return page_of(dataclasses.replace(results_of(rows), roster=(jax,)))

    assert "JAX 0.10 (only 0.9 could be had)" in page("0.9.2")
    assert "JAX 0.10 (only 0.9 could be had)" in page("0.10.2", passed=False)
    assert "JAX 0.10 (only" not in page("0.10.2")
    assert "JAX 0.1 (too old)" in page("0.10.2")
