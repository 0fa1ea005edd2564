"""What the curves of one run are drawn from, and sketches of them for want of a script (pure)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
from markupsafe import Markup

from analysis import tables

GAP_S = 0.5  # between readings, as in store/views/aligned_readings.sql
CurveData = dict[str, list[dict[str, Any]]]


@dataclass(frozen=True, slots=True)
class Curve:
    """One picture of a run: `name` is also that of its specification, `run-<name>.json`."""

    name: str
    rows: str  # which of the data
    field: str
    words: str


CURVES = (
    Curve("cores", "readings", "cores", "CPU cores busy: the run's; dashed, the whole machine's"),
    Curve("memory", "readings", "memory_bytes", "Memory of the run's processes"),
    Curve("utilization", "devices", "utilization_ratio", "GPU: share of the time with any kernel at work"),
    Curve("device-memory", "devices", "memory_bytes", "GPU: memory in use; dashed, the run's own"),
    Curve("power", "devices", "power_w", "GPU: power"),
    Curve("temperature", "devices", "temperature_c", "GPU: temperature"),
)
DEVICE_FIELDS = ("utilization_ratio", "memory_bytes", "run_memory_bytes", "power_w", "temperature_c")
STEP_FIELDS = ("cores", "machine_cores", "memory_bytes")


def curve_data(phases: pd.DataFrame, epochs: pd.DataFrame, steps: pd.DataFrame, devices: pd.DataFrame) -> CurveData:
    """Return what the curves of a run are drawn from: some hundred points; a gap is a point without a value.

    Parameters
    ----------
    phases, epochs
        Its rows of these tables.
    steps
        Its rows of the view `aligned_readings`.
    devices
        Its rows of `queries.devices_of`.
    """
    drawn = steps if steps[["cores", "memory_bytes"]].notna().any(axis=1).sum() > 1 else steps.iloc[:0]
    return {
        "readings": [_point(row, STEP_FIELDS) for row in drawn.to_dict("records")],
        "devices": _device_points(devices),
        "phases": _bands(phases),
        "disturbed": _disturbed(phases, epochs),
    }


def curves_of(data: CurveData) -> list[Curve]:
    """Return the pictures that there are readings for."""
    return [curve for curve in CURVES if any(row[curve.field] is not None for row in data[curve.rows])]


def sketch(xs: Sequence[float], ys: Sequence[float | None]) -> Markup:
    """Return a curve as a small inline picture, for readers without JavaScript; empty below two points."""
    known = [y for y in ys if y is not None]
    if len(known) < 2 or max(known) <= 0:
        return Markup("")
    span, top = xs[-1] - xs[0] or 1.0, max(known)
    lines: list[list[str]] = [[]]
    for x, y in zip(xs, ys, strict=True):
        if y is None:
            lines.append([])
        else:
            lines[-1].append(f"{720 * (x - xs[0]) / span:.1f},{118 - 112 * y / top:.1f}")
    drawn = Markup("").join(Markup('<polyline points="{}"/>').format(" ".join(line)) for line in lines if line)
    return Markup(
        '<svg class="dh-sketch" viewBox="0 0 720 120" preserveAspectRatio="none" aria-hidden="true">{}</svg>'
    ).format(drawn)


def sketch_of(curve: Curve, data: CurveData) -> Markup:
    """Return a picture's sketch: of its first device where there are several."""
    rows = data[curve.rows]
    first = [row for row in rows if row.get("device") == rows[0].get("device")]
    return sketch([row["at_s"] for row in first], [row[curve.field] for row in first])


def training_windows(phases: pd.DataFrame) -> list[tuple[float, float]]:
    """Return from when to when each evaluation interval was trained, in their order."""
    training = phases[phases["phase"] == "train"].sort_values("start_s")
    return [(row["start_s"], row["start_s"] + row["duration_s"]) for row in training.to_dict("records")]


def _device_points(devices: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the devices that the run was at work on; all, where that is not known."""
    used = devices.groupby("device_index")["run_memory_bytes"].transform("max")
    mine = devices[used.isna() | (used > 0)]
    points: list[dict[str, Any]] = []
    for index, rows in mine.groupby("device_index"):
        width_s = max(0.1, float(rows["at_s"].max()) / 300)
        before_s = None
        for row in rows.sort_values("at_s").to_dict("records"):
            if before_s is not None and row["at_s"] - before_s > max(GAP_S, 2.5 * width_s):
                gap = {"at_s": before_s + width_s, **dict.fromkeys(DEVICE_FIELDS)}
                points.append({**_point(gap, DEVICE_FIELDS), "device": f"GPU {index:.0f}"})
            points.append({**_point(row, DEVICE_FIELDS), "device": f"GPU {index:.0f}"})
            before_s = row["at_s"]
    return points


def _point(row: Mapping[Any, Any], fields: Sequence[str]) -> dict[str, Any]:
    return {"at_s": round(row["at_s"], 3), **{name: _number(name, row[name]) for name in fields}}


def _number(name: str, value: float | None) -> float | int | None:
    if value is None or tables.is_absent(value):
        return None
    return int(value) if name.endswith("_bytes") else round(float(value), 3)


def _bands(phases: pd.DataFrame) -> list[dict[str, Any]]:
    return [
        {
            "phase": row["phase"],
            "start_s": round(row["start_s"], 4),
            "stop_s": round(row["start_s"] + row["duration_s"], 4),
        }
        for row in phases.to_dict("records")
    ]


def _disturbed(phases: pd.DataFrame, epochs: pd.DataFrame) -> list[dict[str, Any]]:
    told = list(epochs.sort_values("epoch")["contamination"])
    return [
        {"start_s": round(start_s, 4), "stop_s": round(stop_s, 4), "what": what}
        for (start_s, stop_s), what in zip(training_windows(phases), told, strict=False)
        if isinstance(what, str) and what
    ]
