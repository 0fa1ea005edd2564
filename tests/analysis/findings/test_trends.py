"""Trends: which series there are, what a change is called, and what was new with it."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import numpy as np
import pandas as pd
import pytest

from analysis.findings.trends import Kind, Series, find_series, find_trends, stalenesses
from analysis.statistics.paired import geometric_mean
from store.records import EnvironmentRow, Row, RunRow
from tests.analysis.builders import JAX, PYTORCH, START, Campaign, environment_row, frame, frames_of
from tests.analysis.drifting import NOTHING_KNOWN, noise_of, series_of

STEP = np.log(1.05)


def nightlies(count: int, **changes: Any) -> list[Row]:
    """Return small campaigns a day apart, all on one machine; `changes` are of their runs."""
    rows: list[Row] = []
    for number in range(count):
        made = Campaign(racers=(PYTORCH, JAX), heats=2, seed=number, changes=changes).rows()
        rows += [of_night(row, number) for row in made if isinstance(row, (RunRow, EnvironmentRow))]
    return rows


def of_night(row: RunRow | EnvironmentRow, number: int) -> RunRow | EnvironmentRow:
    """Return the row as that of campaign `number`."""
    if isinstance(row, EnvironmentRow):
        return row
    ids = {name: f"{number}-{getattr(row, name)}" for name in ("run_id", "heat_id", "trial_id")}
    later = row.started_at + timedelta(days=number)
    return dataclasses.replace(row, **ids, campaign_id=f"nightly-{number}", started_at=later)


def series_in(rows: Sequence[Row], *metrics: str) -> list[Series]:
    """Return the series of rows."""
    frames = frames_of(rows)
    chosen = metrics or ("train_clock_s",)
    return find_series(frames.runs, frame(rows, "environments"), frames.measurements, chosen)


def test_a_series_has_one_point_per_campaign() -> None:
    """Its value is the geometric mean over the campaign's heats, without the control."""
    rows = nightlies(3)
    series = {one.entry: one for one in series_in(rows)}

    assert set(series) == {"python_pytorch:eager", "python_jax:jit"}
    points = series["python_pytorch:eager"].points
    assert [point.campaign_id for point in points] == ["nightly-0", "nightly-1", "nightly-2"]
    mine = [
        row.train_clock_s
        for row in rows
        if isinstance(row, RunRow) and row.campaign_id == "nightly-1" and row.runner == "python_pytorch"
        if not row.control and row.train_clock_s
    ]
    assert points[1].value == pytest.approx(geometric_mean(mine))
    assert points[1].heats == 2


@pytest.mark.parametrize(
    "change",
    [{"status": "crashed"}, {"contaminated": True}, {"train_clock_s": 0.0}, {"train_clock_s": None}],
    ids=["failed", "disturbed", "zero", "missing"],
)
def test_what_is_no_measurement_is_no_point(change: dict[str, Any]) -> None:
    """A campaign without any other run has no point at all."""
    rows = [
        dataclasses.replace(row, **change) if isinstance(row, RunRow) and row.campaign_id == "nightly-1" else row
        for row in nightlies(3)
    ]

    assert [p.campaign_id for p in series_in(rows)[0].points] == ["nightly-0", "nightly-2"]


@pytest.mark.parametrize(
    "change", [{"workload_version": 2}, {"threads": 2}, {"environment_id": "other"}], ids=["version", "axis", "machine"]
)
def test_other_work_or_another_machine_is_another_series(change: dict[str, Any]) -> None:
    """Nothing is compared across them."""
    rows = [
        dataclasses.replace(row, **change) if isinstance(row, RunRow) and row.campaign_id == "nightly-1" else row
        for row in [*nightlies(2), environment_row(environment_id="other", cpu_model="Another CPU")]
    ]

    assert [len(one.points) for one in series_in(rows)] == [1, 1, 1, 1]


def test_other_software_on_the_same_machine_is_the_same_series() -> None:
    """Versions are what a trend is about."""
    rows = [
        dataclasses.replace(row, environment_id="other")
        if isinstance(row, RunRow) and row.campaign_id == "nightly-1"
        else row
        for row in [*nightlies(2), environment_row(environment_id="other", kernel="6.6")]
    ]

    assert [len(one.points) for one in series_in(rows)] == [2, 2]


def test_an_environment_that_nobody_recorded_is_its_own_machine() -> None:
    """An old store may lack the row."""
    rows = [row for row in nightlies(2) if isinstance(row, RunRow)]

    assert {one.machine for one in series_in(rows)} == {"environment1"}
    assert {one.machine for one in stalenesses(frame(rows, "runs"), frame(rows, "environments"), START, {})} == {
        "environment1"
    }


def test_a_metric_of_the_long_table_has_a_series_too() -> None:
    """The others are columns of the runs."""
    rows = Campaign(racers=(PYTORCH, JAX)).rows()

    assert {one.metric for one in series_in(rows, "examples_per_s", "e2e_clock_s")} == {"examples_per_s", "e2e_clock_s"}


def changed(step: float, others: float | None = None, metric: str = "train_clock_s") -> Kind:
    """Return what a step after 20 of 40 campaigns is, with another entry that makes one of its own."""
    generator = np.random.default_rng(3)
    logs = noise_of("normal", 0.005, (2, 40), generator)
    logs[:, 20:] += np.array([[step], [others or 0.0]])
    entries = [series_of(logs[0], metric=metric)]
    if others is not None:
        entries.append(series_of(logs[1], entry="python_jax:jit", metric=metric))
    (shift,) = find_trends(entries, NOTHING_KNOWN)[0].shifts
    return shift.kind


@pytest.mark.parametrize(
    ("step", "others", "metric", "kind"),
    [
        (STEP, None, "train_clock_s", Kind.REGRESSION),
        (-STEP, None, "train_clock_s", Kind.IMPROVEMENT),
        (STEP, None, "examples_per_s", Kind.IMPROVEMENT),
        (-STEP, None, "examples_per_s", Kind.REGRESSION),
        (STEP, None, "cpu_cores_busy", Kind.CHANGE),
        (0.4 * STEP, None, "train_clock_s", Kind.SMALL),
        (STEP, 0.0, "train_clock_s", Kind.REGRESSION),
        (STEP, STEP, "train_clock_s", Kind.MACHINE),
        (STEP, -STEP, "train_clock_s", Kind.REGRESSION),
        (3 * STEP, STEP, "train_clock_s", Kind.REGRESSION),
    ],
)
def test_a_change_is_named_by_its_size_its_direction_and_the_others(
    step: float, others: float | None, metric: str, kind: Kind
) -> None:
    """Less is better, or more, or neither; what everybody did is the machine."""
    assert changed(step, others, metric) is kind


def test_a_change_says_what_was_new() -> None:
    """Framework and language, then the machine's software and settings, each with old and new."""
    logs = noise_of("normal", 0.005, (1, 40), np.random.default_rng(3))[0]
    logs[20:] += STEP
    series = series_of(logs)
    points = [
        dataclasses.replace(point, framework_version="2.1", environment_id="environment2") if number >= 20 else point
        for number, point in enumerate(series.points)
    ]
    before = environment_row(versions=json.dumps({"python_pytorch": {"framework_version": "2.0", "blas": "MKL"}}))
    after = environment_row(
        environment_id="environment2",
        kernel="6.6",
        versions=json.dumps({"python_pytorch": {"framework_version": "2.1", "blas": "OpenBLAS"}, "other": {"x": 1}}),
        settings='{"turbo": "off"}',
    )
    environments = frame([before, after], "environments")

    (trend,) = find_trends([dataclasses.replace(series, points=tuple(points))], environments)
    assert trend.shifts[0].news == ("PyTorch 2.0 → 2.1", "kernel 6.1 → 6.6", "blas MKL → OpenBLAS", "turbo none → off")
    assert trend.shifts[0].value_after / trend.shifts[0].value_before == pytest.approx(1.05, abs=0.01)
    assert trend.noise_ratio == pytest.approx(0.005, rel=0.5)


def test_age_and_version_of_the_last_run_are_told() -> None:
    """40 days, and which version is current where that is known."""
    rows = [*nightlies(2, framework_version="0.16.10", framework="Flux")]
    now = START + timedelta(days=41, hours=5)
    runs = frame(rows, "runs")

    known = stalenesses(runs, frame(rows, "environments"), now, {"Flux": "0.16.11"})
    unknown = stalenesses(runs, frame(rows, "environments"), now, {})
    assert [(one.age_days, one.version, one.is_outdated) for one in known] == [(40, "0.16.10", True)] * 2
    assert not any(one.is_outdated for one in unknown)


@pytest.mark.parametrize(("measured", "current"), [("2.0+cpu", "2.0"), ("v2.0", "2.0"), ("", "2.0")])
def test_a_builds_own_suffix_is_no_other_version(measured: str, current: str) -> None:
    """Nor is a version that nobody recorded."""
    rows = nightlies(1, framework_version=measured, framework="Flux")

    found = stalenesses(frame(rows, "runs"), frame(rows, "environments"), START, {"Flux": current})
    assert [one.is_outdated for one in found] == [False, False]


def test_an_empty_store_has_no_series() -> None:
    """And nothing stale."""
    none = frame([], "runs")

    assert find_series(none, frame([], "environments"), frame([], "measurements")) == []
    assert stalenesses(none, frame([], "environments"), START, {}) == []
    assert find_trends([], pd.DataFrame(columns=["environment_id"])) == []
