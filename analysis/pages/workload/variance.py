"""Where the measurements of a workload vary, as tables and sentences (pure)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import pandas as pd

from analysis.findings.comparison import compare, pair_controls
from analysis.findings.finding import CLOCKS
from analysis.rendering import tables
from analysis.rendering.tables import Table
from analysis.rendering.wording import seconds
from analysis.results.cell_results import CLOCK_NAMES, CellResults
from analysis.statistics.variance import LEVELS as SPREAD_LEVELS
from analysis.statistics.variance import PlaceEffect, Spread, idle_effect, position_effect, spreads
from analysis.statistics.variance_components import LEVELS, Components, Level, false_positives, variance_components

SPREAD_NAMES = {
    "heats": "between heats",
    "runs": "A/A, in one heat",
    "epochs": "within a run",
}


def same_series(mine: CellResults, cells: Sequence[CellResults]) -> list[CellResults]:
    """Return the cells of all campaigns that differ from `mine` in nothing but campaign and machine."""

    def key(cell: CellResults) -> object:
        return replace(cell.cell, campaign_id="", environment_id="", suite="")

    return [cell for cell in cells if key(cell) == key(mine)]


def components_of(mine: CellResults, cells: Sequence[CellResults]) -> dict[str, Components]:
    """Return what each level adds to the spread of a training second, of each entry over all campaigns of the cell."""
    same = same_series(mine, cells)
    runs = pd.concat([cell.runs for cell in same])
    epochs = pd.concat([cell.epochs for cell in same])
    return {str(components.key["entry"]): components for components in variance_components(runs, epochs)}


def levels_table(mine: CellResults, found: Mapping[str, Components]) -> Table:
    """Return what each level adds to the spread of a training second, of what `components_of` returned."""
    rows = [
        (mine.label(entry), *(_share(level) for level in found[entry].levels))
        for entry in mine.entries
        if entry in found
    ]
    columns = ("entry", *LEVELS)
    caption = (
        "What each level adds, as a share of the mean, with the number of its groups: nested analysis of variance of "
        "the log seconds per example, train clock"
    )
    return Table(caption=caption, columns=columns, rows=rows, numeric=columns[1:])


def place_words(mine: CellResults) -> list[str]:
    """Return whether the place inside a heat, or a pause before a run, mattered, where enough runs can tell."""
    found = []
    for clock in CLOCKS:
        place, idle = (effect(mine.runs, f"{clock}_clock_s") for effect in (position_effect, idle_effect))
        if place:
            end = (
                "the order matters here, and the balanced heats even it out."
                if place.is_visible
                else "no effect to see."
            )
            found.append(
                f"On the {CLOCK_NAMES[clock]} each place further back in a heat changes a run by {_range(place)}: {end}"
            )
        if idle:
            end = "a pause matters here." if idle.is_visible else "no effect to see."
            found.append(
                f"On the {CLOCK_NAMES[clock]} the first run after a minute or more of pause differs by "
                f"{_range(idle)}: {end}"
            )
    return found


def control_words(cells: Sequence[CellResults]) -> str:
    """Return how many A/A tests of the cells of one campaign reject at 5 %; empty without any."""
    p_values = []
    for mine in cells:
        for clock in CLOCKS:
            priced = mine.runs.assign(fixed_s=mine.runs[f"{clock}_clock_s"].astype(float), per_epoch_s=0.0)
            control = compare(pair_controls(priced))
            if control and control.has_interval:
                p_values.append(control.effect.p_value)
    hits, number, interval = false_positives(p_values)
    if not number:
        return ""
    sound = (
        "as chance alone would have it."
        if not interval.excludes(0.05)
        else ("which is not what chance would have: the baseline's second run in a heat is not like its first.")
    )
    return (
        f"Of {tables.count(number, 'A/A test')} on this page (the baseline against itself) {hits} "
        f"{'rejects' if hits == 1 else 'reject'} at 5 % (95 % interval {100 * interval.low:.0f} to "
        f"{100 * interval.high:.0f} %), {sound}"
    )


def _share(level: Level) -> str:
    if not level.is_known:
        return tables.NOTHING
    return f"{tables.percent(level.coefficient_of_variation, 2)} ({level.groups})"


def _range(effect: PlaceEffect) -> str:
    ends = (100 * (ratio - 1) for ratio in (effect.ratio_per_place, effect.low_ratio, effect.high_ratio))
    middle, low, high = (f"{end:+.2f} %" for end in ends)
    return f"{middle} (95 % interval {low} to {high}, {effect.runs} runs)"


def variance_table(mine: CellResults) -> Table:
    """Return how far measurements of one entry lie apart, on each clock: a column per level."""
    found = {(spread.entry, spread.clock, spread.level): spread for spread in spreads(mine.runs, mine.epochs)}
    rows = [
        (mine.label(entry), clock, base.runs, seconds(base.mean_s), *_deviations(found, entry, f"{clock}_clock_s"))
        for entry in mine.entries
        for clock in CLOCKS
        if (base := found.get((entry, f"{clock}_clock_s", "heats")))
    ]
    columns = ("entry", "clock", "runs", "mean", *(SPREAD_NAMES[level] for level in SPREAD_LEVELS))
    caption = "Standard deviations as a share of the mean, with their 95 % intervals where there is one"
    return Table(caption=caption, columns=columns, rows=rows, numeric=("runs", "mean"))


def _deviations(found: dict[tuple[str, str, str], Spread], entry: str, clock: str) -> Iterator[str]:
    for level in SPREAD_LEVELS:
        spread = found.get((entry, clock, level))
        if spread is None:
            yield tables.NOTHING
            continue
        share = tables.percent(spread.coefficient_of_variation_ratio)
        if spread.low_s is None or spread.high_s is None:
            yield share
        else:
            yield f"{share} ({100 * spread.low_s / spread.mean_s:.1f} to {100 * spread.high_s / spread.mean_s:.1f})"
