"""What runs left behind beside their records: telemetry in batches, raw files copied where they are small."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from analysis.frames.columns import Parts
from analysis.pages.addresses import file_name
from analysis.pages.all_pages import RunFiles
from analysis.pages.run.page import RawFile
from analysis.rendering import queries

if TYPE_CHECKING:
    from store.database import Store

BATCH = 500  # runs whose telemetry is read at once
SMALL_BYTES = 256 * 1024
RAW_NAMES = ("trial.json", "events.jsonl", "log.txt", "telemetry.jsonl")


def read_run_files(store: Store, runs: pd.DataFrame, docs: Path) -> Callable[[str], RunFiles]:
    """Return what gives the telemetry and raw files of a run; small raw files are copied below `docs`."""
    folders = {run["run_id"]: store.raw_folder(run["campaign_id"], run["run_id"]) for run in runs.to_dict("records")}
    batches: dict[int, tuple[Parts, Parts]] = {}
    ordered = list(runs["run_id"])
    places = {run_id: place for place, run_id in enumerate(ordered)}

    def files(run_id: str) -> RunFiles:
        batch = places[run_id] // BATCH
        if batch not in batches:
            batches.clear()
            batches[batch] = read_readings(store, ordered[batch * BATCH : (batch + 1) * BATCH], places)
        raw = copy_raw_files(folders[run_id], docs, f"raw/{file_name(run_id)}")
        devices, sources = (part.of(places[run_id]) for part in batches[batch])
        return RunFiles(devices, sources, raw)

    return files


def read_readings(store: Store, run_ids: list[str], places: Mapping[str, int]) -> tuple[Parts, Parts]:
    """Return what was read of devices and what each source gave, by the place of each run."""
    devices, sources = (store.query(ask(run_ids)) for ask in (queries.devices_of, queries.sources_of))
    return Parts(devices, places), Parts(sources, places)


def copy_raw_files(folder: Path, docs: Path, address: str) -> list[RawFile]:
    """Copy the small raw files of one run below `docs` and return them all."""
    found = []
    for name in RAW_NAMES:
        path = folder / name
        if not path.is_file():
            continue
        size_bytes = path.stat().st_size
        is_small = size_bytes <= SMALL_BYTES
        if is_small:
            (docs / address).mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, docs / address / name)
        found.append(RawFile(name, size_bytes, f"{address}/{name}" if is_small else ""))
    return found
