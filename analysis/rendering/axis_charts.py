"""Values along an axis of the matrix become a specification: one line per entry (pure)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt
import pandas as pd

from analysis.rendering.charts import Spec, finished, rounded

HEIGHT = 260
WIDE = 8.0  # values of entries that lie further apart, as a ratio, need a log axis


@dataclass(frozen=True, slots=True, kw_only=True)
class Axes:
    """What is drawn against what."""

    x_title: str
    y_title: str
    is_log_x: bool = False
    y_format: str = "~g"
    is_share: bool = False


def axis_lines(points: pd.DataFrame, entries: Sequence[str], axes: Axes) -> Spec:
    """Return one line per entry through its value at each place of the axis.

    Parameters
    ----------
    points
        Columns `label`, `x`, `y`.
    entries
        The labels, in the order of their colours.
    """
    log_y = not axes.is_share and _is_wide(points["y"])
    places = sorted({float(x) for x in points["x"]})
    x_scale = alt.Scale(type="log", base=2, nice=False) if axes.is_log_x else alt.Scale(zero=False, nice=False)
    y_scale = alt.Scale(type="log", nice=False) if log_y else alt.Scale(zero=True)
    legend = alt.Legend(symbolOpacity=1)
    encoding = (
        alt.X("x:Q", scale=x_scale, title=axes.x_title, axis=alt.Axis(values=places, format="~d")),
        alt.Y(
            "y:Q",
            scale=y_scale,
            title=axes.y_title + (" (log scale)" if log_y else ""),
            axis=alt.Axis(format=axes.y_format, tickCount=5),
        ),
        alt.Color("label:N", scale=alt.Scale(domain=list(entries)), legend=legend),
    )
    shape = alt.Shape("label:N", scale=alt.Scale(domain=list(entries)), legend=legend)
    tooltip = [
        alt.Tooltip("label:N", title="entry"),
        alt.Tooltip("x:Q", title=axes.x_title),
        alt.Tooltip("y:Q", title=axes.y_title, format=axes.y_format),
    ]
    numbers = points.assign(x=points["x"].astype(float), y=points["y"].map(rounded))[["label", "x", "y"]]
    rows: list[Any] = numbers.to_dict("records")
    base = alt.Chart(alt.InlineData(values=rows))
    lines = base.mark_line(strokeWidth=2).encode(*encoding)
    marks = base.mark_point(size=60, filled=True, opacity=1).encode(*encoding, shape, tooltip)
    return finished(alt.layer(lines, marks), height=HEIGHT)


def _is_wide(values: pd.Series) -> bool:
    """Whether the values lie so far apart that the small ones would be a stripe on a linear axis."""
    return bool(values.min() > 0 and values.max() / values.min() > WIDE)
