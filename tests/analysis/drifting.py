"""Series of campaigns with noise of known kinds: what alarms are tested on."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import numpy.typing as npt
import pandas as pd

from analysis.findings.finding import Cell
from analysis.findings.trends import Kind, Point, Series, find_trends
from analysis.statistics.change_points import change_points
from tests.analysis.builders import START

Table = npt.NDArray[np.float64]
NOTHING_KNOWN = pd.DataFrame(columns=["environment_id"])
REPORTED = (Kind.REGRESSION, Kind.IMPROVEMENT)
KINDS = ("normal", "heavy tails", "outliers", "drift")
WORK = Cell(
    campaign_id="",
    suite="",
    environment_id="",
    workload="mnist_mlp",
    workload_version=1,
    mode="train",
    device="cpu",
    dtype="fp32",
    batch_size=128,
    threads=1,
    loader_workers=0,
    epochs=3,
    steps=0,
)


def noise_of(kind: str, deviation: float, shape: tuple[int, int], generator: np.random.Generator) -> Table:
    """Return noise of log values, a row per series; `deviation` is its standard deviation, without outliers."""
    if kind == "heavy tails":
        return deviation * generator.standard_t(3, shape) / np.sqrt(3)
    noise = deviation * generator.standard_normal(shape)
    if kind == "outliers":
        return noise + (generator.random(shape) < 0.05) * generator.uniform(0.1, 0.4, shape)
    if kind == "drift":  # half of a campaign's deviation is left in the next: the machine's own ups and downs
        for place in range(1, shape[1]):
            noise[:, place] = 0.5 * noise[:, place - 1] + np.sqrt(0.75) * noise[:, place]
    return noise


def series_of(logs: Table, entry: str = "python_pytorch:eager", metric: str = "train_clock_s") -> Series:
    """Return a series of one value per day."""
    points = tuple(
        Point(
            campaign_id=f"nightly-{number}",
            measured_at=START + timedelta(days=number),
            value=float(np.exp(value)),
            heats=10,
            environment_id="environment1",
            framework_version="2.0",
            language_version="3.11",
        )
        for number, value in enumerate(logs)
    )
    return Series(
        machine="bench",
        cell=WORK,
        entry=entry,
        headline=True,
        framework="PyTorch",
        language="Python",
        metric=metric,
        margin_ratio=0.03,
        points=points,
    )


def alarm_shares(kind: str, deviation: float, campaigns: int, series: int, seed: int) -> tuple[float, float]:
    """Return the shares of series without a change that ever raise an alarm, and that ever report a change.

    Each series is one of two of its work and machine; drift falls on both alike, as that of a machine does.
    """
    generator = np.random.default_rng(seed)
    noise = noise_of(kind, deviation, (series, campaigns), generator)
    own = 0.5 * deviation * generator.standard_normal((2, series, campaigns)) if kind == "drift" else None
    alarms, reports = 0, 0
    for number in range(series):
        first = noise[number] if own is None else noise[number] + own[0][number]
        entries = [series_of(first)]
        if own is not None:
            entries.append(series_of(noise[number] + own[1][number], entry="python_jax:jit"))
        shifts = find_trends(entries, NOTHING_KNOWN)[0].shifts
        alarms += bool(shifts)
        reports += any(shift.kind in REPORTED for shift in shifts)
    return alarms / series, reports / series


def delays(before: int, deviation: float, step: float, series: int, seed: int) -> Table:
    """Return after how many campaigns of a new level each series reports it; infinite: not within 40."""
    generator = np.random.default_rng(seed)
    logs = noise_of("normal", deviation, (series, before + 40), generator)
    logs[:, before:] += np.log1p(step)
    found = np.full(series, np.inf)
    for number in range(series):
        for change in change_points(logs[number]):
            if change.raised >= before and np.isinf(found[number]):
                found[number] = change.raised - before + 1
    return found
