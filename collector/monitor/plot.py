"""The curves of `deadheat monitor` as an SVG: cores busy, memory, and the devices' load where there are any."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from collector.monitor.watch import Tick

if TYPE_CHECKING:
    import pandas as pd

MOST_POINTS = 1000  # a screen has not many more
SHORTEST_S = 0.09
INK = "#444444"


@dataclass(slots=True)
class Plot:
    """Keeps the points of the curves and draws them at the end."""

    path: Path
    title: str
    _cpu: list[tuple[float, float]] = field(default_factory=list)
    _memory: list[tuple[float, float]] = field(default_factory=list)
    _load: list[tuple[float, float, str]] = field(default_factory=list)

    def add(self, tick: Tick) -> None:
        """Keep the points of one tick."""
        if (run := tick.run) is not None:
            if run.cpu_s is not None:
                self._cpu.append((tick.at_s, run.cpu_s))
            if run.memory_bytes is not None:
                self._memory.append((tick.at_s, run.memory_bytes / 1e6))
        for device in tick.devices:
            if device.utilization_ratio is not None:
                self._load.append((tick.at_s, device.utilization_ratio, f"GPU {device.device_index or 0}"))

    def close(self) -> None:
        """Draw the curves; one without points is left out."""
        import altair as alt
        import pandas as pd
        import vl_convert

        cores = pd.DataFrame(cores_busy(self._cpu), columns=["at_s", "value"])
        memory = pd.DataFrame(highest(self._memory), columns=["at_s", "value"])
        load = pd.DataFrame(self._load, columns=["at_s", "value", "device"])
        curves = [(cores, "CPU cores busy", False), (memory, "memory [MB]", False), (load, "GPU busy", True)]
        end_s = max((at_s for points in (self._cpu, self._memory, self._load) for at_s, *_ in points[-1:]), default=0.0)
        charts = [_curve(frame, title, end_s, several=several) for frame, title, several in curves if len(frame)]
        chart = alt.vconcat(*(charts or [_words("it ended before anything could be read twice")]), title=self.title)
        chart = chart.configure_view(stroke=None)
        chart = chart.configure_axis(labelColor=INK, titleColor=INK, gridOpacity=0.3)
        self.path.write_text(vl_convert.vegalite_to_svg(chart.to_json()), encoding="utf-8")


def _words(text: str) -> Any:  # noqa: ANN401 - altair has no types
    import altair as alt

    return alt.Chart(alt.InlineData(values=[{"text": text}])).mark_text(color=INK).encode(alt.Text("text:N"))


def _curve(frame: pd.DataFrame, title: str, end_s: float, *, several: bool) -> Any:  # noqa: ANN401 - altair has no types
    import altair as alt

    chart = alt.Chart(frame).mark_line(strokeWidth=1.2, interpolate="step-before").properties(width=640, height=140)
    color = {"color": alt.Color("device:N", title=None)} if several else {}
    time = alt.X("at_s:Q", title="seconds", scale=alt.Scale(domain=[0, end_s]))
    return chart.encode(time, alt.Y("value:Q", title=title, scale=alt.Scale(zero=True)), **color)


def cores_busy(totals: list[tuple[float, float]], most: int = MOST_POINTS) -> list[tuple[float, float]]:
    """Return the cores busy between points of a running total of CPU seconds, in at most `most` steps.

    Points closer than `SHORTEST_S` to the one before are passed over: the kernel counts in hundredths of a second.

    >>> cores_busy([(0.0, 1.0), (0.5, 1.5), (0.501, 1.51), (1.0, 3.0)])
    [(0.5, 1.0), (1.0, 3.0)]
    """
    if not totals:
        return []
    apart_s = max(SHORTEST_S, (totals[-1][0] - totals[0][0]) / most)
    steps, (start, before) = [], totals[0]
    for at, total in totals[1:]:
        if at - start >= apart_s:
            steps.append((at, (total - before) / (at - start)))
            start, before = at, total
    return steps


def highest(points: list[tuple[float, float]], most: int = MOST_POINTS) -> list[tuple[float, float]]:
    """Return at most `most` points, each the highest of its neighbours: no peak is lost.

    >>> highest([(0.0, 1.0), (1.0, 9.0), (2.0, 3.0)], most=2)
    [(1.0, 9.0), (2.0, 3.0)]
    """
    width = max(1, -(-len(points) // most))
    return [max(points[at : at + width], key=lambda point: point[1]) for at in range(0, len(points), width)]
