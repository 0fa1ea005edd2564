"""Cells become heats in their seeded order, each with its trials in balanced positions."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from collector.plan.matrix import Cell, Suite
from collector.plan.runner import Entry
from store.definition import content_hash

MAX_RUNS_PER_HEAT = 8  # longer heats lose the correlation that pairing lives on: docs/explanation/heats.md


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One planned run: an entry at one point of the matrix, with its repetition and seed."""

    trial_id: str
    cell: Cell
    entry: Entry
    control: bool
    repetition: int
    seed: int
    position: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Heat:
    """All entries of one cell, one repetition, back to back: the unit of scheduling, resuming and pairing."""

    content: str  # hash of what is planned; with the campaign it makes the heat_id
    cell: Cell
    part: int  # from 1; a set of entries too large for one heat is split
    repetition: int
    seed: int
    trials: tuple[Trial, ...]

    @property
    def name(self) -> str:
        """The heat in words."""
        part = f" part {self.part}" if self.part > 1 else ""
        return f"{self.cell.key} heat {self.repetition} of {self.cell.heats}{part}"


def plan_heats(suite: Suite, cells: Sequence[Cell]) -> list[Heat]:
    """Return the heats of `cells` in the order they are run.

    Repetitions are interleaved: every cell has run k heats before any runs k + 1, so that a machine that drifts
    disturbs all cells alike. Inside one repetition the order of the cells is shuffled with the suite's seed.
    """
    heats: list[Heat] = []
    for repetition in range(1, max(cell.heats for cell in cells) + 1):
        due = [cell for cell in cells if repetition <= cell.heats]
        _generator(suite.seed, "order of cells", str(repetition)).shuffle(due)
        heats.extend(heat for cell in due for heat in _cell_heats(suite, cell, repetition))
    return heats


def split_candidates(candidates: Sequence[Entry]) -> list[tuple[Entry, ...]]:
    """Return `candidates` in parts that fit a heat beside the baseline and its control."""
    room = MAX_RUNS_PER_HEAT - 2
    return [tuple(candidates[i : i + room]) for i in range(0, len(candidates), room)] or [()]


def balanced_orders(size: int) -> list[list[int]]:
    """Return a Williams square: orders of `size` treatments, each position and each neighbour equally often.

    `size` orders for an even size, twice as many for an odd one. Source: Williams (1949), Experimental designs
    balanced for the estimation of residual effects of treatments.

    >>> balanced_orders(4)
    [[0, 3, 1, 2], [1, 0, 2, 3], [2, 1, 3, 0], [3, 2, 0, 1]]
    """
    first = [(i // 2 if i % 2 == 0 else size - 1 - i // 2) for i in range(size)]
    rows = [[(value + shift) % size for value in first] for shift in range(size)]
    return rows if size % 2 == 0 else rows + [row[::-1] for row in rows]


def _cell_heats(suite: Suite, cell: Cell, repetition: int) -> list[Heat]:
    parts = split_candidates(cell.candidates)
    return [_heat(suite, cell, repetition, number, part) for number, part in enumerate(parts, start=1)]


def _heat(suite: Suite, cell: Cell, repetition: int, number: int, candidates: tuple[Entry, ...]) -> Heat:
    runs = [(cell.baseline, False), (cell.baseline, True), *((entry, False) for entry in candidates)]
    seed = int(content_hash(str(suite.seed), cell.key, str(repetition)), 16) % 2**31
    ordered = [runs[i] for i in _order_of_heat(suite.seed, cell.key, number, repetition, len(runs))]
    trials = tuple(
        _trial(cell, entry, control, repetition, seed, position)
        for position, (entry, control) in enumerate(ordered, start=1)
    )
    content = content_hash(*(trial.trial_id for trial in trials))
    return Heat(content=content, cell=cell, part=number, repetition=repetition, seed=seed, trials=trials)


def _order_of_heat(seed: int, key: str, part: int, repetition: int, size: int) -> list[int]:
    """Return the positions of heat `repetition`: one row of a Williams square whose rows and names are shuffled."""
    rows = balanced_orders(size)
    cycle, row = divmod(repetition - 1, len(rows))
    generator = _generator(seed, key, f"{part} {cycle}")
    names = list(range(size))
    generator.shuffle(names)
    generator.shuffle(rows)
    return [names[i] for i in rows[row]]


def _trial(cell: Cell, entry: Entry, control: bool, repetition: int, seed: int, position: int) -> Trial:
    facts = (cell.key, cell.loader, str(cell.loader_workers), cell.workload.model_dump_json(), str(entry), str(control))
    trial_id = content_hash(*facts, str(repetition), str(seed))
    return Trial(
        trial_id=trial_id,
        cell=cell,
        entry=entry,
        control=control,
        repetition=repetition,
        seed=seed,
        position=position,
    )


def _generator(seed: int, *purpose: str) -> random.Random:
    return random.Random(content_hash(str(seed), *purpose))
