"""When training had reached the speed that it kept: change points in the seconds per step of its chunks (pure).

The method of Barrett et al. (2017), with the exact segmentation of Jackson et al. (2005). Its paragraph, its formula
and the simulations behind it are in docs/explanation/statistics.md.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from collector.protocol.events import ChunkStop, EpochStart, Event
from store.records import MeasurementRow

NS = 1e9
Floats = npt.NDArray[np.float64]
FEWEST_CHUNKS = 20  # fewer show no level
MOST_CHUNKS = 1000  # the search takes their square: longer series are halved by joining neighbours
SHORTEST_LEVEL = 4  # chunks; shorter stretches are outliers, unless they begin the series
SAME_LEVEL = 0.05  # medians of seconds per step that lie this close are one level
LEAST_SHARE = 0.25  # of the chunks: a level must be kept so long to be called steady
PENALTY = 5.0  # times log n, per change point


@dataclass(frozen=True, slots=True)
class Chunks:
    """The synchronised chunks of a run in order: their seconds on the train clock, and their steps."""

    durations_s: Floats
    steps: Floats


@dataclass(frozen=True, slots=True)
class Steady:
    """The level that a run kept until its end."""

    after_s: float  # train clock before it
    s_per_step: float  # median of its chunks


def chunks_of(events: Sequence[Event]) -> Chunks:
    """Return the chunks of every epoch pair; what remains after its last one joins the epoch's end and is left out."""
    durations, steps = [], []
    last_ns, last_steps = 0, 0
    for event in events:
        if isinstance(event, EpochStart):
            last_ns, last_steps = event.at_ns, 0
        elif isinstance(event, ChunkStop) and event.steps > last_steps:
            durations.append((event.at_ns - last_ns) / NS)
            steps.append(event.steps - last_steps)
            last_ns, last_steps = event.at_ns, event.steps
    return Chunks(np.asarray(durations, dtype=float), np.asarray(steps, dtype=float))


def steady_state(chunks: Chunks) -> Steady | None:
    """Return the level that the last chunks share, and when it began; none where there is none.

    The logs of the seconds per step are cut into levels. A level counts as the last one's if their medians lie within
    5 %; steady is the series from where all that follows is of that level, if that is a quarter of it or more.
    Stretches of fewer than four chunks inside the series are outliers.
    """
    if chunks.durations_s.size < FEWEST_CHUNKS or (chunks.durations_s <= 0).any():
        return None
    joined = _joined(chunks)
    logs = np.log(joined.durations_s / joined.steps)
    cuts = [0, *change_points(logs), logs.size]
    begin = _steady_from(logs, cuts)
    if begin is None:
        return None
    return Steady(
        after_s=float(joined.durations_s[:begin].sum()),
        s_per_step=math.exp(float(np.median(logs[begin:]))),
    )


def change_points(values: Floats) -> list[int]:
    """Return where the mean of `values` changes: the first value of each later level.

    Of all ways to cut the series the one with the least Σ (x - mean of its level)² / σ² + penalty · changes, found by
    dynamic programming (Jackson et al. 2005). σ is 1.4826 / √2 times the median absolute difference of neighbours,
    which levels hardly enter, and values are held within 4 σ of the median of their five neighbours, so that one
    spike is no level.

    >>> change_points(np.array([5.0, 5.1, 4.9, 5.0, 1.0, 1.1, 0.9, 1.0, 1.1, 0.9]))
    [4]
    """
    n = values.size
    sigma = 1.4826 / math.sqrt(2) * float(np.median(np.abs(np.diff(values)))) if n > 1 else 0.0
    sigma = max(sigma, 1e-3)  # a tenth of a percent is less than any clock's noise
    x = _held(values, 4 * sigma)
    sums, squares = np.concatenate([[0.0], x.cumsum()]), np.concatenate([[0.0], (x**2).cumsum()])
    penalty = PENALTY * math.log(n) * sigma**2 if n else 0.0
    best, origin = np.full(n + 1, -penalty), np.zeros(n + 1, dtype=int)
    for end in range(1, n + 1):
        starts = np.arange(end)
        inside = squares[end] - squares[starts] - (sums[end] - sums[starts]) ** 2 / (end - starts)
        total = best[starts] + inside + penalty
        origin[end] = int(total.argmin())
        best[end] = total[origin[end]]
    found, at = [], n
    while at > 0:
        at = int(origin[at])
        found.append(at)
    return sorted(cut for cut in found if cut > 0)


def steady_rows(run_id: str, events: Sequence[Event]) -> list[MeasurementRow]:
    """Return the measurements about the steady state of a run; none where too few chunks tell."""
    chunks = chunks_of(events)
    if chunks.durations_s.size < FEWEST_CHUNKS:
        return []
    steady = steady_state(chunks)
    values = {"is_steady": float(steady is not None)}
    if steady:
        values |= {"steady_after_s": steady.after_s, "steady_step_s": steady.s_per_step}
    return [MeasurementRow(run_id=run_id, metric=metric, value=value) for metric, value in values.items()]


def _steady_from(logs: Floats, cuts: Sequence[int]) -> int | None:
    """Return the first chunk of the steady state, given where levels begin and end."""
    levels = [(start, stop) for start, stop in itertools.pairwise(cuts) if stop - start >= SHORTEST_LEVEL or start == 0]
    if not levels or levels[-1][1] - levels[-1][0] < SHORTEST_LEVEL:
        return None
    last = float(np.median(logs[slice(*levels[-1])]))
    begin = levels[-1][0]
    for start, stop in reversed(levels):
        if abs(float(np.median(logs[start:stop])) - last) > math.log1p(SAME_LEVEL):
            break
        begin = start
    return begin if logs.size - begin >= LEAST_SHARE * logs.size else None


def _held(values: Floats, most: float) -> Floats:
    """Return `values` held within `most` of the median of their five neighbours; the first and last two as they are."""
    if values.size < 5:
        return values
    middle = np.median(np.lib.stride_tricks.sliding_window_view(values, 5), axis=1)
    held = values.copy()
    held[2:-2] = np.clip(values[2:-2], middle - most, middle + most)
    return held


def _joined(chunks: Chunks) -> Chunks:
    """Return at most `MOST_CHUNKS` chunks, neighbours joined in pairs as often as it takes."""
    while chunks.durations_s.size > MOST_CHUNKS:
        even = chunks.durations_s.size // 2 * 2
        pairs = (x[:even].reshape(-1, 2).sum(axis=1) for x in (chunks.durations_s, chunks.steps))
        chunks = Chunks(*pairs)
    return chunks
