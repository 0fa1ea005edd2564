"""Where the readings of one run come from, what the machine did meanwhile, and whether all adds up (pure)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from analysis.frames.columns import Record, is_absent
from analysis.rendering import tables
from analysis.rendering.tables import Table
from analysis.rendering.wording import seconds

# What a source that could not be had would have given.
SOURCES = {
    "cgroup": "control group",
    "nvml": "GPU",
    "rapl": "energy of the CPU packages",
    "smaps_rollup": "proportional set size",
    "process_tree": "process tree",
    "machine": "whole machine",
    "sampler": "further readings",
}


def source_words(sources: Sequence[Record]) -> list[str]:
    """Return which source each curve comes from with its quality, and why what is missing is missing.

    Parameters
    ----------
    sources
        The run's rows of `queries.sources_of`.
    """
    rows = sorted(sources, key=lambda row: str(row["source"]))
    mine = [row for row in rows if row["scope"] == "run"]
    told = [
        _first("CPU", [row for row in mine if row["cpu_readings"]]),
        _first("memory", [row for row in mine if row["memory_readings"]]),
        *(_said(SOURCES["machine"], row) for row in rows if row["scope"] == "machine" and _is_read(row, "machine")),
        *(_said(f"GPU {row['device_index']:.0f}", row) for row in rows if row["scope"] == "device" and row["readings"]),
        *(_said(SOURCES["rapl"], row) for row in rows if _is_read(row, "rapl")),
    ]
    return [*told, *_missing(rows)]


def machine_table(sources: Sequence[Record]) -> Table:
    """Return what the machine did while the run was under way; what was not read is left out."""
    found = {row["scope"]: row for row in sources if row["source"] == "machine"}
    whole, own = found.get("machine", {}), found.get("collector", {})
    mine_s = _largest(sources, "cpu_s")
    used = [value for value in (whole.get("cpu_s"), mine_s, own.get("cpu_s")) if value is not None]
    others = max(0.0, used[0] - used[1] - used[2]) if len(used) == 3 else None
    figures = (
        ("CPU seconds of the whole machine", seconds(whole.get("cpu_s"))),
        ("of deadheat itself", seconds(own.get("cpu_s"))),
        ("of other programs", seconds(others)),
        ("time in which some task waited for a CPU", seconds(whole.get("cpu_pressure_s"))),
        ("of it some task of the run", seconds(_largest(sources, "cpu_pressure_s"))),
        ("CPU seconds that the host took (steal)", seconds(whole.get("steal_s"))),
        ("time in which a CPU quota held the run back", seconds(_largest(sources, "throttled_s"))),
        ("least free memory", tables.memory(whole.get("available_memory_bytes"))),
        ("swapped out", tables.memory(whole.get("swapped_bytes"))),
        ("highest load average over one minute", tables.number(whole.get("load_1min"))),
        ("mean clock", _gigahertz(whole.get("clock_hz"))),
        ("readings late by at most (99 %)", seconds(_largest(sources, "late_s"))),
    )
    rows = [figure for figure in figures if figure[1] != tables.NOTHING]
    return Table(caption="The machine meanwhile", columns=("what", "value"), rows=rows, numeric=("value",))


def account_words(run: Mapping[str, Any], phases: Sequence[Record]) -> str:
    """Return the CPU seconds of all phases beside the account of the whole run; empty where one is missing."""
    known = [row["cpu_s"] for row in phases if row["cpu_s"] is not None]
    if not known or is_absent(run["cpu_s"]) or not run["cpu_s"]:
        return ""
    summed, counted = sum(known), float(run["cpu_s"])
    which = "the phases" if len(known) == len(phases) else f"the {len(known)} of {len(phases)} phases that have any"
    by = "" if is_absent(run["cpu_source"]) else f" ({run['cpu_source']})"
    return (
        f"CPU seconds of {which} add up to {summed:.3f} s; the account of the whole run{by} is {counted:.3f} s: "
        f"{100 * abs(summed / counted - 1):.1f} % apart."
    )


def _largest(sources: Sequence[Record], name: str) -> float | None:
    """Return the largest figure that a source of the run gave."""
    known = (row[name] for row in sources if row["scope"] == "run" and row[name] is not None)
    return max(known, default=None)


def _first(what: str, rows: Sequence[Record]) -> str:
    """Return the best source of a quantity: a control group's name comes before the process tree's."""
    return _said(what, rows[0]) if rows else f"{what}: not read"


def _said(what: str, row: Record) -> str:
    partly = f"; {row['partly']}" if row["partly"] else ""
    return f"{what}: {row['source']} ({row['quality']}{partly})"


def _is_read(row: Record, source: str) -> bool:
    return bool(row["source"] == source and row["readings"])


def _missing(rows: Sequence[Record]) -> Iterator[str]:
    for row in rows:
        if row["reason"]:
            what = SOURCES.get(row["source"], row["source"])
            since = f" from {seconds(row['lost_s'])} on" if row["readings"] else ""
            yield f"{what}: not read{since}: {row['reason']}"


def _gigahertz(hertz: float | None) -> str:
    return tables.NOTHING if hertz is None else f"{hertz / 1e9:.2f} GHz"
