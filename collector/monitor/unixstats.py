"""UnixStats' file format: reading it, writing it, and what is wrong with what it says.

Its files have a blank first line, then lines `elapsed;cpu;ram;gpu;video_ram` with decimal commas, no header, and no
newline at the end. `cpu` is the share of CPU time since boot, `ram` and `gpu` are of the whole machine, `video_ram` is
the first process of a name, as a percentage of a memory size that stands in the tool's source.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from store.errors import DeadheatError
from store.records import PublishedRow

ROWS_PER_S = 10
VIDEO_RAM_MIB = 7981
VIDEO_RAM_SIZES_MIB = (VIDEO_RAM_MIB, 4038)  # of the tool's last version and of the one that made its examples
COLUMNS = ("elapsed", "cpu", "ram", "gpu", "video_ram")
SCOPES = {"cpu": "machine", "ram": "machine", "gpu": "device", "video_ram": "first process of that name"}
GIVEN_UP = "0,0"  # in the gpu column, which else has whole numbers: nothing was read any more
NUMBER = re.compile(r"\d+(,\d+)?(e[+-]?\d+)?")
FILE_NAME = re.compile(r"(?P<process>.+)_\d{8}_\d{6}")
LONGEST_STEP = 0.2  # points per row; a share of the last 0.1 s jumps by whole ticks of a core
FEWEST_ROWS, FEWEST_RISING_ROWS = 3, 10  # from which a slow creep, and any rise, is no chance


class UnixStatsError(DeadheatError):
    """A file that is not UnixStats' as it stands."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One line of a file, as it stands there."""

    line: int
    elapsed_s: float
    cpu_percent: float
    ram_percent: float
    gpu_percent: float
    video_ram_percent: float
    gpu_given_up: bool = False

    def value(self, column: str) -> float:
        """Return the number of one of the four curves."""
        return float(getattr(self, f"{column}_percent"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Curves:
    """One file: its points, and the lines that could not be read and were left out."""

    name: str
    sha256: str
    points: tuple[Point, ...]
    left_out: tuple[str, ...] = ()

    @property
    def process(self) -> str:
        """The measured process as the tool writes it into the file's name, '.' as '_'; empty where it does not."""
        match = FILE_NAME.fullmatch(Path(self.name).stem.removeprefix("EXAMPLE_"))
        return match["process"] if match else ""


def read_curves(path: Path, *, skip_damaged: bool = False) -> Curves:
    """Return the curves of one file.

    A blank first line, a byte order mark, CRLF and a newline at the end are all accepted.

    Raises
    ------
    UnixStatsError
        If the file cannot be read, holds no line, or a line is not five numbers with decimal commas; with
        `skip_damaged` such a line is left out and named in the result.
    """
    try:
        content = path.read_bytes()
        text = content.decode("utf-8-sig")
    except OSError as reason:
        raise UnixStatsError(
            f"{path}: cannot be read ({reason.strerror}); expected a file. Correct the path."
        ) from None
    except UnicodeDecodeError as reason:
        raise UnixStatsError(
            f"{path}: byte {reason.start} is no text; expected lines '0,0;4,3;9,9;3;1,6'. Give a file of UnixStats."
        ) from None
    points, left_out = [], []
    for number, line in _numbered_lines(text):
        try:
            points.append(parse_line(line, number))
        except UnixStatsError as reason:
            if not skip_damaged:
                raise UnixStatsError(
                    f"{path}: {reason} Correct the line, or give --skip-damaged: it is then left out, and `suspicion` "
                    "says so."
                ) from None
            left_out.append(str(reason))
    if not points:
        raise UnixStatsError(f"{path}: holds no line of numbers; expected '0,0;4,3;9,9;3;1,6'. Nothing to import.")
    digest = hashlib.sha256(content).hexdigest()
    return Curves(name=path.name, sha256=digest, points=tuple(points), left_out=tuple(left_out))


def _numbered_lines(text: str) -> Iterator[tuple[int, str]]:
    """Yield the lines with their numbers, but for a blank first one and the nothing after a last newline."""
    lines = text.replace("\r\n", "\n").split("\n")
    first = 1 if not lines[0] else 0
    last = len(lines) - 1 if not lines[-1] else len(lines)
    for index in range(first, last):
        yield index + 1, lines[index]


def parse_line(line: str, number: int) -> Point:
    """Return the point on one line.

    Raises
    ------
    UnixStatsError
        If it is not five numbers with decimal commas.
    """
    fields = line.split(";")
    if len(fields) != len(COLUMNS):
        found = f"{len(fields)} field{'' if len(fields) == 1 else 's'} ({line!r})"
        raise UnixStatsError(f"line {number}: has {found}; expected 5: {';'.join(COLUMNS)}, whole to the last.")
    elapsed_s, cpu, ram, gpu, video_ram = (
        _number(field, column, number) for column, field in zip(COLUMNS, fields, strict=True)
    )
    return Point(
        line=number,
        elapsed_s=elapsed_s,
        cpu_percent=cpu,
        ram_percent=ram,
        gpu_percent=gpu,
        video_ram_percent=video_ram,
        gpu_given_up=fields[3] == fields[4] == GIVEN_UP,
    )


def _number(field: str, column: str, line: int) -> float:
    if not NUMBER.fullmatch(field):
        wanted = f"a decimal comma ({field.replace('.', ',')!r})" if "." in field else "a number such as '14,4049'"
        raise UnixStatsError(f"line {line}: {column} is {field!r}; expected {wanted}.")
    value = float(field.replace(",", "."))
    if not math.isfinite(value):
        raise UnixStatsError(f"line {line}: {column} is {field!r}; expected a number that is not beyond all bounds.")
    return value


def format_point(point: Point) -> str:
    """Return one line as the tool appends it: the newline comes first, so that the file has none at its end."""
    if point.gpu_given_up:
        gpu = video_ram = GIVEN_UP
    else:
        gpu = f"{point.gpu_percent:.0f}"
        video_ram = repr(round(point.video_ram_percent, 4)) if point.video_ram_percent else "0"
    fields = (repr(point.elapsed_s), f"{point.cpu_percent:.6g}", f"{point.ram_percent:.6g}", gpu, video_ram)
    return "\n" + ";".join(field.replace(".", ",") for field in fields)


def suspicions(curves: Curves) -> dict[str, str]:
    """Return what is wrong, per column of the file, and under 'file' what concerns every number; empty: nothing."""
    found = {
        "file": "; ".join(filter(None, (*_damage(curves), _nominal_clock(curves), _backward_clock(curves)))),
        "cpu": _since_boot(curves),
        "ram": _over_all(curves, "ram"),
        "gpu": "; ".join(filter(None, (_gave_up(curves), _over_all(curves, "gpu")))),
        "video_ram": "; ".join(filter(None, (_fixed_memory(curves), _gave_up(curves), _absent(curves)))),
    }
    return {column: text for column, text in found.items() if text}


def _damage(curves: Curves) -> list[str]:
    return [f"left out: {reason}" for reason in curves.left_out]


def _nominal_clock(curves: Curves) -> str:
    """Return that no reading was ever late, which no clock says of a loop that starts processes."""
    places = [round(point.elapsed_s * ROWS_PER_S, 6) for point in curves.points]
    steps = {round(after - before, 6) for before, after in itertools.pairwise(places)}
    if len(places) < FEWEST_ROWS or steps != {1.0}:
        return ""
    return "elapsed is the number of the row / 10, not a clock: how late the rows were is not known"


def _backward_clock(curves: Curves) -> str:
    for before, after in itertools.pairwise(curves.points):
        if after.elapsed_s <= before.elapsed_s:
            return (
                f"elapsed goes from {before.elapsed_s:g} s back to {after.elapsed_s:g} s in line {after.line}: "
                "the tool appends, so these may be two measurements in one file"
            )
    return ""


def _since_boot(curves: Curves) -> str:
    values = [point.cpu_percent for point in curves.points]
    steps = [after - before for before, after in itertools.pairwise(values)]
    if len(values) < FEWEST_ROWS or not any(steps):
        return ""
    creeps, rises = max(map(abs, steps)) <= LONGEST_STEP, min(steps) >= 0
    if not creeps and not (rises and len(values) >= FEWEST_RISING_ROWS):
        return ""
    how = "only rises" if rises else "only creeps"
    return (
        f"cpu {how} ({values[0]:g} to {values[-1]:g} %, at most {max(map(abs, steps)):.2g} points from row to row): "
        "the machine's average since boot, not what was in use"
    )


def _fixed_memory(curves: Curves) -> str:
    """Return the size of which every value is a whole number of MiB: the one in the tool's source."""
    values = {point.video_ram_percent for point in curves.points if point.video_ram_percent}
    for size in VIDEO_RAM_SIZES_MIB if values else ():
        if all(round(round(value * size / 100) * 100 / size, 4) == round(value, 4) for value in values):
            return (
                f"video_ram is a percentage of {size} MiB, a size fixed in the tool's source whatever the device has: "
                f"the largest value is {round(max(values) * size / 100)} MiB"
            )
    return _over_all(curves, "video_ram")


def _over_all(curves: Curves, column: str) -> str:
    above = [point for point in curves.points if point.value(column) > 100]
    if not above:
        return ""
    return f"{column} is {above[0].value(column):g} % in line {above[0].line}; expected at most 100"


def _gave_up(curves: Curves) -> str:
    given_up = [point for point in curves.points if point.gpu_given_up]
    if not given_up:
        return ""
    return (
        f"the GPU columns are {GIVEN_UP} in {len(given_up)} rows from line {given_up[0].line} on: "
        "after 30 slow rows the tool stops reading the GPU, so these are no readings"
    )


def _absent(curves: Curves) -> str:
    if any(point.video_ram_percent or point.gpu_given_up for point in curves.points):
        return ""
    return "video_ram is 0 throughout: no process of that name held GPU memory, or none was found"


def published_rows(curves: Curves, *, study: str, system: str, workload: str) -> list[PublishedRow]:
    """Return the four curves as published numbers, one row per number, in the order of the file."""
    doubts = suspicions(curves)
    rows = []
    for point in curves.points:
        for column, scope in SCOPES.items():
            doubt = "; ".join(filter(None, (doubts.get(column), doubts.get("file"))))
            where = {"elapsed_s": point.elapsed_s, "line": point.line, "scope": scope, "sha256": curves.sha256}
            rows.append(
                PublishedRow(
                    study=study,
                    place=curves.name,
                    system=system or curves.process,
                    workload=workload,
                    metric=column,
                    value=point.value(column),
                    unit="%",
                    conditions=json.dumps(where),
                    suspicion=doubt,
                )
            )
    return rows


def read_cpu_since_boot_percent(procfs: Path = Path("/proc")) -> float:
    """Return the share of CPU time since boot as the tool computes it: (user + system) of (user + system + idle)."""
    _, user, _, system, idle, *_ = (procfs / "stat").read_text(encoding="ascii").split("\n", 1)[0].split()
    busy = int(user) + int(system)
    return 100 * busy / (busy + int(idle))


def read_ram_percent(procfs: Path = Path("/proc")) -> float:
    """Return the machine's memory in use as `free` showed it in 2022: without buffers and caches."""
    lines = (procfs / "meminfo").read_text(encoding="ascii").splitlines()
    kib = {name: int(value.split()[0]) for name, _, value in (line.partition(":") for line in lines)}
    unused = kib["MemFree"] + kib["Buffers"] + kib["Cached"] + kib["SReclaimable"]
    return 100 * (kib["MemTotal"] - unused) / kib["MemTotal"]
