"""Language or library: the same kernels in another language, and the same language on other kernels (pure).

Each difference is paired within heats like any other (`analysis.findings.comparison`); none of them is a verdict.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import pandas as pd

from analysis.findings.comparison import HEATS_FOR_AN_INTERVAL, Comparison, compare, pair_heats
from analysis.statistics.paired import Interval

FRONT_END, LIBRARY = "front end", "library"


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """How long `entry` took as a ratio to `reference`, where the two share their kernels or their language.

    kind `front end`: the same family, another language, so binding, dispatch and loader differ, and the version;
    kind `library`: the same language, another family, so the kernels differ.
    """

    kind: str
    shared: str  # the family, or the language
    entry: str
    reference: str
    heats: int
    ratio: float
    interval: Interval | None  # 95 %, from 6 heats


def decompose(runs: pd.DataFrame, clock: str = "train") -> list[Part]:
    """Return every such difference of one cell, front ends first.

    In each family the reference is the entry of the baseline's language, in each language that of the baseline's
    family, where there is one; else the first by name. Only an entry's headline variant takes part in a comparison
    of languages: the fastest of several variants would be a winner's curse.

    Parameters
    ----------
    runs
        Counted runs of one cell; columns `run_id`, `heat_id`, `entry`, `control`, `status`, `contaminated`,
        `baseline`, `family`, `language`, `headline` and the clock.
    """
    if runs.empty:
        return []
    priced = runs.assign(fixed_s=runs[f"{clock}_clock_s"].astype(float), per_epoch_s=0.0)
    who = runs.drop_duplicates("entry").sort_values("entry")
    who = who[who["headline"].astype(bool)]
    home = runs.loc[runs["entry"] == runs["baseline"], ["family", "language"]].drop_duplicates()
    found: list[Part] = []
    for kind, shared, other in ((FRONT_END, "family", "language"), (LIBRARY, "language", "family")):
        mine = set(home[other])
        for name, group in who.groupby(shared, sort=True):
            pairs = _pairs(group.sort_values(other, key=lambda column: ~column.isin(mine), kind="stable"), other)
            compared = ((one, other_one, compare(pair_heats(priced, one, other_one))) for one, other_one in pairs)
            found += [_part(kind, str(name), entry, reference, pair) for reference, entry, pair in compared if pair]
    return found


def _pairs(group: pd.DataFrame, other: str) -> Iterator[tuple[str, str]]:
    """Yield the reference with each entry that differs from it in `other`: one per value of it, the first by name."""
    first = group.drop_duplicates(other)
    yield from itertools.product(first["entry"].iloc[:1], first["entry"].iloc[1:])


def _part(kind: str, shared: str, entry: str, reference: str, comparison: Comparison) -> Part:
    enough = comparison.heats >= HEATS_FOR_AN_INTERVAL
    return Part(
        kind=kind,
        shared=shared,
        entry=entry,
        reference=reference,
        heats=comparison.heats,
        ratio=Interval(comparison.effect.estimate, comparison.effect.estimate).as_ratio.low,
        interval=comparison.effect.interval(0.95).as_ratio if enough else None,
    )


def break_even_epochs(
    fixed_s: float, per_epoch_s: float, other_fixed_s: float, other_per_epoch_s: float
) -> float | None:
    """Return after how many epochs the runner with the higher fixed costs has caught up; none if it never does.

    F₁ + s₁ E = F₂ + s₂ E at E = (F₂ - F₁) / (s₁ - s₂).

    >>> break_even_epochs(2.0, 3.0, 12.0, 1.0), break_even_epochs(2.0, 1.0, 12.0, 3.0)
    (5.0, None)
    """
    gain, price = per_epoch_s - other_per_epoch_s, other_fixed_s - fixed_s
    if gain == 0 or price / gain <= 0:
        return None
    return price / gain
