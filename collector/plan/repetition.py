"""How often a cell is repeated, decided before its result is known (pure).

- fixed: the suite's number of heats.
- pilot: Stein's two stages (Stein 1945): the variance of the first heats, and nothing else of them, fixes the number.
- looks: a verdict may be read after 10, 20 and 30 heats, each time against a stricter p.

"Until decided" is refused: docs/explanation/statistics.md has the simulation that says why.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

from store.repetition import HEATS_FOR_A_VERDICT, LOOKS, PILOT_HEATS

if TYPE_CHECKING:
    import pandas as pd

Rule = Literal["fixed", "pilot", "looks"]

LOOKS_AFTER = tuple(heats for heats, _ in LOOKS)
CLOCKS = ("train_clock_s", "e2e_clock_s")
UNTIL_DECIDED = (
    "a rule that is fixed before the first heat: 'fixed', 'pilot' or 'looks'. Looking after every heat and stopping "
    "once it is decided calls identical programs different in 11 % of campaigns by 10 heats and in 21 % by 30; "
    "'looks' (after 10, 20 and 30 heats) keeps it at 5 %"
)


def reason_refused(rule: str, heats: int) -> str:
    """Return why `heats` do not fit `rule`, or an empty string."""
    if rule == "looks" and heats != LOOKS_AFTER[-1]:
        looks = ", ".join(map(str, LOOKS_AFTER))
        return f"repetitions = 'looks' looks after {looks} heats and needs heats = {LOOKS_AFTER[-1]}"
    if rule == "pilot" and heats < HEATS_FOR_A_VERDICT:
        return f"repetitions = 'pilot' takes heats as the most there may be and needs at least {HEATS_FOR_A_VERDICT}"
    return ""


def heats_after_pilot(deviation: float, margin_ratio: float, most: int, *, pilot: int = PILOT_HEATS) -> int:
    """Return the heats after which the 90 % interval reaches half the margin to either side.

    n = (t · s / d)², t with the pilot's degrees of freedom, s its standard deviation of a heat's log ratio,
    d = log(1 + margin) / 2 (Stein 1945).

    >>> heats_after_pilot(0.0283, 0.03, most=60), heats_after_pilot(0.001, 0.03, most=60)
    (15, 10)
    """
    from scipy import stats  # slow to load, and needed by this rule alone

    half = math.log1p(margin_ratio) / 2
    wanted = math.ceil((float(stats.t.ppf(0.95, pilot - 1)) * deviation / half) ** 2)
    return min(most, max(HEATS_FOR_A_VERDICT, wanted))


def heats_now(rule: Rule, most: int, done: int, deviation: float | None, margin_ratio: float) -> int:
    """Return how many heats of a cell are to be run before anybody may look.

    Parameters
    ----------
    most
        Heats that are planned at most.
    done
        Heats of the cell that are done.
    deviation
        Largest standard deviation of a log ratio in the pilot; none: nothing was paired there.
    """
    if rule == "looks":
        return next((look for look in LOOKS_AFTER if done < look), most)
    if rule == "pilot":
        return PILOT_HEATS if done < PILOT_HEATS else _after_pilot(deviation, margin_ratio, most)
    return most


def _after_pilot(deviation: float | None, margin_ratio: float, most: int) -> int:
    return HEATS_FOR_A_VERDICT if deviation is None else heats_after_pilot(deviation, margin_ratio, most)


def largest_deviation(runs: pd.DataFrame) -> float | None:
    """Return the largest standard deviation of a log ratio to the baseline, over entries and clocks.

    Parameters
    ----------
    runs
        Completed, undisturbed runs of one cell's pilot: `heat_id`, `entry`, `control`, `baseline` and the clocks.
        The control counts as an entry: what the machine cannot tell apart needs its heats, too.
    """
    found = []
    named = runs.assign(name=runs["entry"].where(~runs["control"].astype(bool), "control"))
    for clock in CLOCKS:
        seconds = named.pivot_table(index="heat_id", columns="name", values=clock).astype(float)
        wide = seconds.where(seconds > 0).map(math.log, na_action="ignore")
        for baseline in set(runs["baseline"]) & set(wide.columns):
            ratios = wide.drop(columns=baseline).sub(wide[baseline], axis=0)
            found += [float(ratios[name].std(ddof=1)) for name in ratios if ratios[name].count() >= PILOT_HEATS - 1]
    return max(found, default=None)
