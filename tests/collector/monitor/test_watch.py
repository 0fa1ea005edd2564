"""`deadheat monitor`: finds or starts a process, reads it to its end, writes what there is, passes on how it ended."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pyarrow.parquet as pq
import pytest

from collector.monitor import target
from collector.monitor.output import Form, Keeper, LineWriter, Rows, UnixStatsWriter, form_of
from collector.monitor.target import MonitorError, Watched, find_name, find_pid, one_line, watched_command
from collector.monitor.unixstats import read_curves
from collector.monitor.view import device_text, size_text, sources_text
from collector.monitor.watch import Schedule, Tick, Totals, merge, watch
from collector.telemetry import Reading
from collector.telemetry.cgroup import run_group
from store.records import ReadingRow

DEADHEAT = [str(Path(sys.executable).parent / "deadheat"), "monitor"]
BURN = """
import os, time
held = bytearray(80_000_000)
held[::4096] = b"x" * len(held[::4096])
child = os.fork()
while time.process_time() < 0.4: pass
if child: os.waitpid(child, 0)
"""


def reading(**fields: object) -> Reading:
    plain = {"at_ns": 0, "source": "process_tree", "scope": "run", "quality": "sampled"}
    return Reading(**{**plain, **fields})


def tick(number: int, *readings: Reading) -> Tick:
    return Tick(number=number, at_s=number / 10, readings=readings)


def run_monitor(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*DEADHEAT, *arguments], cwd=folder, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    """Return a process that does nothing, with a name of its own."""
    process = subprocess.Popen(["bash", "-c", "exec -a deadheat-sleeper sleep 60"])
    time.sleep(0.1)
    yield process
    process.kill()
    process.wait()


# The figures


def test_quantities_of_several_sources_become_one_reading():
    """Each from the first that has it; the quality is that of the weakest."""
    group = reading(source="cgroup_v2", quality="exact", cpu_s=3.0)
    tree = reading(cpu_s=2.0, memory_bytes=7, processes=4)

    whole = merge([group, tree])

    assert whole is not None
    assert (whole.source, whole.quality) == ("cgroup_v2+process_tree", "sampled")
    assert (whole.cpu_s, whole.memory_bytes, whole.processes) == (3.0, 7, 4)
    assert merge([]) is None


def test_cores_are_differences_never_averages_since_the_start_of_the_process():
    """Of a process that had used 100 s before, two busy cores are two, now and on average."""
    totals = Totals()

    for number in range(31):
        totals.add(
            tick(number, reading(cpu_s=100 + number / 10 * (1 if number <= 20 else 2) - (2 if number > 20 else 0)))
        )

    assert totals.cores_now == pytest.approx(2.0)
    assert totals.cores_mean == pytest.approx(4 / 3)
    assert totals.cpu_used_s == pytest.approx(4.0)


def test_nothing_read_is_none():
    """Not zero."""
    totals = Totals()

    totals.add(tick(0, reading(quality="unavailable", reason="why")))

    assert (totals.cores_now, totals.cores_mean, totals.cpu_used_s, totals.memory_peak_bytes) == (None,) * 4
    assert totals.refused == {"process_tree": "why"}
    assert sources_text(totals) == "none"


def test_the_sources_are_told_per_quantity():
    """With their quality."""
    totals = Totals()

    totals.add(
        tick(
            0,
            reading(source="cgroup_v2", quality="exact", cpu_s=1.0),
            reading(memory_bytes=5),
            reading(source="nvml", scope="device", device_index=1, utilization_ratio=0.5, power_w=200.4),
        )
    )

    assert sources_text(totals) == ("CPU: cgroup_v2 (exact), memory: process_tree (sampled), GPU 1: nvml (sampled)")
    assert device_text(totals.devices[1]) == "50% of the time busy, 200 W"


@pytest.mark.parametrize(
    ("size_bytes", "text"), [(None, "–"), (999, "999 B"), (1_000, "1 kB"), (2_346_000_000, "2.35 GB"), (0, "0 B")]
)
def test_sizes_are_readable(size_bytes, text):
    """In powers of a thousand."""
    assert size_text(size_bytes) == text


# The schedule


class Slow:
    """A source whose second reading takes three periods."""

    def __init__(self) -> None:
        self.reads = 0

    def read(self, edge: str = "") -> list[Reading]:
        self.reads += 1
        if self.reads == 2:
            time.sleep(0.07)
        return [reading(edge=edge, cpu_s=float(self.reads))]

    def close(self) -> None:
        """Nothing is open."""


def test_a_late_reading_shifts_no_other_and_missed_places_stay_empty():
    """The places are multiples of the period, whatever a reading takes."""
    seen: list[Tick] = []
    here = Watched(pid=os.getpid(), label="", sources=[Slow()], read_pids=lambda: {1}, start_ns=time.monotonic_ns())

    watch(here, Schedule(period_s=0.02, duration_s=0.2), seen.append)

    numbers = [one.number for one in seen]
    assert numbers[:2] == [0, 1]
    assert numbers[2] >= 4
    assert numbers == sorted(set(numbers))
    assert numbers[-1] <= 10
    assert all(one.readings[0].late_s >= 0 for one in seen)
    assert all(one.at_s == pytest.approx(one.number * 0.02 + one.readings[0].late_s, abs=1e-6) for one in seen)


class Tree:
    """A source that has seen more than the kernel's account of the child will say."""

    def read(self, edge: str = "") -> list[Reading]:
        return [] if edge else [reading(cpu_s=99.0, memory_bytes=5, late_s=0.1)]

    def close(self) -> None:
        """Nothing is open."""


def test_the_total_never_falls_at_the_end():
    """Of descendants that nobody waited for, `wait4` says nothing."""
    seen: list[Tick] = []
    child = subprocess.Popen(["sleep", "0.2"])
    here = Watched(
        pid=child.pid,
        label="",
        sources=[Tree()],
        read_pids=lambda: {1},
        start_ns=time.monotonic_ns(),
        child=child,
    )

    watch(here, Schedule(period_s=0.05), seen.append)

    last = seen[-1].run
    assert child.returncode == 0
    assert last is not None
    assert (last.cpu_s, last.edge, last.source, last.memory_bytes) == (99.0, "exit", "process_tree", None)


# What is watched


def test_a_name_finds_the_topmost_process(sleeper):
    """By the word that it was called by."""
    assert find_name("deadheat-sleeper").pid == sleeper.pid


def test_several_of_a_name_are_listed_with_their_command_lines(sleeper):
    """And the remedy."""
    other = subprocess.Popen(["bash", "-c", "exec -a deadheat-sleeper sleep 61"])
    try:
        time.sleep(0.1)
        with pytest.raises(MonitorError, match=r"2 processes have this name.*Choose by --pid:") as caught:
            find_name("deadheat-sleeper")
    finally:
        other.kill()
        other.wait()

    assert f"{sleeper.pid}  deadheat-sleeper 60" in str(caught.value)
    assert f"{other.pid}  deadheat-sleeper 61" in str(caught.value)


def test_workers_of_the_same_name_belong_to_their_parent():
    """They are covered by watching it."""
    parent = subprocess.Popen(
        ["bash", "-c", "exec -a deadheat-parent bash -c 'bash -c \"exec -a deadheat-parent sleep 60\" & wait'"],
        start_new_session=True,
    )
    try:
        time.sleep(0.3)
        assert find_name("deadheat-parent").pid == parent.pid
    finally:
        os.killpg(parent.pid, signal.SIGKILL)
        parent.wait()


def test_what_cannot_be_watched_is_named():
    """A name that nobody has, an id that nobody has, one that has ended."""
    ended = subprocess.Popen(["true"])
    os.waitid(os.P_PID, ended.pid, os.WEXITED | os.WNOWAIT)

    with pytest.raises(MonitorError, match=f"--pid {ended.pid}: has ended, only its exit code is left"):
        find_pid(ended.pid)
    ended.wait()
    with pytest.raises(MonitorError, match=f"--pid {ended.pid}: there is no such process"):
        find_pid(ended.pid)
    with pytest.raises(MonitorError, match="--pid 99999999999999999999: there is no such process"):
        find_pid(99999999999999999999)
    with pytest.raises(MonitorError, match=r"no process has this name.*deadheat monitor -- no-such-name"):
        find_name("no-such-name")
    with (
        pytest.raises(MonitorError, match="no-such-program: is no program that can be started"),
        watched_command(["no-such-program"]),
    ):
        pass


@pytest.mark.parametrize("refusal", [psutil.AccessDenied(7), psutil.NoSuchProcess(7)])
def test_a_process_that_is_not_ours_to_read_is_named(monkeypatch, refusal):
    """Whether procfs refuses it or hides it."""

    def refuse(*_: object) -> None:
        raise refusal

    def forbid(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr(psutil, "Process", refuse)
    monkeypatch.setattr(os, "kill", forbid)

    with pytest.raises(MonitorError, match="--pid 7: may not be read; expected one whose /proc entry"):
        find_pid(7)


def test_a_script_without_its_interpreter_is_named(tmp_path, monkeypatch):
    """Where there is no control group; in one the shell says it, with exit code 127."""
    script = tmp_path / "script"
    script.write_text("#!/no/such/interpreter\n")
    script.chmod(0o755)
    monkeypatch.setattr(target, "run_group", lambda: run_group(tmp_path / "none"))

    with (
        pytest.raises(MonitorError, match=rf"{script}: cannot be executed \(No such file or directory\)"),
        watched_command([str(script)]),
    ):
        pass


def test_a_long_command_is_cut_to_a_line():
    """Line breaks too."""
    assert one_line("a\n  b") == "a b"
    assert len(one_line("x" * 500)) == 100


# What is written


def test_the_lines_are_the_columns_of_readings():
    """Those of the process tree alone, unless all are asked for; why a source is unavailable is said once."""
    device = reading(source="nvml", scope="device", quality="unavailable", reason="none here")
    ticks = [tick(n, reading(cpu_s=float(n), memory_bytes=n), device) for n in range(2)]
    alone, everything = io.StringIO(), io.StringIO()

    for file, every in ((alone, False), (everything, True)):
        writer = LineWriter(Rows("pid-1", 0, everything=every), file, Form.JSONL)
        for one in ticks:
            writer.add(one)

    lines = [json.loads(line) for line in alone.getvalue().splitlines()]
    assert [(line["cpu_s"], line["memory_bytes"], line["scope"]) for line in lines] == [
        (0.0, 0, "run"),
        (1.0, 1, "run"),
    ]
    assert list(lines[0]) == [field.name for field in dataclasses.fields(ReadingRow)]
    assert [json.loads(line)["source"] for line in everything.getvalue().splitlines()] == [
        "process_tree",
        "nvml",
        "process_tree",
    ]


def test_compat_writes_the_tools_lines(tmp_path):
    """A blank line first, the row's number for a clock, zeros where there is no device, none for the ending."""
    path = tmp_path / "unixstats.txt"
    device = reading(
        source="nvml", scope="device", device_index=0, utilization_ratio=0.25, run_memory_bytes=3457 * 1024**2
    )

    with path.open("w", newline="") as file:
        writer = UnixStatsWriter(file, lambda: 14.40489, lambda: 29.0)
        for one in (
            tick(0, reading(cpu_s=1.0), device),
            tick(3, reading(cpu_s=2.0)),
            tick(4, reading(cpu_s=2.5, edge="exit")),
        ):
            writer.add(one)

    assert path.read_text() == "\n0,0;14,4049;29;25;43,3154\n0,3;14,4049;29;0;0"
    assert [point.elapsed_s for point in read_curves(path).points] == [0.0, 0.3]


class Full:
    """A writer on a disk that is full."""

    def add(self, _: Tick) -> None:
        raise OSError(28, "No space left on device", "readings.csv")

    def close(self) -> None:
        raise AssertionError("closed after it failed")


def test_a_full_disk_stops_the_writer_and_not_the_watching():
    """It is told once."""
    lost: list[str] = []
    keeper = Keeper(Full(), lost)

    keeper.add(tick(0))
    keeper.add(tick(1))
    keeper.close()

    assert lost == [
        "readings.csv: could not be written to the end (No space left on device); expected a disk with room. "
        "What was written before is there."
    ]


@pytest.mark.parametrize(
    ("form", "output", "told"),
    [
        (None, Path("a.txt"), r"'\.txt' says no format; expected \.csv, \.jsonl, \.parquet"),
        (Form.PRETTY, Path("a.csv"), "pretty is for people"),
        (Form.PARQUET, None, "expected --output FILE"),
    ],
)
def test_format_and_file_must_go_together(form, output, told):
    """Each contradiction has a remedy."""
    with pytest.raises(MonitorError, match=told):
        form_of(form, output)


def test_the_name_of_the_file_can_say_the_format():
    """Unless a format is given."""
    assert form_of(None, Path("a.parquet")) is Form.PARQUET
    assert form_of(Form.CSV, Path("a.parquet")) is Form.CSV
    assert form_of(None, None) is Form.PRETTY


# The command


def test_a_command_is_watched_to_its_end(tmp_path):
    """Children included; its exit code is passed on; the sources are named; a picture is drawn."""
    code = BURN + "raise SystemExit(3 if child else 0)"

    done = run_monitor("-o", "r.jsonl", "--plot", "p.svg", "--", sys.executable, "-c", code, folder=tmp_path)

    lines = [json.loads(line) for line in (tmp_path / "r.jsonl").read_text().splitlines()]
    assert done.returncode == 3
    assert done.stdout == ""
    assert "sources  CPU: " in done.stderr
    assert "nvml: unavailable" in done.stderr or "GPU 0: nvml" in done.stderr
    assert lines[-1]["cpu_s"] == pytest.approx(0.8, abs=0.25)
    assert lines[-1]["edge"] == "exit"
    totals = [line["cpu_s"] for line in lines if line["cpu_s"] is not None]
    assert totals == sorted(totals)
    assert max(line["memory_bytes"] or 0 for line in lines) > 80_000_000
    assert (tmp_path / "p.svg").read_text().startswith("<svg")


# The monitor where a user may make no control group, there is no device and nobody counts energy.
POOR = """
import sys
from functools import partial
from pathlib import Path
from collector.monitor import target
from deadheat import main
nothing = Path(sys.argv.pop(1))
target.run_group = partial(target.run_group, nothing)
target.NvmlSource = partial(target.NvmlSource, procfs=nothing)
target.RaplSource = partial(target.RaplSource, nothing)
main()
"""


def test_a_machine_that_allows_nothing_is_enough(tmp_path):
    """The process tree is read, and the sources say what it was and what is missing, and why."""
    nothing = tmp_path / "nothing"
    watched = ["--scope", "all", "-o", "r.csv", "--", sys.executable, "-c", BURN]

    done = subprocess.run(
        [sys.executable, "-c", POOR, str(nothing), "monitor", *watched],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    told = " ".join(done.stderr.split())
    rows = list(csv.DictReader(io.StringIO((tmp_path / "r.csv").read_text())))
    assert done.returncode == 0
    assert "CPU: process_tree (sampled), memory: process_tree (sampled)" in told
    assert f"cgroup: unavailable: {nothing}: holds no control groups" in told
    assert f"nvml: unavailable: no NVIDIA driver: {nothing}/driver/nvidia is not there" in told
    assert "rapl: unavailable: the kernel shows no package energy counter" in told
    assert float([row for row in rows if row["scope"] == "run"][-1]["cpu_s"]) == pytest.approx(0.8, abs=0.25)
    assert {row["source"] for row in rows if row["quality"] == "unavailable"} == {"cgroup", "nvml", "rapl"}


def test_standard_output_is_for_the_readings_alone(tmp_path):
    """What the command says there goes to standard error; one that ends at once has a last line all the same."""
    done = run_monitor("--format", "csv", "--plot", "p.svg", "--", "echo", "hello", folder=tmp_path)

    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    picture = (tmp_path / "p.svg").read_text()
    assert done.returncode == 0
    assert rows[-1]["edge"] == "exit"
    assert float(rows[-1]["cpu_s"]) < 0.2
    assert "hello\n" in done.stderr
    shown = ("CPU cores busy", "memory [MB]", "ended before anything could be read twice")  # by when it was read
    assert any(words in picture for words in shown)


def test_a_process_is_watched_for_a_while(tmp_path, sleeper):
    """By its id, into Parquet; it lives on."""
    done = run_monitor("--pid", str(sleeper.pid), "--duration", "0.3", "-o", "r.parquet", folder=tmp_path)

    table = pq.read_table(tmp_path / "r.parquet")
    assert done.returncode == 0
    assert 1 <= table.num_rows <= 4
    assert set(table.column("scope").to_pylist()) == {"run"}
    assert all(value > 0 for value in table.column("memory_bytes").to_pylist())
    assert "watched  deadheat-sleeper 60" in done.stdout
    assert sleeper.poll() is None


def test_compat_says_what_it_is(tmp_path, sleeper):
    """On standard error; the file has the tool's form."""
    done = run_monitor("--pid", str(sleeper.pid), "--duration", "0.2", "--compat", "unixstats", folder=tmp_path)

    assert done.returncode == 0
    assert "cpu the machine's average since boot" in done.stderr
    lines = done.stdout.split("\n")
    assert lines[0] == ""
    assert lines[1].startswith("0,0;")
    assert all(len(line.split(";")) == 5 for line in lines[1:])


def test_ctrl_c_ends_the_command_and_keeps_what_was_read(tmp_path):
    """Also one that ignores it, and what it started."""
    script = "trap '' INT; sleep 77.125 & wait"
    process = subprocess.Popen(
        [*DEADHEAT, "-o", "r.jsonl", "--", "bash", "-c", script], cwd=tmp_path, stderr=subprocess.PIPE, text=True
    )
    file = tmp_path / "r.jsonl"
    deadline = time.monotonic() + 30
    while not (file.exists() and file.read_text().count("\n") > 2) and time.monotonic() < deadline:
        time.sleep(0.05)

    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=30)

    assert process.returncode == 130
    assert "interrupted; what was read until then is written" in told
    assert all(json.loads(line) for line in file.read_text().splitlines())
    left = subprocess.run(["pgrep", "-f", shlex.quote("sleep 77.125")], capture_output=True, text=True, check=False)
    assert left.stdout == ""


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "got nothing to watch; expected one of --process, --pid and -- COMMAND"),
        (["--pid", "1", "--", "true"], "got --pid and -- COMMAND"),
        (["--pid", "1", "--rate", "5", "--period", "1"], "got --period 1 and --rate 5"),
        (["--pid", "1", "--compat", "unixstats", "--rate", "5"], "got a reading every 0.2 s; expected 0.1 s"),
        (["--pid", "1", "--compat", "unixstats", "--format", "csv"], "is a format; got --format csv too"),
        (["--pid", "1", "--plot", "p.png"], "--plot p.png: '.png' is no format of a picture here; expected .svg"),
        (["--pid", "1", "-o", "no/folder.csv"], "no/folder.csv: cannot be written (No such file or directory)"),
    ],
)
def test_contradictions_are_named_before_anything_starts(arguments, told, tmp_path):
    """With exit code 2."""
    done = run_monitor(*arguments, folder=tmp_path)

    assert done.returncode == 2
    assert told in done.stderr
    assert "Traceback" not in done.stderr
