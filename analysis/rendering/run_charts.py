"""Telemetry becomes specifications: the curves of one run, and those of all repetitions of each entry (pure)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt
import pandas as pd

from analysis.rendering.charts import TICKS, Spec, finished, phase_colour, rounded
from store.records import PHASES

HEIGHT, DEVICE_HEIGHT = 170, 110
ROW_HEIGHT, ROW_SHARE = 58, 0.82  # of an entry's row, and how much of it a curve may fill
Y_EXTENT = 44  # what labels are given, so that the curves of a run lie exactly below each other
MIB, GIB = 2**20, 2**30


@dataclass(frozen=True, slots=True, kw_only=True)
class RunCurve:
    """What one picture of a run shows; `beside` is drawn dashed, and all values are divided by `unit`."""

    rows: str
    field: str
    title: str
    beside: str = ""
    unit: float = 1
    height: int = DEVICE_HEIGHT


RUN_CURVES = {
    "cores": RunCurve(rows="readings", field="cores", title="CPU cores busy", beside="machine_cores", height=HEIGHT),
    "memory": RunCurve(rows="readings", field="memory_bytes", title="memory, MiB", unit=MIB, height=HEIGHT),
    "utilization": RunCurve(rows="devices", field="utilization_ratio", title="GPU at work, %", unit=0.01),
    "device-memory": RunCurve(
        rows="devices", field="memory_bytes", title="GPU memory, GiB", beside="run_memory_bytes", unit=GIB
    ),
    "power": RunCurve(rows="devices", field="power_w", title="GPU power, W"),
    "temperature": RunCurve(rows="devices", field="temperature_c", title="GPU, °C"),
}


def run_curve(name: str) -> Spec:
    """Return one curve of a run over its phases; whoever draws it gives the data of `run_curves.curve_data`.

    So one specification serves every run. The first says what the colours are, for those below it too.
    """
    shown, is_first = RUN_CURVES[name], name == next(iter(RUN_CURVES))
    title = "seconds since the process was started" if is_first else None
    x = alt.X("at_s:Q", title=title, scale=alt.Scale(nice=False, zero=True), axis=alt.Axis(tickCount=TICKS))
    y = alt.Y("shown:Q", title=shown.title, axis=alt.Axis(tickCount=5, minExtent=Y_EXTENT))
    parts = (alt.Detail("device:N"),) if shown.rows == "devices" else ()
    lines = [
        _line(shown, field).mark_line(style=style, strokeWidth=width, interpolate="step-after").encode(x, y, *parts)
        for field, style, width in ((shown.beside, "beside", 1.2), (shown.field, "equal", 2))
        if field
    ]
    bands = _bands(alt.NamedData(name="phases"), PHASES, has_legend=is_first)
    return finished(alt.layer(bands, *lines, _disturbed()), height=shown.height)


def aligned_rows(
    means: pd.DataFrame, phases: pd.DataFrame, entries: Sequence[str], *, field: str, deviation: str, top: float
) -> Spec:
    """Return one row per entry: the mean of its runs in a band, over its phases, from the first training step.

    Parameters
    ----------
    means
        Columns `label`, `since_training_s`, `words`, and those that `field` and `deviation` name.
    phases
        Columns `label`, `phase`, `start_s` (since the first training step), `stop_s`.
    entries
        The labels from top to bottom.
    top
        The value at which a row is full: the same in all rows.
    """
    bottoms = {label: float(len(entries) - 1 - place) for place, label in enumerate(entries)}
    names = {bottom + ROW_SHARE / 2: label for label, bottom in bottoms.items()}
    axis = alt.Axis(values=list(names), labelExpr=_row_names(names), grid=False)
    y = alt.Y("mid:Q", title=None, axis=axis, scale=alt.Scale(domain=[0, len(entries)], nice=False))
    x = alt.X(
        "since_s:Q",
        title="seconds since the first training step",
        scale=alt.Scale(nice=False, zero=False),
        axis=alt.Axis(tickCount=TICKS),
    )
    rows = alt.Chart(alt.InlineData(values=_row_points(means, bottoms, field, deviation, top)))
    bands = [_row_band(band, bottoms[band["label"]]) for band in phases.to_dict("records")]
    present = [phase for phase in PHASES if phase in set(phases["phase"])]
    tooltip = [alt.Tooltip("label:N", title="entry"), alt.Tooltip("since_s:Q"), alt.Tooltip("words:N", title="mean")]
    layers = [
        _bands(alt.InlineData(values=bands), present).encode(alt.Y("low:Q"), alt.Y2("high:Q")),
        rows.mark_area(style="spread").encode(x, alt.Y("low:Q"), alt.Y2("high:Q"), alt.Detail("label:N")),
        rows.mark_line(style="equal", strokeWidth=1.8).encode(x, y, alt.Detail("label:N"), tooltip),
        alt.Chart(alt.InlineData(values=[{"x": 0}])).mark_rule(style="target").encode(alt.X("x:Q")),
    ]
    return finished(alt.layer(*layers), height=ROW_HEIGHT * len(entries))


def _line(shown: RunCurve, field: str) -> Any:  # noqa: ANN401
    """Return the values of a curve in their unit; where there is none the line is broken.

    Where the machine or the run's own memory was not read, that line lies unseen below the first: one without any
    value would be complained of.
    """
    value = f"(datum.{field} == null ? datum.{shown.field} : datum.{field})"
    scaled = f"{value} == null ? null : {value} / {shown.unit!r}"
    return alt.Chart(alt.NamedData(name=shown.rows)).transform_calculate(shown=scaled)


def _bands(data: Any, phases: Sequence[str], *, has_legend: bool = True) -> Any:  # noqa: ANN401 - one of Altair's many types
    tooltip = [alt.Tooltip("phase:N"), alt.Tooltip("start_s:Q"), alt.Tooltip("stop_s:Q")]
    shaded = alt.Chart(data).mark_rect(opacity=0.3)
    return shaded.encode(alt.X("start_s:Q"), alt.X2("stop_s:Q"), phase_colour(phases, has_legend=has_legend), tooltip)


def _disturbed() -> Any:  # noqa: ANN401
    """Return the intervals in which something else was at work, as bars above the plot; nothing over the others."""
    bars = alt.Chart(alt.NamedData(name="phases")).mark_rect(style="disturbed")
    return bars.encode(
        alt.X("start_s:Q"),
        alt.X2("stop_s:Q"),
        [alt.Tooltip("disturbed:N", title="disturbed by"), alt.Tooltip("phase:N")],
        y=alt.value(-8),
        y2=alt.value(-2),
        opacity=alt.condition("datum.disturbed", alt.value(0.9), alt.value(0)),
    )


def _row_points(means: pd.DataFrame, bottoms: Mapping[str, float], field: str, deviation: str, top: float) -> list[Any]:
    spread = means[deviation].fillna(0.0)  # of a single run there is none
    bottom = means["label"].map(bottoms)
    made = pd.DataFrame(
        {
            "label": means["label"],
            "since_s": means["since_training_s"].map(rounded),
            "mid": (bottom + ROW_SHARE * means[field] / top).round(4),
            "low": (bottom + ROW_SHARE * (means[field] - spread).clip(lower=0) / top).round(4),
            "high": (bottom + ROW_SHARE * (means[field] + spread).clip(upper=top) / top).round(4),
            "words": means["words"],
        }
    )
    rows: list[Any] = made.to_dict("records")
    return rows


def _row_band(band: Mapping[Any, Any], bottom: float) -> dict[str, Any]:
    ends = {name: rounded(band[name]) for name in ("start_s", "stop_s")}
    return {"phase": band["phase"], **ends, "low": bottom, "high": bottom + ROW_SHARE}


def _row_names(names: Mapping[float, str]) -> str:
    """Return the expression that names each row at its middle."""
    chosen = "''"
    for place, label in names.items():
        quoted = label.replace("\\", "").replace("'", "")
        chosen = f"abs(datum.value - {place:.6g}) < 0.01 ? '{quoted}' : {chosen}"
    return chosen
