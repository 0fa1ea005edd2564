"""Differences of front ends and of libraries become a specification: a ratio with its interval per row (pure)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import altair as alt
import pandas as pd

from analysis.rendering.charts import RATIO_LABEL, ROW_HEIGHT, Spec, finished, ratio_ticks, rounded


@dataclass(frozen=True, slots=True, kw_only=True)
class PartPoint:
    """One row: what is compared, of which kind, its ratio and the ends of its 95 % interval, if it has one."""

    label: str
    kind: str
    ratio: float
    low: float | None
    high: float | None
    words: str


def part_intervals(points: Sequence[PartPoint]) -> Spec:
    """Return a row per difference on a log axis, coloured by its kind; the line marks equal."""
    rows = [
        {
            "label": point.label,
            "kind": point.kind,
            "ratio": rounded(point.ratio),
            "low": rounded(point.low or point.ratio),
            "high": rounded(point.high or point.ratio),
            "words": point.words,
        }
        for point in points
    ]
    low = min(0.97, *(point.low or point.ratio for point in points))
    high = max(1.03, *(point.high or point.ratio for point in points))
    domain = [low / (high / low) ** 0.05, high * (high / low) ** 0.05]
    scale = alt.Scale(type="log", domain=domain, nice=False)
    axis = alt.Axis(values=ratio_ticks(*domain), labelExpr=RATIO_LABEL, title="compared with the other (log scale)")
    x = alt.X("ratio:Q", scale=scale, axis=axis)
    y = alt.Y("label:N", sort=[point.label for point in points], title=None)
    kind = alt.Color("kind:N", legend=alt.Legend(symbolOpacity=1))
    shape = alt.Shape("kind:N")
    tooltip = [alt.Tooltip("label:N", title="difference"), alt.Tooltip("words:N", title="ratio")]
    base = alt.Chart(pd.DataFrame(rows))
    equal = alt.Chart(pd.DataFrame([{"x": 1.0}])).mark_rule(style="equal").encode(alt.X("x:Q", scale=scale))
    bars = base.mark_rule(strokeWidth=2.5).encode(alt.X("low:Q", scale=scale, axis=axis), alt.X2("high:Q"), y, kind)
    marks = base.mark_point(filled=True, size=95, opacity=1).encode(x, y, kind, shape, tooltip)
    return finished(alt.layer(equal, bars, marks), height=ROW_HEIGHT * max(1, len(points)))
