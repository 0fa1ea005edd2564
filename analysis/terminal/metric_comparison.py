"""Other metrics than the clocks, paired in the same heats: an interval, and no verdict (pure).

No suite fixes a margin for them in advance, so nothing is decided; what is not ranked on a clock is not compared here.
"""

from __future__ import annotations

import math
from dataclasses import replace

import pandas as pd

from analysis.findings.comparison import Comparison, Verdict, compare, pair_controls, pair_heats
from analysis.findings.finding import Finding
from analysis.terminal.explanation import cell_runs
from store.metrics import METRICS

NO_MARGIN = "no suite fixed a margin for {metric} in advance, so it gets no verdict"


def observed(finding: Finding, runs: pd.DataFrame, measurements: pd.DataFrame, metric: str) -> Finding:
    """Return the comparison of `finding` for another metric, in the same heats.

    Parameters
    ----------
    finding
        On a clock: who is compared with whom, where, and whether they may be.
    runs, measurements
        What `frames.read_counted_runs` and `frames.read_measurements` returned.
    """
    blank = _blank(finding, metric)
    if finding.verdict is Verdict.NOT_RANKED:
        return replace(blank, reason=finding.reason)
    mine = with_values(cell_runs(runs, finding.cell), measurements, metric)
    compared = mine[mine["entry"].isin([finding.baseline, finding.candidate]) & mine["status"].eq("completed")]
    if (compared["fixed_s"] <= 0).any():
        count = int((compared["fixed_s"] <= 0).sum())
        return _refused(blank, f"{metric} is 0 in {count} of {len(compared)} runs, and a ratio needs numbers above 0")
    comparison = compare(pair_heats(compared, finding.baseline, finding.candidate))
    if comparison is None:
        return _refused(blank, f"there is no heat in which both have {metric}")
    control = compare(pair_controls(mine[mine["fixed_s"] > 0]))
    return _filled(blank, comparison, control)


def with_values(runs: pd.DataFrame, measurements: pd.DataFrame, metric: str) -> pd.DataFrame:
    """Return `runs` with a metric as costs that are paid once; missing where a run does not have it."""
    if metric in runs.columns:
        values = runs[metric].astype(float)
    else:
        named = measurements[measurements["metric"] == metric].set_index("run_id")["value"]
        values = runs["run_id"].map(named[~named.index.duplicated()]).astype(float)
    return runs.assign(fixed_s=values.to_numpy(), per_epoch_s=0.0)


def _blank(finding: Finding, metric: str) -> Finding:
    """Return the finding without any number, on a metric."""
    return replace(
        finding,
        clock="",
        metric=metric,
        unit=METRICS[metric].unit,
        heats=0,
        baseline_value=None,
        candidate_value=None,
        ratio=None,
        ratio_low=None,
        ratio_high=None,
        hodges_lehmann_ratio=None,
        hodges_lehmann_low=None,
        hodges_lehmann_high=None,
        adjusted_p=None,
        floor_ratio=None,
        epochs_to_target=None,
        heats_to_decide_low=None,
        heats_to_decide_high=None,
    )


def _refused(blank: Finding, reason: str) -> Finding:
    return replace(blank, verdict=Verdict.NOT_RANKED, reason=reason)


def _filled(blank: Finding, comparison: Comparison, control: Comparison | None) -> Finding:
    low = high = rank = rank_low = rank_high = None
    if comparison.has_interval:
        ends, ranks = comparison.effect.interval(0.95).as_ratio, comparison.signed_rank_95.as_ratio
        low, high, rank = ends.low, ends.high, math.exp(comparison.hodges_lehmann)
        rank_low, rank_high = ranks.low, ranks.high
    return replace(
        blank,
        heats=comparison.heats,
        baseline_value=comparison.baseline_value,
        candidate_value=comparison.candidate_value,
        ratio=math.exp(comparison.effect.estimate),
        ratio_low=low,
        ratio_high=high,
        hodges_lehmann_ratio=rank,
        hodges_lehmann_low=rank_low,
        hodges_lehmann_high=rank_high,
        floor_ratio=math.exp(control.floor) if control and control.has_interval else None,
        verdict=Verdict.UNDECIDED,
        reason=NO_MARGIN.format(metric=blank.metric),
    )
