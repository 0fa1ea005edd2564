"""What a run used, phase by phase: cores, memory and its area, joules; and what the target costs (pure)."""

from __future__ import annotations

import numpy as np
import pandas as pd

GIB = 2.0**30
FEWEST_SHARE = 0.9  # of a run's seconds that must have an energy reading, for a sum to be that of the run
REPEATED = ("train", "eval")  # phases that there are more of the more epochs there are


def phase_resources(phases: pd.DataFrame, aligned: pd.DataFrame) -> pd.DataFrame:
    """Return what each run used in each phase, all intervals of a phase together.

    Parameters
    ----------
    phases
        `PhaseRow` columns.
    aligned
        Columns `run_id`, `at_s`, `memory_bytes`: the run's memory on its grid.

    Returns
    -------
    DataFrame
        Columns `run_id`, `phase`, `duration_s`; `cores` (CPU seconds per second, over the intervals that have them),
        `memory_peak_bytes`, `memory_gib_s` (the area under the memory), `memory_mean_bytes` (area / seconds read) and
        `energy_j` (devices and CPU packages). Missing where nothing was read.
    """
    timed = phases.assign(
        cpu_known_s=phases["cpu_s"].astype(float),
        cpu_over_s=phases["duration_s"].where(phases["cpu_s"].notna()),
        energy_j=_energy(phases),
        peak=phases["memory_peak_bytes"].astype(float),
    )
    groups = timed.groupby(["run_id", "phase"], sort=False)
    sums = groups[["duration_s", "cpu_known_s", "cpu_over_s", "energy_j"]].sum(min_count=1)
    areas = _memory_areas(phases, aligned)
    found = sums.assign(
        cores=sums["cpu_known_s"] / sums["cpu_over_s"],
        memory_peak_bytes=groups["peak"].max(),
        memory_gib_s=areas["area"].reindex(sums.index) / GIB,
        memory_mean_bytes=(areas["area"] / areas["width"]).reindex(sums.index),
    )
    return found.drop(columns=["cpu_known_s", "cpu_over_s"]).reset_index()


def energy_to_target(phases: pd.DataFrame, planned_epochs: float, epochs_to_target: float) -> pd.Series:
    """Return the joules of each run for the pooled epochs to the target: those before training, and those per epoch.

    As with the seconds of the headline, fixed + per epoch × epochs. Short phases have no reading of their own; a run
    in which less than nine tenths of the seconds have one is missing.

    Parameters
    ----------
    phases
        `PhaseRow` columns of runs that trained the planned epochs.
    planned_epochs
        Epochs that each of them trained.
    epochs_to_target
        What is asked for.
    """
    energy, seconds = _energy(phases), phases["duration_s"].astype(float)
    repeated = phases["phase"].isin(REPEATED)
    table = pd.DataFrame(
        {
            "fixed_j": energy.where(~repeated),
            "trained_j": energy.where(repeated),
            "read_s": seconds.where(energy.notna()),
            "all_s": seconds,
        }
    )
    sums = table.groupby(phases["run_id"]).sum()
    joules = sums["fixed_j"] + sums["trained_j"] / planned_epochs * epochs_to_target
    return joules.where(sums["read_s"] >= FEWEST_SHARE * sums["all_s"])


def _energy(phases: pd.DataFrame) -> pd.Series:
    """Return the joules of devices and CPU packages of each phase; missing where neither was read."""
    parts = phases[["device_energy_j", "cpu_energy_j"]].astype(float)
    return parts.sum(axis=1, min_count=1)


def _memory_areas(phases: pd.DataFrame, aligned: pd.DataFrame) -> pd.DataFrame:
    """Return byte-seconds and seconds read of each run and phase; a reading lasts until the next one."""
    known = aligned.dropna(subset=["memory_bytes"]).sort_values("at_s")
    if known.empty or phases.empty:
        empty = pd.MultiIndex.from_arrays([[], []], names=["run_id", "phase"])
        return pd.DataFrame({"area": [], "width": []}, index=empty, dtype=float)
    width = known.groupby("run_id")["at_s"].shift(-1) - known["at_s"]
    read = known.assign(at_s=known["at_s"].astype(float), width=np.where(width.isna(), 0.0, width))
    starts = phases[["run_id", "phase", "start_s"]].sort_values("start_s")
    starts = starts.assign(start_s=starts["start_s"].astype(float))
    placed = pd.merge_asof(read, starts, left_on="at_s", right_on="start_s", by="run_id").dropna(subset=["phase"])
    area = placed.assign(area=placed["memory_bytes"].astype(float) * placed["width"])
    return area.groupby(["run_id", "phase"])[["area", "width"]].sum()
