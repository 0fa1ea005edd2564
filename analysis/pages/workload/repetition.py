"""Where another repetition buys most, and what the seed does: as tables, or why they are not known (pure)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from analysis.findings.finding import CLOCKS
from analysis.pages.workload.variance import components_of, levels_table, same_series
from analysis.rendering import tables
from analysis.rendering.tables import Table
from analysis.results.cell_results import CellResults
from analysis.statistics.variance_components import Components, Level, cheapest_repetitions, seed_effect

INSIDE = ("epochs", "runs", "heats")  # of one campaign, from the narrowest; what a campaign costs is not recorded
NEGLIGIBLE_S = 1e-9
ONE_CAMPAIGN = (
    "Whether the seed matters cannot be told yet: within a campaign seed and heat are one, and no two campaigns of "
    "this work share two seeds."
)


def levels_part(mine: CellResults, cells: Sequence[CellResults]) -> dict[str, Any]:
    """Return what the template says about the levels of one cell; `cells` are those of all campaigns."""
    found = components_of(mine, cells)
    seeds = seed_table(mine, cells)
    return {
        "levels_table": levels_table(mine, found),
        "repetition_table": repetition_table(mine, found),
        "seed_table": seeds if seeds.rows else None,
        "seed_words": "" if seeds.rows else ONE_CAMPAIGN,
    }


def repetition_table(mine: CellResults, found: Mapping[str, Components]) -> Table:
    """Return on which level each entry varies most, and how often to repeat inside a run and inside a heat."""
    overhead_s = heat_overhead_s(mine.runs)
    rows = [
        (mine.label(entry), widest_words(found[entry]), *_numbers(mine, entry, found[entry], overhead_s))
        for entry in mine.entries
        if entry in found
    ]
    columns = ("entry", "varies most between", "intervals per run", "runs per heat")
    caption = (
        "Least variance for the time: how often to repeat on each level, by its variance and by what one more costs "
        "(Kalibera & Jones 2013); the rest of the time belongs to more heats"
    )
    return Table(caption=caption, columns=columns, rows=rows, numeric=columns[2:])


def seed_table(mine: CellResults, cells: Sequence[CellResults]) -> Table:
    """Return what the seed adds to each entry's seconds, where two campaigns share two seeds."""
    runs = pd.concat([cell.completed for cell in same_series(mine, cells)])
    rows = []
    for entry in mine.entries:
        for clock in CLOCKS:
            effect = seed_effect(runs[runs["entry"] == entry], f"{clock}_clock_s")
            if effect:
                level = Level(
                    name="seed", groups=effect.seeds, degrees_of_freedom=effect.seeds - 1, variance=effect.variance
                )
                share, p = tables.percent(level.coefficient_of_variation, 2), tables.number(effect.p_value, 2)
                rows.append((mine.label(entry), clock, effect.campaigns, effect.seeds, share, p))
    columns = ("entry", "clock", "campaigns", "seeds", "adds", "p of no effect")
    caption = "What the seed (weights, order, dropout) adds, as a share of the mean: campaigns that repeat the seeds, two-way analysis of variance"  # fmt: skip  # noqa: E501
    return Table(caption=caption, columns=columns, rows=rows, numeric=columns[2:])


def heat_overhead_s(runs: pd.DataFrame) -> float:
    """Return the median seconds that a heat takes beside its runs, from the starts of heats; 0 where none follows.

    Parameters
    ----------
    runs
        Counted runs of one cell; columns `heat_id`, `started_at`, `e2e_clock_s`.
    """
    heats = runs.groupby("heat_id").agg(start=("started_at", "min"), busy_s=("e2e_clock_s", "sum")).sort_values("start")
    between = heats["start"].diff().dt.total_seconds().shift(-1) - heats["busy_s"].astype(float)
    known = between[between > 0]
    return float(known.median()) if len(known) else 0.0


def widest_words(components: Components) -> str:
    """Return the level that adds most, with its share of the variance; a dash where nothing varies."""
    known = [level for level in components.levels if level.is_known]
    most = max(known, key=lambda level: level.variance, default=None)
    if most is None or most.variance <= 0:
        return tables.NOTHING
    return f"{most.name} ({100 * most.variance / components.total:.0f} % of the variance)"


def repetitions(components: Components, costs_s: Mapping[str, float]) -> dict[str, int]:
    """Return how often to repeat each known level but the widest inside the next known one; 0: as often as possible.

    What a level costs whose variance is not known is paid once for each of the next level.

    Parameters
    ----------
    costs_s
        What one more of each level in `INSIDE` costs, without what is inside it.
    """
    chain: list[tuple[str, float, float]] = []
    pending_s = 0.0
    for name in INSIDE:
        level, pending_s = components.of(name), pending_s + costs_s[name]
        if level.is_known:
            chain.append((name, level.variance, max(pending_s, NEGLIGIBLE_S)))
            pending_s = 0.0
    if len(chain) < 2:
        return {}
    names, variances, costs = zip(*chain, strict=True)
    found = zip(names[:-1], variances[1:], cheapest_repetitions(variances, costs), strict=True)
    return {name: max(1, number) if outer > 0 else 0 for name, outer, number in found}


def _numbers(mine: CellResults, entry: str, components: Components, overhead_s: float) -> tuple[str, str]:
    own = mine.completed[mine.completed["entry"] == entry]
    intervals = mine.epochs[mine.epochs["run_id"].isin(own["run_id"])]
    if intervals.empty:
        return tables.NOTHING, tables.NOTHING
    interval_s = float((intervals["train_s"] + intervals["eval_s"].astype(float).fillna(0.0)).mean())
    per_run = intervals.groupby("run_id").size().mean()
    fixed_s = float(own["e2e_clock_s"].astype(float).mean()) - per_run * interval_s
    if not (interval_s > 0 and fixed_s > 0):
        return tables.NOTHING, tables.NOTHING
    found = repetitions(components, {"epochs": interval_s, "runs": fixed_s, "heats": overhead_s})
    told = (_often(found.get(name)) for name in INSIDE[:2])
    return next(told), next(told)


def _often(number: int | None) -> str:
    if number is None:
        return tables.NOTHING
    return tables.number(number) if number else "the more the better"
