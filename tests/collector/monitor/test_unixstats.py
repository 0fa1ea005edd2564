"""UnixStats' files: read as they are, written as the tool writes them, doubted where they are wrong."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from collector.cli.import_commands import import_app
from collector.monitor.unixstats import (
    Curves,
    Point,
    UnixStatsError,
    format_point,
    parse_line,
    published_rows,
    read_cpu_since_boot_percent,
    read_curves,
    read_ram_percent,
    suspicions,
)
from store.database import Store

TOOLS_OWN = "\n0,0;14,4049;29,2317;2;85,6117\n0,1;14,405;29,2313;2;85,6117\n0,2;14,4051;29,2319;4;85,6117"
MEMINFO = (
    "MemTotal: 1000 kB\nMemFree: 300 kB\nMemAvailable: 700 kB\nBuffers: 100 kB\nCached: 50 kB\nSReclaimable: 50 kB\n"
)


def written(folder: Path, content: str | bytes, name: str = "beam_smp_20220423_214830.txt") -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def curves(points: list[Point]) -> Curves:
    return Curves(name="x.txt", sha256="0", points=tuple(points))


def point(place: int, **changes: float) -> Point:
    values = {"cpu_percent": 14.0 + place / 1000, "ram_percent": 30.0, "gpu_percent": 2.0, "video_ram_percent": 50.0}
    return Point(line=place + 2, elapsed_s=place / 10, **{**values, **changes})


def as_the_tool_has_it(value: float) -> float:
    return float(f"{value:.6g}")


percentages = st.floats(0, 100).map(as_the_tool_has_it)
points = st.builds(
    Point,
    line=st.just(2),
    elapsed_s=st.integers(0, 10**6).map(lambda row: row / 10),
    cpu_percent=percentages,
    ram_percent=percentages,
    gpu_percent=st.integers(0, 100).map(float),
    video_ram_percent=st.integers(0, 7981).map(lambda mib: round(mib * 100 / 7981, 4)),
)
given_up = points.map(
    lambda p: Point(
        line=2,
        elapsed_s=p.elapsed_s,
        cpu_percent=p.cpu_percent,
        ram_percent=p.ram_percent,
        gpu_percent=0.0,
        video_ram_percent=0.0,
        gpu_given_up=True,
    )
)


@given(points | given_up)
def test_what_is_written_is_read_again(one):
    """Every number, and whether the tool had given up on the GPU."""
    assert parse_line(format_point(one).removeprefix("\n"), 2) == one


def test_the_writer_writes_what_the_tool_wrote(tmp_path):
    """A file of the tool itself, to the last byte: blank first line, commas, no newline at the end."""
    read = read_curves(written(tmp_path, TOOLS_OWN))

    assert "".join(map(format_point, read.points)) == TOOLS_OWN


@pytest.mark.parametrize(
    "content",
    [
        TOOLS_OWN,
        TOOLS_OWN.removeprefix("\n"),
        TOOLS_OWN + "\n",
        TOOLS_OWN.replace("\n", "\r\n"),
        b"\xef\xbb\xbf" + TOOLS_OWN.encode(),
        b"\xef\xbb\xbf" + TOOLS_OWN.replace("\n", "\r\n").encode() + b"\r\n",
    ],
    ids=["as written", "no blank line", "newline at the end", "CRLF", "BOM", "all of it"],
)
def test_what_editors_do_to_a_file_changes_nothing(content, tmp_path):
    """The same numbers each time."""
    read = read_curves(written(tmp_path, content))

    assert [(p.elapsed_s, p.cpu_percent, p.gpu_percent, p.video_ram_percent) for p in read.points] == [
        (0.0, 14.4049, 2.0, 85.6117),
        (0.1, 14.405, 2.0, 85.6117),
        (0.2, 14.4051, 4.0, 85.6117),
    ]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("\n0,0;14.4;29,2;2;8,6", r"line 2: cpu is '14.4'; expected a decimal comma \('14,4'\)"),
        (TOOLS_OWN[:-14], r"line 4: has 3 fields \('0,2;14,4051;29,'\); expected 5: elapsed;cpu;ram;gpu;video_ram"),
        ("\n0,0;14,4;29,2;2;8,6 MiB", r"line 2: video_ram is '8,6 MiB'; expected a number"),
        ("\n0,0;14,4;29,2;2;8,6;", r"line 2: has 6 fields"),
        ("\n0,0;14,4;29,2;2;8,6\n\n0,1;14,4;29,2;2;8,6", r"line 3: has 1 field \(''\)"),
        ("time(s);cpu;ram;gpu;graphic ram\n0,0;1,0;1,0;1;1,0", r"line 1: elapsed is 'time\(s\)'; expected a number"),
        ("\n0,0;-1,0;29,2;2;8,6", r"line 2: cpu is '-1,0'; expected a number"),
        ("\n0,0;1e999;29,2;2;8,6", r"line 2: cpu is '1e999'; expected a number that is not beyond all bounds"),
        ("", r"holds no line of numbers"),
        ("\n", r"holds no line of numbers"),
        (b"\n0,0;\xff", r"byte 5 is no text"),
    ],
)
def test_what_is_no_line_is_named_with_file_line_and_value(content, told, tmp_path):
    """And with what to do."""
    path = written(tmp_path, content)

    with pytest.raises(UnixStatsError, match=rf"^{path}: .*{told}") as caught:
        read_curves(path)

    assert str(caught.value).rstrip().endswith((".", "so."))


def test_a_file_that_is_not_there_is_named(tmp_path):
    """With the system's reason."""
    with pytest.raises(UnixStatsError, match="nowhere.txt: cannot be read"):
        read_curves(tmp_path / "nowhere.txt")


def test_damaged_lines_can_be_left_out_and_are_told_of(tmp_path):
    """In the suspicion of every number of the file."""
    read = read_curves(written(tmp_path, TOOLS_OWN + "\n0,3;14,4"), skip_damaged=True)

    assert len(read.points) == 3
    rows = published_rows(read, study="s", system="", workload="")
    assert all("left out: line 5: has 2 fields ('0,3;14,4')" in row.suspicion for row in rows)


def test_the_tools_own_file_is_doubted_column_by_column(tmp_path):
    """The example that the tool comes with: 3457 of 4038 MiB, which stood in its first version."""
    doubts = suspicions(read_curves(written(tmp_path, TOOLS_OWN)))

    assert "the number of the row / 10, not a clock" in doubts["file"]
    assert "cpu only rises (14.4049 to 14.4051 %" in doubts["cpu"]
    assert "average since boot" in doubts["cpu"]
    assert "percentage of 4038 MiB" in doubts["video_ram"]
    assert "the largest value is 3457 MiB" in doubts["video_ram"]
    assert "gpu" not in doubts


def test_a_cpu_column_that_jumps_is_not_called_an_average():
    """Nor one of which nothing can be said."""
    jumping = [point(place, cpu_percent=value) for place, value in enumerate((10.0, 60.0, 35.0, 90.0))]
    short = [point(place) for place in range(2)]
    still = [point(place, cpu_percent=7.0) for place in range(20)]

    assert ["cpu" in suspicions(curves(of)) for of in (jumping, short, still)] == [False, False, False]


def test_a_cpu_column_that_falls_a_little_is_an_average_too():
    """A machine that idles pulls its average since boot down."""
    falling = [point(place, cpu_percent=14.0 - place / 1000) for place in range(5)]

    assert "cpu only creeps" in suspicions(curves(falling))["cpu"]


def test_a_real_clock_is_not_called_nominal():
    """One row that was late is enough."""
    late = [point(0), point(1), Point(**{**{f: getattr(point(2), f) for f in Point.__slots__}, "elapsed_s": 0.23})]

    assert "file" not in suspicions(curves(late))


def test_two_measurements_in_one_file_are_told():
    """The tool appends to a file of the same second."""
    twice = [point(0), point(1), point(0)]

    assert "elapsed goes from 0.1 s back to 0 s in line 2" in suspicions(curves(twice))["file"]


def test_columns_that_the_tool_gave_up_are_told(tmp_path):
    """Written 0,0, which is no reading; a plain 0 is one."""
    read = read_curves(written(tmp_path, "\n0,0;1,0;2,0;5;0\n0,1;1,0;2,0;0,0;0,0\n0,2;1,0;2,0;0,0;0,0"))

    doubts = suspicions(read)
    assert "0,0 in 2 rows from line 3 on" in doubts["gpu"]
    assert "0,0 in 2 rows from line 3 on" in doubts["video_ram"]


def test_more_than_all_of_the_memory_is_told():
    """On a device larger than the size in the source, and in any other column."""
    above = [point(place, video_ram_percent=150.123, ram_percent=101.0) for place in range(3)]

    doubts = suspicions(curves(above))
    assert "video_ram is 150.123 % in line 2" in doubts["video_ram"]
    assert "ram is 101 % in line 2" in doubts["ram"]


def test_the_share_since_boot_is_the_tools_own_sum(tmp_path):
    """User and system of user, system and idle: nice and waiting are in neither."""
    (tmp_path / "stat").write_text("cpu  20 500 10 70 900 3 4 0 0 0\ncpu0 1 1 1 1 1 1 1 0 0 0\n")

    assert read_cpu_since_boot_percent(tmp_path) == pytest.approx(30.0)


def test_the_machines_memory_is_without_buffers_and_caches(tmp_path):
    """As `free` had it then."""
    (tmp_path / "meminfo").write_text(MEMINFO)

    assert read_ram_percent(tmp_path) == pytest.approx(50.0)


def test_import_stores_every_number_once(tmp_path):
    """As published, with place, scope and doubt; the same content is recognised, whatever its name."""
    first, second = written(tmp_path, TOOLS_OWN), written(tmp_path, TOOLS_OWN, "copy.txt")
    arguments = ["unixstats", str(first), str(second), "--study", "paper", "--store", str(tmp_path / "s")]

    shown = CliRunner().invoke(import_app, arguments)

    assert shown.exit_code == 0
    assert "3 rows until 0.2 s, 12 published numbers stored" in shown.stdout
    assert "  cpu only rises" in shown.stdout
    assert "copy.txt: is in the store already, as beam_smp_20220423_214830.txt" in shown.stdout
    stored = Store(tmp_path / "s").rows(
        "SELECT * FROM published WHERE metric = 'cpu' AND place LIKE 'beam%' ORDER BY value DESC"
    )
    row = dict(zip(stored.columns, stored.values[0], strict=True))
    assert len(stored.values) == 3
    assert (row["study"], row["system"], row["value"], row["unit"]) == ("paper", "beam_smp", 14.4051, "%")
    conditions = json.loads(row["conditions"])
    assert (conditions["elapsed_s"], conditions["line"], conditions["scope"]) == (0.2, 4, "machine")
    assert Store(tmp_path / "s").check() == []


def test_one_bad_file_stores_none(tmp_path):
    """All are read before the first is stored."""
    good, bad = written(tmp_path, TOOLS_OWN), written(tmp_path, "nothing", "bad.txt")

    shown = CliRunner().invoke(import_app, ["unixstats", str(good), str(bad), "--store", str(tmp_path / "s")])

    assert isinstance(shown.exception, UnixStatsError)
    assert Store(tmp_path / "s").is_empty()
