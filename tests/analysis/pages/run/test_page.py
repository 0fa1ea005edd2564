"""The page of a run: its curves with phases, where they come from, what disturbed it, whether all adds up."""

from __future__ import annotations

import html
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from analysis.frames.columns import Record, records
from analysis.pages.run.curves import curve_data, curves_of, sketch
from analysis.pages.run.page import RawFile, RunReadings, epochs_table, phases_table, run_page
from analysis.pages.run.sources import account_words, machine_table, source_words
from analysis.publish.publish import write_runs
from analysis.rendering import queries
from analysis.rendering.render import Page
from analysis.rendering.repeated_heats import repeat_words, repeated_words, repeats
from analysis.results.reader import read_results
from store.records import ReadingRow, Row
from tests.analysis.builders import epoch_row, frame, phase_row, reading_row, run_row
from tests.analysis.made_gpu_run import RUN_ID, made_gpu_rows
from tests.analysis.pages.test_listings import shown
from tests.analysis.sites import HOSTILE, write_store

TRAIN = phase_row(phase="train", start_s=1.0, duration_s=2.0, cpu_s=2.0)
NO_DEVICE = reading_row(
    source="nvml", scope="device", quality="unavailable", reason="no NVIDIA driver", cpu_s=None, memory_bytes=None
)

COUNTERS = ("cpu_s", "cpu_pressure_s", "steal_s", "throttled_s", "swapped_bytes", "available_memory_bytes")
NO_SOURCES = pd.DataFrame(columns=["source", "scope", "device_index", "readings", *COUNTERS, "load_1min", "late_s"])


def steps(*cores: float | None) -> pd.DataFrame:
    """Return a run on its grid, a tenth of a second a step."""
    rows = [
        {"at_s": n / 10, "cores": value, "machine_cores": None, "memory_bytes": value and 1e8 * value}
        for n, value in enumerate(cores)
    ]
    return pd.DataFrame(rows, columns=["at_s", "cores", "machine_cores", "memory_bytes"])


def devices(*rows: dict[str, Any]) -> pd.DataFrame:
    """Return readings of devices."""
    empty = dict.fromkeys(("utilization_ratio", "memory_bytes", "run_memory_bytes", "power_w", "temperature_c"))
    columns = ["device_index", "at_s", *empty]
    return pd.DataFrame([{**empty, "device_index": 0, **row} for row in rows], columns=columns).astype(float)


def table(rows: Sequence[Row], name: str) -> list[Record]:
    """Return the rows of one table."""
    return records(frame(rows, name))


def data_of(grid: pd.DataFrame, found: pd.DataFrame, *rows: Row) -> dict[str, list[dict[str, Any]]]:
    """Return what the curves of a run are drawn from."""
    return curve_data(table(rows, "phases"), table(rows, "epochs"), records(grid), records(found))


def sources_of(tmp_path: Path, *readings: ReadingRow) -> list[Record]:
    """Return what each source gave, as the store answers."""
    return records(write_store(tmp_path / "store", [run_row(), *readings]).query(queries.sources_of(["run1"])))


def page_of(tmp_path: Path, rows: list[Row], run_id: str) -> Page:
    """Return the page of one run of a store of `rows`."""
    store = write_store(tmp_path / "store", rows)
    made = write_runs(read_results(store), store, tmp_path / "docs")
    return next(page for page in made if page.path == f"runs/{run_id}.md")


def test_a_gap_in_the_readings_is_a_point_without_a_value() -> None:
    """So the line is broken there, and so is the sketch."""
    readings = data_of(steps(1.0, 1.0, None, 0.5, 0.5), devices())["readings"]

    assert [row["cores"] for row in readings] == [1.0, 1.0, None, 0.5, 0.5]
    assert sketch([0, 1, 2, 3, 4], [1.0, 1.0, None, 0.5, 0.5]).count("<polyline") == 2


@pytest.mark.parametrize("grid", [steps(), steps(1.0), steps(None, None)])
def test_a_run_with_fewer_than_two_steps_has_no_curve(grid: pd.DataFrame) -> None:
    """A point is no curve."""
    assert data_of(grid, devices())["readings"] == []
    assert curves_of(data_of(grid, devices())) == []
    assert sketch([], []) == ""


def test_a_device_that_was_lost_midway_leaves_a_gap() -> None:
    """And one that the run had nothing on is not drawn."""
    found = devices(
        *({"at_s": n / 10, "power_w": 100.0, "run_memory_bytes": 5} for n in range(5)),
        *({"at_s": 3 + n / 10, "power_w": 90.0, "run_memory_bytes": 5} for n in range(5)),
        {"at_s": 0.0, "device_index": 1, "power_w": 60.0, "run_memory_bytes": 0},
    )
    data = data_of(steps(), found)

    assert [row["power_w"] for row in data["devices"]] == [*[100.0] * 5, None, *[90.0] * 5]
    assert {row["device"] for row in data["devices"]} == {"GPU 0"}
    assert [curve.name for curve in curves_of(data)] == ["power"]


def test_a_disturbed_interval_is_marked_where_it_was_trained() -> None:
    """The second of two."""
    rows = [
        TRAIN,
        phase_row(phase="eval", start_s=3.0, duration_s=0.5),
        phase_row(phase="train", index=1, start_s=3.5, duration_s=2.0),
        epoch_row(contamination=""),
        epoch_row(epoch=0.5, contamination="other programs used 1.0 CPU s"),
    ]
    data = data_of(steps(1.0, 1.0), devices(), *rows)

    assert [row["disturbed"] for row in data["phases"]] == ["", "", "other programs used 1.0 CPU s"]
    assert epochs_table(table(rows, "epochs")).columns[-1] == "disturbed by"
    assert [row[-1] for row in epochs_table(table(rows, "epochs")).rows] == ["–", "other programs used 1.0 CPU s"]


def test_the_sources_of_the_curves_are_named_with_their_quality(tmp_path: Path) -> None:
    """CPU and memory may come from different ones; a control group comes before the process tree."""
    group = {"source": "cgroup_v2", "quality": "exact", "memory_bytes": None}
    found = sources_of(
        tmp_path, *(reading_row(at_s=at_s) for at_s in (0.1, 0.2)), reading_row(at_s=0.1, **group), NO_DEVICE
    )

    assert source_words(found) == [
        "CPU: cgroup_v2 (exact)",
        "memory: process_tree (sampled)",
        "GPU: not read: no NVIDIA driver",
    ]


def test_a_source_that_was_lost_says_from_when_and_why(tmp_path: Path) -> None:
    """The curve before stays."""
    device = {"source": "nvml", "scope": "device", "device_index": 0, "cpu_s": None}
    lost = reading_row(**device, at_s=2.0, quality="unavailable", reason="GPU is lost", memory_bytes=None)
    found = sources_of(tmp_path, reading_row(**device, at_s=1.0), lost)

    assert source_words(found)[2:] == ["GPU 0: nvml (sampled)", "GPU: not read from 2.00 s on: GPU is lost"]


def test_a_run_without_readings_says_so() -> None:
    """Nothing is read, and nothing is nought."""
    assert source_words([]) == ["CPU: not read", "memory: not read"]
    assert machine_table([]).rows == []


def test_what_other_programs_used_is_what_is_left_of_the_machine(tmp_path: Path) -> None:
    """Less the run and deadheat itself."""
    machine = {"source": "machine", "quality": "exact", "memory_bytes": None}
    rows = [
        reading_row(at_s=at_s, scope=scope, cpu_s=cpu_s, **(machine if scope != "run" else {}))
        for at_s, used in ((0.1, (100.0, 0.0, 7.0)), (5.1, (109.0, 5.0, 7.5)))
        for scope, cpu_s in zip(("machine", "run", "collector"), used, strict=True)
    ]
    found = dict(machine_table(sources_of(tmp_path, *rows)).rows)

    assert found["CPU seconds of the whole machine"] == "9.00 s"
    assert found["of other programs"] == "3.50 s"
    assert "mean clock" not in found


def test_phases_that_repeat_are_added_up_with_what_they_cost() -> None:
    """Of how many, where some were too short to tell."""
    rows = [
        TRAIN,
        phase_row(phase="eval", start_s=3.0, duration_s=0.1),
        phase_row(phase="train", index=1, start_s=3.1, duration_s=2.0, cpu_s=1.5, device_energy_j=1234.5),
        phase_row(phase="eval", index=1, start_s=5.1, duration_s=1.0, cpu_s=1.0, memory_peak_bytes=2**30),
    ]
    made = phases_table(table(rows, "phases"))

    assert made.columns[4:] == ("CPU seconds", "peak memory", "energy of GPUs")
    assert [row[3:] for row in made.rows] == [
        ("4.00 s", "3.50 s", "–", "1,234 J (1 of 2)"),
        ("1.10 s", "1.00 s (1 of 2)", "1.00 GiB", "–"),
    ]


def test_a_memory_of_nought_in_an_older_store_is_not_known(tmp_path: Path) -> None:
    """It was read before the kernel had counted any."""
    rows = [run_row(), phase_row(memory_peak_bytes=0), phase_row(phase="train", memory_peak_bytes=5)]
    store = write_store(tmp_path / "store", [*rows, reading_row(memory_bytes=0)])

    assert store.rows("SELECT memory_peak_bytes FROM phases ORDER BY phase").values == [(None,), (5,)]
    assert store.rows("SELECT memory_bytes FROM readings").values == [(None,)]


def test_the_cpu_seconds_of_the_phases_stand_beside_the_account_of_the_run() -> None:
    """Both numbers, and how far they are apart."""
    rows = [TRAIN, phase_row(phase="eval", start_s=3.0, duration_s=1.0, cpu_s=0.96)]
    run = frame([run_row(cpu_s=3.0, cpu_source="cgroup_v1")], "runs").to_dict("records")[0]

    assert account_words(run, table(rows, "phases")) == (
        "CPU seconds of the phases add up to 2.960 s; the account of the whole run (cgroup_v1) is 3.000 s: 1.3 % apart."
    )
    assert "of the 2 of 3 phases that have any" in account_words(run, table([*rows, phase_row()], "phases"))
    assert account_words(run, table([phase_row()], "phases")) == ""


def test_the_page_of_a_run_shows_its_ending_its_phases_and_its_files() -> None:
    """A run that crashed has a page like any other."""
    run = frame([run_row(status="crashed", message=HOSTILE, exit_code=-11)], "runs").to_dict("records")[0]
    readings = RunReadings(data_of(steps(1.0, 1.0), devices()), [])
    raw = [RawFile("log.txt", 10, "raw/run1/log.txt"), RawFile("events.jsonl", 10**6, "")]
    made = run_page("runs/run1.html", run, table([phase_row()], "phases"), [], readings, raw, "studies.html")
    text = shown(made)

    assert made.path == "runs/run1.md"
    assert "crashed" in text
    assert " ".join(HOSTILE.split()) in text
    assert "exit code -11" in text
    assert "learning rate 0.001" in text
    assert "startup 1 0 s 0.100 s" in text
    assert '<a href="../raw/run1/log.txt">log.txt</a>' in made.text
    assert "events.jsonl (too large for the site: in the store)" in text
    assert 'data-values="../assets/runs/run1.json"' in made.text


def test_a_run_on_a_gpu_shows_the_curves_of_the_gpu(tmp_path: Path) -> None:
    """From recorded readings that were made up: no device is needed, and none was measured."""
    made = page_of(tmp_path, made_gpu_rows(), RUN_ID)
    text = shown(made)

    for name in ("cores", "memory", "utilization", "device-memory", "power", "temperature"):
        assert f"run-{name}.json" in html.unescape(made.text)
    assert made.text.count("<polyline") == 6
    assert "GPU 0: nvml (sampled)" in text
    assert "3,062 J" in text
    assert "add up to 14.700 s; the account of the whole run (cgroup_v2) is 14.700 s: 0.0 % apart" in text


DISTURBED: dict[str, Any] = {"contaminated": True, "contamination": "other programs used 4.3 CPU s"}


def heats() -> pd.DataFrame:
    """Return a heat that was disturbed and run again, one that crashed and was, and one that was not."""
    return frame(
        [
            run_row(run_id="a1", **DISTURBED),
            run_row(run_id="b1", runner="python_jax"),
            run_row(run_id="a2", heat_attempt=2),
            run_row(run_id="c1", heat_id="heat2", status="crashed"),
            run_row(run_id="c2", heat_id="heat2", heat_attempt=2, **DISTURBED),
            run_row(run_id="d", heat_id="heat3"),
        ],
        "runs",
    )


def test_a_heat_that_was_run_again_says_why_on_every_run_of_it() -> None:
    """On the disturbed run itself, on those beside it, and on those of the next attempt."""
    runs = heats()
    words = {row["run_id"]: repeat_words(row, repeats(runs)) for row in runs.to_dict("records")}
    why = "python_pytorch was disturbed (other programs used 4.3 CPU s)"

    assert words["a1"] == "This heat was run again, and this attempt is not compared."
    assert words["b1"] == f"This heat was run again, and this attempt is not compared: {why}."
    assert words["a2"] == f"Attempt 2 of this heat, because in attempt 1 {why}."
    assert words["c2"] == "Attempt 2 of this heat, because in attempt 1 python_pytorch crashed."
    assert words["d"] == ""


def test_heats_that_were_repeated_because_of_a_disturbance_are_counted() -> None:
    """A crash is none; a last attempt that was disturbed too is told apart."""
    assert repeated_words(heats()) == (
        "1 of 3 heats was run again because something else was at work during one of their runs; 1 had a disturbed run "
        "in the last attempt too, which is shown and not compared."
    )
    assert repeated_words(frame([run_row()], "runs")) == ""
