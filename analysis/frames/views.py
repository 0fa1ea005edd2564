"""The store's views as frames: the only reader of the store in the analysis.

One function per view, of the same name. The columns of a frame are the fields of the row type in
`store.records`, documented there with their units; `deadheat schema` prints them. Frames of runs have one
column more, `entry`: "runner:variant".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import TYPE_CHECKING

import pandas as pd

from store.errors import DeadheatError
from store.records import TABLES
from store.view import VIEWS

if TYPE_CHECKING:
    from store.database import Store


KEYS = ("runner", "variant", "workload", "optimizer", "loader", "device", "dtype")


class FrameError(DeadheatError):
    """A view that does not have the columns of its row type."""


def read_runs(store: Store) -> pd.DataFrame:
    """Return every run: each attempt, interrupted and unavailable ones too (`RunRow`, `entry`)."""
    return with_entry(_read_view(store, "runs", "runs", "started_at, run_id"))


def read_counted_runs(store: Store) -> pd.DataFrame:
    """Return the runs of each heat's last complete attempt, however they ended (`RunRow`, `entry`)."""
    return with_entry(_read_view(store, "counted_runs", "runs", "started_at, run_id"))


def read_unavailable(store: Store) -> pd.DataFrame:
    """Return who was unavailable or unsupported, one row per campaign and cell (`RunRow`, `entry`)."""
    runs = read_runs(store)
    return runs[runs["heat_id"] == ""].reset_index(drop=True)


def read_epochs(store: Store) -> pd.DataFrame:
    """Return every evaluation interval of every run (`EpochRow`)."""
    return _read_view(store, "epochs", "epochs", "run_id, epoch")


def read_phases(store: Store) -> pd.DataFrame:
    """Return every phase of every run (`PhaseRow`)."""
    return _read_view(store, "phases", "phases", "run_id, start_s")


def read_measurements(store: Store) -> pd.DataFrame:
    """Return the named numbers of every run (`MeasurementRow`)."""
    return _read_view(store, "measurements", "measurements", "run_id, metric")


def read_readings(store: Store, run_id: str) -> pd.DataFrame:
    """Return the telemetry of one run (`ReadingRow`); that of all runs together is large."""
    frame = store.query("select * from readings where run_id = ? order by at_s, source, scope", [run_id])
    return _checked(frame, "readings", "readings")


def read_gates(store: Store) -> pd.DataFrame:
    """Return every result of the gate there ever was (`GateRow`)."""
    return _read_view(store, "gates", "gates", "gated_at, runner, variant, workload, device, dtype, part")


def read_latest_gates(store: Store, select: str = "SELECT * FROM latest_gates") -> pd.DataFrame:
    """Return the last result of each entry, workload, optimizer, loader, device, dtype and part (`GateRow`).

    `select` may be another choice of these rows, with further columns: see `latest_gates`.
    """
    order = "runner, variant, workload, optimizer, loader, device, dtype, part"
    return _checked(store.query(f"{select} ORDER BY {order}"), "latest_gates", "gates")


def read_environments(store: Store) -> pd.DataFrame:
    """Return every machine with its software that was measured on (`EnvironmentRow`)."""
    return _read_view(store, "environments", "environments", "captured_at, environment_id")


def read_published(store: Store) -> pd.DataFrame:
    """Return what earlier studies published, and what was imported (`PublishedRow`)."""
    return _read_view(store, "published", "published", "study, place, system, workload, metric, conditions, value")


def aligned_readings() -> str:
    """Return CPU and memory of every run on its grid."""
    return """\
SELECT run_id, since_training_s, at_s, cores, machine_cores, memory_bytes
FROM aligned_readings
ORDER BY run_id, at_s"""


def latest_gates(elsewhere: Mapping[str, str]) -> str:
    """Return the last result of each part of the gate (`GateRow`), and `elsewhere`: the snapshot that it is of, if any.

    What the store itself knows of an entry, workload, optimizer, loader, device and dtype decides alone, however old.

    Parameters
    ----------
    elsewhere
        The title of the snapshot that a campaign comes from, by the campaign's id.
    """
    if not elsewhere:
        return "SELECT *, '' AS elsewhere FROM latest_gates"
    campaigns = ", ".join(map(literal, elsewhere))
    titles = " ".join(f"WHEN {literal(campaign)} THEN {literal(title)}" for campaign, title in elsewhere.items())
    same = " AND ".join(f"own.{key} IS NOT DISTINCT FROM others.{key}" for key in KEYS)
    return f"""\
WITH own AS (
{_latest_where(f"campaign_id NOT IN ({campaigns})")}
), others AS (
{_latest_where(f"campaign_id IN ({campaigns})")}
)
SELECT *, '' AS elsewhere FROM own
UNION ALL
SELECT *, CASE campaign_id {titles} END AS elsewhere FROM others
WHERE NOT EXISTS (SELECT * FROM own WHERE {same})"""


def literal(value: str | float) -> str:
    """Return a value as SQL.

    >>> literal("it's"), literal(3)
    ("'it''s'", '3')
    """
    return "'" + value.replace("'", "''") + "'" if isinstance(value, str) else repr(value)


def with_entry(runs: pd.DataFrame) -> pd.DataFrame:
    """Return `runs` with the column `entry`, "runner:variant", and values that groups can be made of.

    Records made before loader and optimizer were noted have the resident loader, an empty optimizer and rates of 0.
    """
    return runs.assign(
        entry=runs["runner"].astype(str) + ":" + runs["variant"].astype(str),
        loader=runs["loader"].fillna("resident").astype(str),
        optimizer=runs["optimizer"].fillna("").astype(str),
        learning_rate=runs["learning_rate"].astype(float).fillna(0.0),
        weight_decay=runs["weight_decay"].astype(float).fillna(0.0),
    )


def _read_view(store: Store, view: str, table: str, order: str) -> pd.DataFrame:
    return _checked(store.query(f"select * from {view} order by {order}"), view, table)


def _checked(frame: pd.DataFrame, view: str, table: str) -> pd.DataFrame:
    missing = [field.name for field in fields(TABLES[table]) if field.name not in frame.columns]
    if missing:
        raise FrameError(
            f"view {view}: has no column {missing[0]!r}; expected the columns of {TABLES[table].__name__} "
            "in store/records.py. Add it to store/views or take it out of the row type."
        )
    return frame


def _latest_where(condition: str) -> str:
    """Return the view `latest_gates` as it is of some of the results alone."""
    return VIEWS["latest_gates"].replace("FROM gates", f"FROM (SELECT * FROM gates WHERE {condition}) AS gates")
