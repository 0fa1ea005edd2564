"""Where the measurements of a workload vary, as tables and sentences (pure)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pandas as pd

from analysis import tables
from analysis.cells import CLOCK_NAMES, CellResults
from analysis.comparison import compare, pair_controls
from analysis.finding import CLOCKS
from analysis.levels import LEVELS, Components, Level, cheapest_repetitions, false_positives, variance_components
from analysis.tables import Table
from analysis.variance import PlaceEffect, idle_effect, position_effect


def same_series(mine: CellResults, cells: Sequence[CellResults]) -> list[CellResults]:
    """Return the cells of all campaigns that differ from `mine` in nothing but campaign and machine."""

    def key(cell: CellResults) -> object:
        return replace(cell.cell, campaign_id="", environment_id="", suite="")

    return [cell for cell in cells if key(cell) == key(mine)]


def levels_table(mine: CellResults, cells: Sequence[CellResults]) -> Table:
    """Return what each level adds to the spread of a training second, over all campaigns of the same cell."""
    same = same_series(mine, cells)
    runs = pd.concat([cell.runs for cell in same])
    epochs = pd.concat([cell.epochs for cell in same])
    found = {str(components.key["entry"]): components for components in variance_components(runs, epochs)}
    rows = [
        (mine.label(entry), *(_share(level) for level in found[entry].levels), _cheapest(found[entry], mine, entry))
        for entry in mine.entries
        if entry in found
    ]
    columns = ("entry", *LEVELS, "intervals per run that pay")
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


def _cheapest(components: Components, mine: CellResults, entry: str) -> str:
    """Return how many evaluation intervals per run give the least variance for the time."""
    epochs, runs = components.of("epochs"), [components.of(name) for name in ("heats", "runs")]
    own = mine.completed[mine.completed["entry"] == entry]
    intervals = mine.epochs[mine.epochs["run_id"].isin(own["run_id"])]
    between = sum(level.variance for level in runs if level.is_known)
    if not epochs.is_known or between <= 0 or intervals.empty:
        return tables.NOTHING
    interval_s = float((intervals["train_s"] + intervals["eval_s"].astype(float).fillna(0.0)).mean())
    fixed_s = float((own["e2e_clock_s"].astype(float) - intervals.groupby("run_id").size().mean() * interval_s).mean())
    if not (interval_s > 0 and fixed_s > 0):
        return tables.NOTHING
    (best,) = cheapest_repetitions([epochs.variance, between], [interval_s, fixed_s])
    return tables.number(best)


def _range(effect: PlaceEffect) -> str:
    ends = (100 * (ratio - 1) for ratio in (effect.ratio_per_place, effect.low_ratio, effect.high_ratio))
    middle, low, high = (f"{end:+.2f} %" for end in ends)
    return f"{middle} (95 % interval {low} to {high}, {effect.runs} runs)"
