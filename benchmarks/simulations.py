"""The tables of docs/explanation/simulations.md: what the statistics promise, counted in simulated campaigns.

    python benchmarks/simulations.py [CAMPAIGNS]

Prints Markdown. With the 20,000 campaigns of the page it takes some minutes; the tests hold a small form of it.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(PROJECT))

import numpy as np  # noqa: E402

from tests.analysis.simulated import (  # noqa: E402
    DEAD_HEAT,
    MACHINES,
    Machine,
    coverage,
    decided_after_pilot,
    false_verdicts,
    is_different,
    log_seconds,
    normal,
    stopped_early,
    verdicts,
)

HEATS = (6, 8, 10, 15, 20, 30)
FAMILY = 6  # candidates that a heat has room for


def main(campaigns: int) -> None:
    """Print every table."""
    print(f"{campaigns:,} simulated campaigns per row.\n")
    for title, columns, rows in (
        ("Coverage of the 95 % intervals", ("machine", *(f"{n} heats" for n in HEATS)), coverage_rows(campaigns)),
        (
            "Identical programs told apart",
            ("machine", "t test", "verdicts", "pages", "runner by runner: t test", "verdicts", "pages", "wider"),
            false_rows(campaigns),
        ),
        (
            "Verdicts on a true difference",
            ("noise of a run", "true difference", "dead heat", "different"),
            power_rows(campaigns),
        ),
        ("Rules of repetition", ("rule", "identical programs called different"), rule_rows(campaigns)),
    ):
        print(f"## {title}\n\n{table(columns, rows)}\n")


def coverage_rows(campaigns: int) -> Iterable[Sequence[str]]:
    """Yield, per machine and number of heats, the coverage of the t interval and of the signed-rank interval."""
    for name, machine in MACHINES.items():
        found = [coverage(machine, heats, campaigns, seed=heats) for heats in HEATS]
        yield name, *(f"{100 * t:.1f} / {100 * ranks:.1f}" for t, ranks in found)


def false_rows(campaigns: int) -> Iterable[Sequence[str]]:
    """Yield, per machine, the false alarms in heats and runner by runner, and the factor that pairing is worth."""
    names = ("test", "comparison", "page", "by runner, test", "by runner, comparison", "by runner, page")
    for name, machine in MACHINES.items():
        found = false_verdicts(machine, campaigns, FAMILY, seed=1)
        yield name, *(f"{100 * found[key]:.2f} %" for key in names), f"{found['wider']:.2f}"


def power_rows(campaigns: int) -> Iterable[Sequence[str]]:
    """Yield what is concluded about true differences at several levels of noise, from 10 heats."""
    generator = np.random.default_rng(2)
    for deviation in (0.005, 0.01, 0.02, 0.03):
        seconds = log_seconds(generator, Machine(noise=normal(deviation), wander=0.05), campaigns, 10, 3)
        control, equal = seconds[:, :, 1] - seconds[:, :, 0], seconds[:, :, 2] - seconds[:, :, 0]
        for percent in (0, 3, 5, 10):
            found = verdicts(equal + math.log1p(percent / 100), control)
            shares = (float((found == DEAD_HEAT).mean()), float(is_different(found).mean()))
            yield f"{100 * deviation:g} %", f"{percent} %", *(f"{100 * share:.1f} %" for share in shares)


def rule_rows(campaigns: int) -> Iterable[Sequence[str]]:
    """Yield how often the t test tells identical programs apart under each rule."""
    for rule, share in stopped_early(campaigns, seed=3).items():
        yield rule, f"{100 * share:.1f} %"
    pilot = decided_after_pilot(campaigns // 4, seed=4, deviation=0.02)
    yield f"pilot of 6 fixes the number (median {pilot['median heats']:.0f})", f"{100 * pilot['false']:.1f} %"


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table, numbers to the right."""
    marks = ["---", *("---:" for _ in columns[1:])]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (columns, marks, *rows))


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 20_000)
