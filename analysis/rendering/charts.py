"""Values become Vega-Lite specifications (pure); one theme per colour scheme.

A specification holds no colour of its own: `theme` gives inks and palettes, light or dark, to whoever draws it.
What a mark means is never said by colour alone: verdicts and entries have shapes, phases have an order.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import altair as alt
import pandas as pd

from analysis.findings.comparison import Verdict
from store.records import PHASES

Spec = dict[str, Any]
Scheme = Literal["light", "dark"]
SCHEMES: tuple[Scheme, ...] = ("light", "dark")

ROW_HEIGHT = 44
BAR_HEIGHT = 34
CURVE_HEIGHT = 300
LETTER_PX = 8  # at most, of a label: Vega keeps too little room for labels of several lines
FONT = "-apple-system, BlinkMacSystemFont, Helvetica, Arial, sans-serif"  # as the pages'

# Okabe and Ito (2008), in an order in which neighbours differ for every kind of colour vision.
OKABE_ITO = {
    "light": ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#8A6D00", "#56B4E9", "#000000", "#E69F00"],
    "dark": ["#56B4E9", "#E69F00", "#2BB58C", "#CC79A7", "#F0E442", "#5A9BD4", "#F2F2F2", "#E8764A"],
}
PHASE_COLOURS = dict(
    zip(
        PHASES,
        ["#8D9299", "#56B4E9", "#CC79A7", "#F0E442", "#D55E00", "#E69F00", "#0072B2", "#009E73", "#5F6368"],
        strict=True,
    )
)
VERDICT_SHAPES = {
    Verdict.FASTER: "triangle-left",
    Verdict.SLOWER: "triangle-right",
    Verdict.DEAD_HEAT: "square",
    Verdict.UNDECIDED: "circle",
    Verdict.INSUFFICIENT: "diamond",
}
VERDICT_COLOURS = {
    "light": ["#0072B2", "#C24E00", "#00805D", "#8E5B7D", "#6B7078"],
    "dark": ["#56B4E9", "#F0A33A", "#3CC79C", "#E09CC0", "#A7ADB8"],
}
INKS = {
    "light": {"text": "#2B2F36", "faint": "#6B7078", "grid": "#E3E6EA", "band": "#8D9299", "paper": "#FFFFFF"},
    "dark": {"text": "#DDE2EA", "faint": "#A7ADB8", "grid": "#363C49", "band": "#A7ADB8", "paper": "#1B1F27"},
}
WARNING = {scheme: VERDICT_COLOURS[scheme][1] for scheme in SCHEMES}

RATIO_LABEL = (
    "datum.value == 1 ? 'equal' : datum.value >= 3 ? format(datum.value, '.3~g') + ' ×' : "
    "(datum.value > 1 ? '+' : '−') + format(abs(datum.value - 1) * 100, '.2~f') + ' %'"
)
TICKS = alt.ExprRef("ceil(width / 80)")


@dataclass(frozen=True, slots=True, kw_only=True)
class ForestPoint:
    """One candidate on one clock in a forest plot: a point, its interval where there is one, and the words beside."""

    label: str
    ratio: float
    low: float | None
    high: float | None
    verdict: Verdict
    words: str


def theme(scheme: Scheme) -> Spec:
    """Return the Vega-Lite configuration of a colour scheme."""
    ink = INKS[scheme]
    return {
        "background": "transparent",
        "font": FONT,
        "view": {"stroke": None},
        "axis": _axis(ink),
        "axisY": {"labelLimit": 220, "domain": False, "ticks": False, "labelPadding": 8},
        "legend": {
            "orient": "top",
            "title": None,
            "labelColor": ink["text"],
            "labelFontSize": 13,
            "labelLimit": 200,
            "symbolSize": 90,
            "columnPadding": 14,
            "columns": 5,
        },
        "range": {"category": OKABE_ITO[scheme], "ordinal": VERDICT_COLOURS[scheme]},
        "style": _styles(ink) | {"disturbed": {"color": WARNING[scheme]}},
    }


def themes() -> dict[str, Spec]:
    """Return the theme of each colour scheme, for wide and for narrow pages."""
    wide: dict[str, Spec] = {scheme: theme(scheme) for scheme in SCHEMES}
    return {**wide, **{f"{scheme}-narrow": narrow(config) for scheme, config in wide.items()}}


def narrow(config: Spec) -> Spec:
    """Return a theme for a phone: shorter labels, fewer columns."""
    return config | {
        "axisY": config["axisY"] | {"labelLimit": 125, "labelFontSize": 11},
        "legend": config["legend"] | {"columns": 2, "labelFontSize": 12, "columnPadding": 8},
    }


def forest(points: Sequence[ForestPoint], *, margin_ratio: float, floor_ratio: float | None) -> Spec:
    """Return a forest plot: each candidate's ratio to the baseline with its 95 % interval, on a log axis.

    The band is the margin of a dead heat; dashed lines are the A/A floor, what the machine cannot tell apart.
    """
    low, high = _forest_domain(points, max(margin_ratio, (floor_ratio or 1) - 1))
    scale = alt.Scale(type="log", domain=[low, high], nice=False)
    axis = alt.Axis(
        values=ratio_ticks(low, high), labelExpr=RATIO_LABEL, title="compared with the baseline (log scale)"
    )
    x, order = alt.X("ratio:Q", scale=scale, axis=axis), [point.label for point in points]
    lines = alt.Axis(
        labelExpr="split(datum.label, ' · ')",
        labelOffset=-7 if " · " in "".join(order) else 0,
        minExtent=LETTER_PX * max((len(line) for label in order for line in label.split(" · ")), default=0),
    )
    y = alt.Y("label:N", sort=order, title=None, axis=lines)
    base = alt.Chart(pd.DataFrame([_point_row(point) for point in points]))
    middle = math.sqrt(low * high)
    rows = {side: [_point_row(point) for point in points if (point.ratio > middle) is side] for side in (False, True)}
    verdict = alt.Color("verdict:N", scale=_verdict_scale(), legend=_verdict_legend(points))
    shape = alt.Shape("verdict:N", scale=_verdict_scale(shapes=True), legend=_verdict_legend(points))
    layers = [
        _margin_band(scale, margin_ratio),
        _rules([1.0], scale, "equal"),
        *([_rules([1 / floor_ratio, floor_ratio], scale, "floor")] if floor_ratio else []),
        base.mark_rule(strokeWidth=2.5).encode(
            alt.X("low:Q", scale=scale, axis=axis), alt.X2("high:Q"), y, verdict, _tooltip()
        ),
        base.mark_point(filled=True, size=95, opacity=1).encode(x, y, verdict, shape, _tooltip()),
        *(
            _words(rows[is_right], y, scale, style, is_right=is_right)
            for is_right in rows
            for style in ("halo", "words")
        ),
    ]
    return finished(alt.layer(*layers), height=ROW_HEIGHT * max(1, len(points)))


def ratio_ticks(low: float, high: float) -> list[float]:
    """Return round ratios between `low` and `high`: closer ones where they lie close together.

    >>> ratio_ticks(0.96, 1.05)
    [0.96, 0.98, 1.0, 1.02, 1.04]
    >>> ratio_ticks(0.7, 14.5)
    [1.0, 2.0, 5.0, 10.0]
    """
    span = high / low
    if span < 4:
        step = next(width for limit, width in ((1.16, 0.02), (1.4, 0.05), (2, 0.1), (4, 0.25)) if span < limit)
        numbers = range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)
        return [round(number * step, 4) for number in numbers]
    digits = (1, 1.25, 1.5, 2, 3, 4, 5, 7.5) if span < 20 else (1, 2, 5)
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    ticks = [float(f"{digit}e{decade}") for decade in decades for digit in digits]
    return [tick for tick in ticks if low <= tick <= high]


def phase_bars(medians: pd.DataFrame, entries: Sequence[str]) -> Spec:
    """Return one stacked bar per entry: the median seconds of each phase, in the order in which they happen.

    Parameters
    ----------
    medians
        Columns `label`, `phase`, `duration_s`.
    entries
        The labels from top to bottom.
    """
    present = [phase for phase in PHASES if phase in set(medians["phase"])]
    rows = medians.assign(order=medians["phase"].map(PHASES.index), duration_s=medians["duration_s"].map(rounded))
    chart = (
        alt.Chart(rows)
        .mark_bar(style="segment", height={"band": 0.72})
        .encode(
            alt.X("duration_s:Q", title="seconds (medians)", stack="zero", axis=alt.Axis(tickCount=TICKS)),
            alt.Y("label:N", sort=list(entries), title=None),
            phase_colour(present),
            alt.Order("order:Q"),
            [
                alt.Tooltip("label:N", title="entry"),
                alt.Tooltip("phase:N"),
                alt.Tooltip("duration_s:Q", title="seconds"),
            ],
        )
    )
    return finished(chart, height=BAR_HEIGHT * max(1, len(entries)) + 6)


def accuracy_curves(
    curves: pd.DataFrame, medians: pd.DataFrame, entries: Sequence[str], *, clock: str, target: float | None
) -> Spec:
    """Return test accuracy against a clock: one thin line per run, one thick line through the medians of each entry.

    Parameters
    ----------
    curves
        Columns `run`, `label`, `clock_s`, `test_accuracy`.
    medians
        Columns `label`, `clock_s`, `test_accuracy`, one row per evaluation.
    entries
        The labels, in the order of their colours.
    """
    is_wide = _is_wide(curves)
    scale = alt.Scale(type="log", nice=False) if is_wide else alt.Scale(zero=True)
    title = f"seconds on the {clock} clock" + (" (log scale)" if is_wide else "")
    legend = alt.Legend(symbolOpacity=1)
    encoding = (
        alt.X("clock_s:Q", scale=scale, title=title, axis=alt.Axis(tickCount=TICKS)),
        alt.Y("test_accuracy:Q", scale=alt.Scale(zero=False), axis=alt.Axis(format=".0%"), title="test accuracy"),
        alt.Color("label:N", scale=alt.Scale(domain=list(entries)), legend=legend),
    )
    shape = alt.Shape("label:N", scale=alt.Scale(domain=list(entries)), legend=legend)
    layers: list[alt.Chart] = [
        alt.Chart(_points(curves)).mark_line(strokeWidth=1, opacity=0.28).encode(*encoding, alt.Detail("run:N")),
        alt.Chart(_points(medians)).mark_line(strokeWidth=2.5).encode(*encoding),
        alt.Chart(_points(medians))
        .mark_point(size=45, filled=True, opacity=1)
        .encode(*encoding, shape, [alt.Tooltip("label:N", title="entry"), "clock_s:Q", "test_accuracy:Q"]),
    ]
    if target is not None:
        layers.append(alt.Chart(alt.InlineData(values=[{"y": target}])).mark_rule(style="target").encode(alt.Y("y:Q")))
    return finished(alt.layer(*layers), height=CURVE_HEIGHT)


def _axis(ink: dict[str, str]) -> Spec:
    lines = dict.fromkeys(("gridColor", "domainColor", "tickColor"), ink["grid"])
    return {
        **lines,
        "labelColor": ink["text"],
        "titleColor": ink["faint"],
        "labelFontSize": 13,
        "titleFontSize": 13,
        "titleFontWeight": "normal",
        "titlePadding": 10,
        "labelOverlap": "greedy",
    }


def _styles(ink: dict[str, str]) -> Spec:
    return {
        "band": {"color": ink["band"], "opacity": 0.22},
        "floor": {"color": ink["faint"], "strokeDash": [2, 3], "strokeWidth": 1.2},
        "equal": {"color": ink["text"], "strokeWidth": 1.2},
        "spread": {"color": ink["text"], "opacity": 0.3},
        "beside": {"color": ink["faint"], "strokeDash": [3, 3], "strokeWidth": 1.2},
        "target": {"color": ink["text"], "strokeDash": [6, 4], "strokeWidth": 1.2},
        "words": {"color": ink["text"], "fontSize": 13},
        "halo": {"color": ink["paper"], "stroke": ink["paper"], "strokeWidth": 5, "fontSize": 13},
        "segment": {"stroke": ink["paper"], "strokeWidth": 1.5},
    }


def finished(chart: Any, height: int) -> Spec:  # noqa: ANN401 - one of Altair's many chart types
    """Return a chart as wide as its page, without Altair's own theme: ours comes with the colour scheme."""
    made = chart.properties(
        width="container", height=height, autosize=alt.AutoSizeParams(type="fit-x", contains="padding")
    )
    spec: Spec = made.to_dict()
    spec.pop("config", None)
    return spec


def _forest_domain(points: Sequence[ForestPoint], widest: float) -> tuple[float, float]:
    """Return the ends of the axis: all intervals, the wider of margin and floor, and some room."""
    lows = [point.low or point.ratio for point in points]
    highs = [point.high or point.ratio for point in points]
    low = min([1 / (1 + 1.5 * widest), *lows])
    high = max([1 + 1.5 * widest, *highs])
    return low * (low / high) ** 0.08, high * (high / low) ** 0.08


def _point_row(point: ForestPoint) -> dict[str, Any]:
    return {
        "label": point.label,
        "ratio": rounded(point.ratio),
        "low": None if point.low is None else rounded(point.low),
        "high": None if point.high is None else rounded(point.high),
        "left": rounded(point.low or point.ratio),
        "right": rounded(point.high or point.ratio),
        "verdict": str(point.verdict),
        "words": point.words,
    }


def _verdict_scale(*, shapes: bool = False) -> alt.Scale:
    domain = [str(verdict) for verdict in VERDICT_SHAPES]
    return alt.Scale(domain=domain, range=list(VERDICT_SHAPES.values()) if shapes else "ordinal")


def _verdict_legend(points: Sequence[ForestPoint]) -> alt.Legend:
    present = {point.verdict for point in points}
    return alt.Legend(values=[str(verdict) for verdict in VERDICT_SHAPES if verdict in present])


def _words(rows: Sequence[dict[str, Any]], y: alt.Y, scale: alt.Scale, style: str, *, is_right: bool) -> Any:  # noqa: ANN401
    """Return the words beside the intervals: on whichever side of the plot there is more room."""
    base = alt.Chart(alt.InlineData(values=list(rows)))
    if is_right:
        text, x = base.mark_text(style=style, align="right", dx=-10, baseline="middle"), "left:Q"
    else:
        text, x = base.mark_text(style=style, align="left", dx=10, baseline="middle"), "right:Q"
    return text.encode(alt.X(x, scale=scale), y, alt.Text("words:N"))


def _margin_band(scale: alt.Scale, margin_ratio: float) -> Any:  # noqa: ANN401
    data = alt.InlineData(values=[{"low": 1 / (1 + margin_ratio), "high": 1 + margin_ratio}])
    return alt.Chart(data).mark_rect(style="band").encode(alt.X("low:Q", scale=scale), alt.X2("high:Q"))


def _rules(values: Sequence[float], scale: alt.Scale, style: str) -> Any:  # noqa: ANN401
    data = alt.InlineData(values=[{"x": value} for value in values])
    return alt.Chart(data).mark_rule(style=style).encode(alt.X("x:Q", scale=scale))


def _tooltip() -> list[alt.Tooltip]:
    return [alt.Tooltip(f"{name}:N", title=name) for name in ("label", "words", "verdict")]


def phase_colour(phases: Sequence[str], *, has_legend: bool = True) -> alt.Color:
    """Return the colours of phases, in their order."""
    scale = alt.Scale(domain=list(phases), range=[PHASE_COLOURS[phase] for phase in phases])
    return alt.Color("phase:N", scale=scale, sort=list(phases), legend=alt.Legend() if has_legend else None)


def _is_wide(curves: pd.DataFrame) -> bool:
    """Whether entries end so far apart that the fast ones would be a stripe on a linear axis."""
    ends = curves.groupby("label")["clock_s"].max()
    return bool(len(ends) and curves["clock_s"].min() > 0 and ends.max() / ends.min() > 8)


def rounded(value: float) -> float:
    """Return a number with five digits: more than a chart can show."""
    return float(f"{value:.5g}")


def _points(frame: pd.DataFrame) -> alt.InlineData:
    """Return evaluations as they are drawn: inline, because Altair refuses frames of more than 5000 rows."""
    names = [name for name in ("run", "label", "clock_s", "test_accuracy") if name in frame]
    numbers = {name: frame[name].map(rounded) for name in ("clock_s", "test_accuracy")}
    rows: list[Any] = frame[names].assign(**numbers).to_dict("records")
    return alt.InlineData(values=rows)
