"""When the runs of a cell met the target, as tables: observed, by target, and the two factors (pure)."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from analysis.findings.decomposition import break_even_epochs
from analysis.rendering import tables
from analysis.rendering.tables import Table
from analysis.rendering.wording import seconds
from analysis.results.cell_results import CellResults
from analysis.statistics.paired import Effect, Interval
from analysis.statistics.time_to_accuracy import TimeToAccuracy, observed_times, run_costs, several_targets

EARLIEST_EPOCHS = 0.1  # lines that cross before start as good as together: that is noise


def crossings_table(mine: CellResults, target: float) -> Table:
    """Return when the runs of each entry met the target."""
    rows = [
        (
            mine.label(seen.entry),
            f"{seen.hits} of {seen.runs} {_shares(seen.hit_interval)}",
            _with_interval(tables.number(seen.median_epochs), seen.epochs_interval, tables.number),
            f"{tables.number(seen.fastest_epochs)} to {tables.number(seen.slowest_epochs)}" if seen.hits else None,
            _with_interval(seconds(seen.median_train_s), seen.train_interval, seconds),
            _with_interval(seconds(seen.median_e2e_s), seen.e2e_interval, seconds),
            f"{tables.percent(seen.first, 0)} {_shares(seen.first_interval)}" if seen.first is not None else None,
        )
        for seen in _seen(mine, target)
    ]
    columns = (
        "entry", "runs that reached it", "median epochs", "epochs, first to last", "train clock", "e2e clock",
        "before the baseline",
    )  # fmt: skip
    caption = f"Observed: when runs reached {tables.percent(target)} (Kaplan–Meier medians, 95 % intervals in brackets)"
    return Table(caption=caption, columns=columns, rows=rows, numeric=columns[1:])


def factors_table(mine: CellResults, target: float) -> Table:
    """Return each entry's own epochs to the target and its seconds per epoch: the two factors of its time."""
    known = cost_medians(mine)
    rows = [
        (
            mine.label(seen.entry),
            _mean(seen.mean_epochs),
            _speed(seen.s_per_epoch),
            seconds(known[seen.entry][0]) if seen.entry in known else tables.NOTHING,
            tables.number(break_even(known, mine.baseline, seen.entry)),
        )
        for seen in _seen(mine, target)
    ]
    columns = (
        "entry",
        "epochs to the target",
        "train seconds per epoch",
        "before the first epoch",
        "breaks even after",
    )
    caption = (
        "The two factors: epochs (mean, a run that never met it counts with the whole plan) and seconds per epoch "
        "(geometric mean), 95 % intervals in brackets; and after how many epochs fixed costs and speed even out "
        "against the baseline"
    )
    return Table(caption=caption, columns=columns, rows=rows, numeric=columns[1:])


def cost_medians(mine: CellResults) -> dict[str, tuple[float, float]]:
    """Return the median seconds before the first epoch, and end to end per epoch, of each entry that trained."""
    costs = run_costs(mine.epochs).reindex(mine.completed["run_id"]).assign(entry=mine.completed["entry"].to_numpy())
    medians = costs.groupby("entry")[["fixed_s", "e2e_s_per_epoch"]].median().dropna()
    return {str(entry): (float(fixed), float(each)) for entry, fixed, each in medians.itertuples()}


def break_even(known: Mapping[str, tuple[float, float]], baseline: str, entry: str) -> float | None:
    """Return after how many epochs entry and baseline have taken the same time, given fixed costs and speeds."""
    if entry == baseline or entry not in known or baseline not in known:
        return None
    epochs = break_even_epochs(*known[baseline], *known[entry])
    return epochs if epochs and epochs >= EARLIEST_EPOCHS else None


def targets_table(mine: CellResults, target: float) -> Table:
    """Return hits and median epochs at the planned target and at those with twice and 1.5 times its errors."""
    targets = several_targets(target)
    found = {aimed: {seen.entry: seen for seen in observed_times(mine.runs, mine.epochs, aimed)} for aimed in targets}
    entries = [entry for entry in mine.entries if entry in found[target]]
    rows = [(mine.label(entry), *(_hits(found[aimed][entry]) for aimed in targets)) for entry in entries]
    columns = ("entry", *(tables.percent(aimed, 2) for aimed in targets))
    return Table(
        caption="By target: runs that reached it, median epochs", columns=columns, rows=rows, numeric=columns[1:]
    )


def _seen(mine: CellResults, target: float) -> list[TimeToAccuracy]:
    seen = observed_times(mine.runs, mine.epochs, target, mine.baseline)
    return sorted(seen, key=lambda one: mine.entries.index(one.entry))


def _hits(seen: TimeToAccuracy) -> str:
    hits = f"{seen.hits} of {seen.runs}"
    return f"{hits}, {tables.number(seen.median_epochs)}" if seen.median_epochs is not None else hits


def _mean(effect: Effect | None) -> str:
    if effect is None:
        return tables.NOTHING
    return _with_interval(tables.number(effect.estimate), effect.interval() if effect.n > 1 else None, tables.number)


def _speed(effect: Effect | None) -> str:
    """Return a geometric mean of seconds, given the mean of their logs."""
    if effect is None:
        return tables.NOTHING
    return _with_interval(
        seconds(math.exp(effect.estimate)), effect.interval().as_ratio if effect.n > 1 else None, seconds
    )


def _with_interval(value: str, interval: Interval | None, shown: Callable[[float], str]) -> str:
    """Return a value with its interval in brackets; an end that is not known stays open."""
    if interval is None or value == tables.NOTHING or math.isinf(interval.low):
        return value
    high = "…" if math.isinf(interval.high) else shown(interval.high)
    return f"{value} ({shown(interval.low)} to {high})"


def _shares(interval: Interval | None) -> str:
    return f"({100 * interval.low:.0f} to {100 * interval.high:.0f} %)" if interval else ""
