"""The tables on trends in docs/explanation/statistics.md: false alarms and delays, counted in simulated series.

    python benchmarks/trends.py [SERIES]

Prints Markdown. With the 1,000 series of the page it takes a minute; the tests hold a small form of it.
"""

from __future__ import annotations

import sys
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(PROJECT))

import numpy as np  # noqa: E402

from tests.analysis.drifting import KINDS, alarm_shares, delays  # noqa: E402

CAMPAIGNS = 60


def main(series: int) -> None:
    """Print both tables."""
    print(f"{series:,} series per row, {CAMPAIGNS} campaigns each, looked at after every campaign.\n")
    print("| noise | deviation | any alarm | a regression or improvement |\n|---|--:|--:|--:|")
    for kind in KINDS:
        for deviation in (0.005, 0.01, 0.02, 0.05):
            alarms, reports = alarm_shares(kind, deviation, CAMPAIGNS, series, seed=1)
            print(f"| {kind} | {100 * deviation:g} % | {100 * alarms:.1f} % | {100 * reports:.1f} % |")
    print("\n| campaigns before | deviation | median delay | 90 % | never within 40 |\n|--:|--:|--:|--:|--:|")
    for before in (10, 20, 60):
        for deviation in (0.005, 0.01, 0.02, 0.03):
            found = np.sort(delays(before, deviation, 0.05, series, seed=2))
            median, late = found[series // 2], found[int(0.9 * series)]
            never = float(np.isinf(found).mean())
            late_words = "more than 40" if np.isinf(late) else f"{late:.0f}"
            print(f"| {before} | {100 * deviation:g} % | {median:.0f} | {late_words} | {100 * never:.1f} % |")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1000)
