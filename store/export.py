"""Makes a snapshot of a store: its records in one file per table, without raw files and without the machine's name."""

from __future__ import annotations

import dataclasses
import re
import shutil
from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from store.database import Store
from store.records import TABLES, EnvironmentRow, EpochRow, GateRow, ReadingRow, Row, RunRow
from store.snapshot import ABOUT, NAME_PATTERN, NAME_RULE, Snapshot, SnapshotError, snapshot_text

READINGS_EVERY_S = 0.3  # the view aligned_readings reads nothing out of gaps of more than 0.5 s
LEFT_OUT = [
    "raw files",
    "the machine's name and the folders of paths",
    f"readings between phases but one in {READINGS_EVERY_S:g} s of each source",
    "readings of deadheat itself",
    "gates of no campaign",
    "published numbers",
]
CHOSEN = "runs WHERE list_contains($1, campaign_id) AND runner_class <> 'test'"
OF_RUNS = "SEMI JOIN (SELECT run_id FROM " + CHOSEN + ") AS chosen USING (run_id)"
QUESTIONS = {
    "environments": f"FROM environments SEMI JOIN (SELECT environment_id FROM {CHOSEN}) AS chosen "
    "USING (environment_id) ORDER BY environment_id",
    "runs": f"FROM {CHOSEN} ORDER BY started_at, run_id",
    "phases": f"FROM phases {OF_RUNS} ORDER BY run_id, start_s, phase",
    "epochs": f"FROM epochs {OF_RUNS} ORDER BY run_id, epoch",
    "measurements": f"FROM measurements {OF_RUNS} ORDER BY metric, run_id",
    "gates": "FROM gates WHERE list_contains($1, campaign_id) ORDER BY ALL",
    "readings": f"""
FROM readings {OF_RUNS}
WHERE scope <> 'collector'
QUALIFY coalesce(edge, '') <> '' OR row_number() OVER (
    PARTITION BY run_id, source, scope, device_index, coalesce(edge, ''), floor(at_s / {READINGS_EVERY_S}) ORDER BY at_s
) = 1
ORDER BY source, scope, run_id, at_s""",
}
# A path from the root: its folders are one machine's. It may stand in a list (a:b), behind an option (-I) or behind a
# scheme (file://); no address of the web, no share such as 1/s.
FOLDERS = re.compile(r"(?:(?<![\w.:/…])|(?<=:)(?!//)|(?<=://)|(?<=[^\w-]-\w)|(?<=^-\w))/(?:[^\s/\"',;:]+/)+")
# The columns in which anybody may have written anything; all others are names, and stay what they are.
FREE_TEXTS: dict[type[Row], tuple[str, ...]] = {
    EnvironmentRow: ("versions", "settings"),
    RunRow: ("message", "contamination"),
    EpochRow: ("contamination",),
    ReadingRow: ("reason",),
    GateRow: ("expected", "found", "cause", "versions"),
}


def export(store: Store, folder: Path, *, title: str, campaigns: Sequence[str] = ()) -> Snapshot:
    """Write a snapshot of some campaigns of a store, of all without any, into a new folder.

    Raises
    ------
    SnapshotError
        If there is no title, the folder exists or its name cannot be a snapshot's, or a campaign is not in the store or
        has no run.
    """
    if not title.strip():
        raise SnapshotError(f"--title: got {title!r}; expected what was measured, in words. Give one.")
    if not re.fullmatch(NAME_PATTERN, folder.name):
        raise SnapshotError(f"{folder}: got the name {folder.name!r}; expected {NAME_RULE}. Rename it.")
    if folder.exists():
        raise SnapshotError(f"{folder}: exists; expected a new folder, because records never change. Name another.")
    chosen = _campaigns(store, campaigns)
    rows = anonymised([row for table in QUESTIONS for row in _read(store, table, chosen)], folder.name)
    about = snapshot_of(rows, folder.name, title)
    part = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    try:
        Store(part).append(folder.name, rows, day=_started(rows)[0].date())
        (part / "views.sql").unlink()  # of the deadheat that reads it
        (part / ABOUT).write_text(snapshot_text(about), encoding="utf-8")
        part.rename(folder)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise
    return about


def anonymised(rows: Iterable[Row], name: str) -> list[Row]:
    """Return rows in which `name` stands for each machine's name, and paths in free texts have lost their folders.

    Examples
    --------
    >>> FOLDERS.sub("…/", "no such file: /srv/jo/lib/libx.so, see https://x.org/a/b; 3 1/s")
    'no such file: …/libx.so, see https://x.org/a/b; 3 1/s'
    >>> FOLDERS.sub("…/", "LD_PRELOAD=/a/x.so:/srv/jo/y.so -I/srv/jo/include file:///srv/a/b lib/a/b")
    'LD_PRELOAD=…/x.so:…/y.so -I…/include file://…/b lib/a/b'
    """
    found = list(rows)
    hosts = sorted({row.hostname for row in found if isinstance(row, EnvironmentRow) and len(row.hostname) > 1})
    host = re.compile(r"(?<!\w)(?:" + "|".join(map(re.escape, hosts)) + r")(?!\w)") if hosts else re.compile(r"(?!)")

    def clean(value: Any) -> Any:  # noqa: ANN401 - whatever a row holds
        return FOLDERS.sub("…/", host.sub(name, value)) if isinstance(value, str) else value

    cleaned = [
        dataclasses.replace(row, **{column: clean(getattr(row, column)) for column in FREE_TEXTS.get(type(row), ())})
        for row in found
    ]
    return [dataclasses.replace(row, hostname=name) if isinstance(row, EnvironmentRow) else row for row in cleaned]


def snapshot_of(rows: Sequence[Row], name: str, title: str) -> Snapshot:
    """Return what a snapshot of `rows` is."""
    runs = [row for row in rows if isinstance(row, RunRow)]
    machines = [row for row in rows if isinstance(row, EnvironmentRow)]
    ran = [run for run in runs if run.heat_id]
    first, last = _started(rows)
    pairs = [(run.framework, run.framework_version) for run in ran] + [(r.language, r.language_version) for r in ran]
    return Snapshot(
        name=name,
        title=title,
        machine="; ".join(dict.fromkeys(_machine(row) for row in machines)),
        measured=_span(first, last),
        commit=", ".join(sorted({row.git_commit + (" with changes" if row.git_dirty else "") for row in machines})),
        versions=sorted({f"{what} {version}".strip() for what, version in pairs}),
        campaigns=sorted({run.campaign_id for run in runs}),
        runs=len(runs),
        left_out=LEFT_OUT,
    )


def _campaigns(store: Store, asked: Sequence[str]) -> list[str]:
    """Return the campaigns to export; each must have been run."""
    found = store.rows(
        "SELECT DISTINCT campaign_id FROM runs WHERE heat_id <> '' AND runner_class <> 'test' ORDER BY 1"
    )
    known = [str(campaign) for (campaign,) in found.values]
    if not known:
        raise SnapshotError(f"{store.path}: holds no runs; expected some to export. 'deadheat run' makes them.")
    if unknown := [campaign for campaign in asked if campaign not in known]:
        raise SnapshotError(
            f"--campaign: got {unknown[0]!r}; expected one of {', '.join(known)} in {store.path}. Correct it."
        )
    return list(asked) or known


def _read(store: Store, table: str, campaigns: list[str]) -> list[Row]:
    answer = store.rows(f"SELECT * {QUESTIONS[table]}", [campaigns])
    return [TABLES[table](**dict(zip(answer.columns, values, strict=True))) for values in answer.values]


def _started(rows: Iterable[Row]) -> tuple[datetime, datetime]:
    """Return when the first and the last run were started."""
    moments = sorted(row.started_at for row in rows if isinstance(row, RunRow))
    return moments[0], moments[-1]


def _span(first: datetime, last: datetime) -> str:
    until = f"{last:%H:%M}" if first.date() == last.date() else f"{last:%Y-%m-%d, %H:%M}"
    return f"{first:%Y-%m-%d, %H:%M} to {until} UTC"


def _machine(row: EnvironmentRow) -> str:
    gpu = f", {row.gpu_count} × {row.gpu_model}" if row.gpu_count else ""
    return f"{row.cpu_model}, {row.cpu_cores} logical cores, {row.memory_bytes / 2**30:.1f} GiB memory{gpu}; {row.os}"
