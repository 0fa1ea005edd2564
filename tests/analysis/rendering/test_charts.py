"""Charts: what is drawn, on which scale, and that it can be seen by everyone."""

from __future__ import annotations

import json
import math
import re
from typing import Any

import pandas as pd
import pytest
import vl_convert
from hypothesis import given
from hypothesis import strategies as st

from analysis.findings.comparison import Verdict
from analysis.rendering.charts import (
    INKS,
    OKABE_ITO,
    PHASE_COLOURS,
    SCHEMES,
    VERDICT_COLOURS,
    VERDICT_SHAPES,
    ForestPoint,
    Scheme,
    accuracy_curves,
    forest,
    phase_bars,
    ratio_ticks,
    theme,
    themes,
)
from analysis.rendering.run_charts import RUN_CURVES, aligned_rows, run_curve
from store.records import PHASES
from tests.analysis.sites import assert_snapshot

SLOWER = ForestPoint(label="python_jax", ratio=1.34, low=1.31, high=1.37, verdict=Verdict.SLOWER, words="34 % longer")
SHORT = ForestPoint(label="one", ratio=0.9, low=None, high=None, verdict=Verdict.INSUFFICIENT, words="10 % less")


def point_rows(spec: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the rows that a forest plot draws."""
    return next(rows for rows in spec["datasets"].values() if rows and "verdict" in rows[0])


def marks(spec: dict[str, Any]) -> list[str]:
    """Return the kinds of marks of a layered chart."""
    return [layer["mark"]["type"] for layer in spec["layer"]]


def contrast(one: str, other: str) -> float:
    """Return the contrast of two colours by the Web Content Accessibility Guidelines 2.2."""

    def luminance(colour: str) -> float:
        channels = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@given(low=st.floats(0.01, 0.999), high=st.floats(1.001, 500))
def test_ticks_are_few_and_on_the_axis_and_equal_is_among_them(low: float, high: float) -> None:
    """Whatever the ratios, an axis has ticks that can be read."""
    ticks = ratio_ticks(low, high)

    assert 1.0 in ticks
    assert all(low <= tick * (1 + 1e-9) and tick <= high * (1 + 1e-9) for tick in ticks)
    assert len(ticks) <= 20
    assert ticks == sorted(set(ticks))


def test_a_forest_plot_draws_an_interval_only_where_there_is_one() -> None:
    """Below six heats there is a point and no bar."""
    rows = point_rows(forest([SLOWER, SHORT], margin_ratio=0.03, floor_ratio=None))

    assert [(row["low"], row["high"]) for row in rows] == [(1.31, 1.37), (None, None)]


def test_the_axis_of_a_forest_plot_holds_intervals_margin_and_floor() -> None:
    """A noisy machine's floor is drawn even where it is wider than everything else."""
    spec = forest([SLOWER], margin_ratio=0.03, floor_ratio=2.0)
    low, high = spec["layer"][0]["encoding"]["x"]["scale"]["domain"]

    assert low < 1 / 2.0
    assert high > 2.0


def test_the_axis_of_a_forest_plot_is_a_log_scale_of_ratios() -> None:
    """Twice as long and half as long lie equally far from equal."""
    scale = forest([SLOWER], margin_ratio=0.03, floor_ratio=None)["layer"][0]["encoding"]["x"]["scale"]

    assert scale["type"] == "log"


def test_a_forest_plot_has_no_floor_where_none_is_known() -> None:
    """Without enough control runs nothing is drawn that nobody measured."""
    with_floor = forest([SLOWER], margin_ratio=0.03, floor_ratio=1.01)
    without = forest([SLOWER], margin_ratio=0.03, floor_ratio=None)

    assert len(marks(with_floor)) == len(marks(without)) + 1


def test_every_verdict_that_can_be_drawn_has_a_shape_of_its_own() -> None:
    """A verdict is never told by colour alone."""
    drawn = [verdict for verdict in Verdict if verdict is not Verdict.NOT_RANKED]

    assert list(VERDICT_SHAPES) == drawn
    assert len(set(VERDICT_SHAPES.values())) == len(drawn)
    assert all(len(colours) == len(drawn) for colours in VERDICT_COLOURS.values())


@pytest.mark.parametrize("scheme", SCHEMES)
def test_verdicts_and_words_can_be_seen_on_their_paper(scheme: Scheme) -> None:
    """Marks have a contrast of 3 and text of 4.5, light and dark."""
    paper = INKS[scheme]["paper"]

    assert all(contrast(colour, paper) >= 3 for colour in VERDICT_COLOURS[scheme])
    assert all(contrast(INKS[scheme][ink], paper) >= 4.5 for ink in ("text", "faint"))


@pytest.mark.parametrize("scheme", SCHEMES)
def test_the_colours_of_entries_can_be_seen_and_told_apart(scheme: Scheme) -> None:
    """Lines of eight entries are visible on their paper and no two have one colour."""
    colours = OKABE_ITO[scheme]

    assert all(contrast(colour, INKS[scheme]["paper"]) >= 2 for colour in colours)
    assert len(set(colours)) == len(colours) == 8


def test_phases_are_stacked_in_the_order_in_which_they_happen() -> None:
    """The order of the rows does not matter, that of the phases does."""
    rows = [{"label": "a", "phase": phase, "duration_s": 1.0} for phase in ("eval", "train", "startup")]
    spec = phase_bars(pd.DataFrame(rows), ["a"])
    [data] = spec["datasets"].values()

    assert spec["encoding"]["color"]["scale"]["domain"] == ["startup", "train", "eval"]
    assert {row["phase"]: row["order"] for row in data} == {p: PHASES.index(p) for p in ("eval", "train", "startup")}


def test_every_phase_has_a_colour() -> None:
    """A phase that the store knows can be drawn."""
    assert tuple(PHASE_COLOURS) == PHASES


def curves(slowest_s: float) -> pd.DataFrame:
    """Return two evaluations of two entries, the second of which ends at `slowest_s`."""
    ends = {"a": 1.0, "b": slowest_s}
    return pd.DataFrame(
        [
            {"run": label, "label": label, "epoch": epoch, "clock_s": end * epoch, "test_accuracy": 0.9 * epoch}
            for label, end in ends.items()
            for epoch in (0.5, 1.0)
        ]
    )


@pytest.mark.parametrize(("slowest_s", "scale"), [(2.0, None), (100.0, "log")])
def test_accuracy_is_drawn_on_a_log_axis_only_where_entries_end_far_apart(slowest_s: float, scale: str | None) -> None:
    """Fast entries are no stripe at the edge, and near ones keep the honest zero."""
    data = curves(slowest_s)
    spec = accuracy_curves(data, data, ["a", "b"], clock="train", target=0.96)
    x = spec["layer"][0]["encoding"]["x"]

    assert x["scale"].get("type") == scale
    assert ("log scale" in x["title"]) is (scale == "log")


def test_a_chart_of_accuracy_holds_more_points_than_altair_allows_in_a_frame() -> None:
    """A campaign of thirty heats and ten epochs has them."""
    many = pd.concat([curves(2.0).assign(run=f"run{number}") for number in range(2000)])
    spec = accuracy_curves(many, curves(2.0), ["a", "b"], clock="train", target=None)

    assert len(spec["datasets"][spec["layer"][0]["data"]["name"]]) == len(many) == 8000


def test_the_target_is_drawn_only_where_there_is_one() -> None:
    """Mode steps has no target."""
    data = curves(2.0)
    with_target = accuracy_curves(data, data, ["a", "b"], clock="e2e", target=0.96)
    without = accuracy_curves(data, data, ["a", "b"], clock="e2e", target=None)

    assert marks(with_target) == [*marks(without), "rule"]


@pytest.mark.parametrize("name", sorted(themes()))
def test_every_chart_can_be_drawn_in_every_theme(name: str) -> None:
    """The library that draws the still pictures accepts each specification."""
    data = curves(100.0)
    medians = pd.DataFrame([{"label": "a", "phase": "train", "duration_s": 1.0}])
    specs = [
        forest([SLOWER, SHORT], margin_ratio=0.03, floor_ratio=1.01),
        phase_bars(medians, ["a"]),
        accuracy_curves(data, data, ["a", "b"], clock="train", target=0.5),
        aligned_rows(ALIGNED, BANDS, ["a", "it's"], field="cores", deviation="cores_sd", top=2.0),
        *(run_curve(name) | {"datasets": RUN} for name in RUN_CURVES),
    ]

    for spec in specs:
        svg = vl_convert.vegalite_to_svg(spec | {"width": 500}, vl_version="6.4", config=themes()[name])
        assert svg.startswith("<svg")
        assert "NaN" not in svg


RUN = {
    "readings": [
        {"at_s": n / 10, "cores": cores, "machine_cores": 1.5, "memory_bytes": 10**8}
        for n, cores in enumerate([1.0, 1.0, None, 0.5, 0.5])
    ],
    "devices": [
        {
            "at_s": n / 10,
            "device": "GPU 0",
            "utilization_ratio": 0.9,
            "memory_bytes": 2**30,
            "run_memory_bytes": None,
            "power_w": 300.0,
            "temperature_c": 60.0,
        }
        for n in range(4)
    ],
    "phases": [{"phase": "train", "start_s": 0.0, "stop_s": 0.3, "disturbed": "other programs"}],
}
ALIGNED = pd.DataFrame(
    {
        "label": ["a", "a", "it's"],
        "since_training_s": [-0.1, 0.0, 0.0],
        "cores": [1.0, 1.9, 0.5],
        "cores_sd": [0.2, 0.3, None],
        "words": ["1.00 cores", "1.90 cores", "0.50 cores"],
    }
)
BANDS = pd.DataFrame({"label": ["a"], "phase": ["train"], "start_s": [0.0], "stop_s": [0.1]})


def test_a_band_ends_at_nothing_and_at_the_height_of_its_row() -> None:
    """Nobody keeps fewer than no core busy; a single run has no band."""
    spec = aligned_rows(ALIGNED, BANDS, ["a", "it's"], field="cores", deviation="cores_sd", top=2.0)
    rows = next(rows for rows in spec["datasets"].values() if rows and "mid" in rows[0])

    assert [(row["low"], row["mid"], row["high"]) for row in rows] == [
        (pytest.approx(1 + 0.41 * 0.8), pytest.approx(1.41), pytest.approx(1 + 0.41 * 1.2)),
        (pytest.approx(1 + 0.41 * 1.6), pytest.approx(1 + 0.41 * 1.9), pytest.approx(1.82)),
        (pytest.approx(0.205), pytest.approx(0.205), pytest.approx(0.205)),
    ]


def test_a_line_is_broken_where_nothing_was_read() -> None:
    """Two pieces, and no line through the gap."""
    drawn = run_curve("cores") | {"datasets": RUN, "width": 400}
    svg = vl_convert.vegalite_to_svg(drawn, vl_version="6.4", config=themes()["light"])
    curves = re.findall(r'<path [^>]*aria-roledescription="line mark"[^>]*? d="([^"]*)"', svg)

    assert [path.count("M") for path in curves] == [1, 2]  # the machine's, and the run's


def test_a_theme_says_the_colours_and_a_specification_none() -> None:
    """So one specification serves light and dark."""
    text = json.dumps(forest([SLOWER], margin_ratio=0.03, floor_ratio=1.01))

    assert "#" not in text
    assert theme("light")["range"] != theme("dark")["range"]


def test_numbers_are_rounded_to_what_a_chart_can_show() -> None:
    """A page need not carry sixteen digits."""
    point = ForestPoint(label="a", ratio=math.pi, low=None, high=None, verdict=Verdict.UNDECIDED, words="")
    [row] = point_rows(forest([point], margin_ratio=0.03, floor_ratio=None))

    assert row["ratio"] == 3.1416


def test_the_forest_plot_is_the_one_that_was_looked_at() -> None:
    """A change of the specification is seen before it is published."""
    spec = forest([SLOWER, SHORT], margin_ratio=0.03, floor_ratio=1.012)

    assert_snapshot("forest.json", json.dumps(spec, indent=1, sort_keys=True) + "\n")
