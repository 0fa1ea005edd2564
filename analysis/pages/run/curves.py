"""What the curves of one run are drawn from, and sketches of them for want of a script (pure)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from analysis.frames.columns import Record

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


def curve_data(
    phases: Sequence[Record], epochs: Sequence[Record], steps: Sequence[Record], devices: Sequence[Record]
) -> CurveData:
    """Return what the curves of a run are drawn from: some hundred points; a gap is a point without a value.

    Parameters
    ----------
    phases, epochs
        Its rows of these tables, in the order in which they happened.
    steps
        Its rows of the view `aligned_readings`.
    devices
        Its rows of `queries.devices_of`.
    """
    known = sum(row["cores"] is not None or row["memory_bytes"] is not None for row in steps)
    return {
        "readings": [_point(row, STEP_FIELDS) for row in steps] if known > 1 else [],
        "devices": _device_points(devices),
        "phases": _bands(phases, epochs),
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


def _device_points(devices: Sequence[Record]) -> list[dict[str, Any]]:
    """Return the devices that the run was at work on; all, where that is not known."""
    by_device: dict[float, list[Record]] = {}
    for row in devices:
        by_device.setdefault(row["device_index"], []).append(row)
    return [
        {**point, "device": f"GPU {index:.0f}"}
        for index, rows in by_device.items()
        if max((row["run_memory_bytes"] for row in rows if row["run_memory_bytes"] is not None), default=1) > 0
        for point in _with_gaps(rows)
    ]


def _with_gaps(rows: Sequence[Record]) -> Iterator[dict[str, Any]]:
    width_s = max(0.1, rows[-1]["at_s"] / 300)  # as in `queries.devices_of`
    before_s = rows[0]["at_s"]
    for row in rows:
        if row["at_s"] - before_s > max(GAP_S, 2.5 * width_s):
            yield {"at_s": round(before_s + width_s, 3), **dict.fromkeys(DEVICE_FIELDS)}
        yield _point(row, DEVICE_FIELDS)
        before_s = row["at_s"]


def _point(row: Record, fields: Sequence[str]) -> dict[str, Any]:
    return {"at_s": round(row["at_s"], 3), **{name: _number(name, row[name]) for name in fields}}


def _number(name: str, value: float | None) -> float | int | None:
    if value is None:
        return None
    return int(value) if name.endswith("_bytes") else round(value, 3)


def _bands(phases: Sequence[Record], epochs: Sequence[Record]) -> list[dict[str, Any]]:
    """Return the phases, each training interval with what disturbed it."""
    told = iter([row["contamination"] for row in epochs])
    return [
        {
            "phase": row["phase"],
            "start_s": round(row["start_s"], 4),
            "stop_s": round(row["start_s"] + row["duration_s"], 4),
            "disturbed": (next(told, None) if row["phase"] == "train" else None) or "",
        }
        for row in phases
    ]
