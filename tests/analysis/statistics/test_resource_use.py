"""What a phase used: cores, memory and its area, joules; and the joules to the target."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from analysis.pages.workload.resources import best_known
from analysis.statistics.resource_use import GIB, energy_to_target, phase_resources
from tests.analysis.builders import frame, phase_row


def phases_of(*rows):
    """Return phases of (phase, start, duration, changes)."""
    return frame(
        [phase_row(phase=phase, start_s=start, duration_s=length, **more) for phase, start, length, more in rows],
        "phases",
    )


NOTHING_READ = pd.DataFrame({"run_id": [], "at_s": [], "memory_bytes": []})


def used(phases, aligned=NOTHING_READ):
    """Return what each phase used, by its name."""
    return phase_resources(phases, aligned).set_index("phase")


def test_cores_are_cpu_seconds_per_second_over_all_intervals():
    """Two training intervals of 1 and 3 s with 2 and 3 CPU seconds keep 1.25 cores busy; one unread counts nowhere."""
    found = used(
        phases_of(
            ("train", 0.0, 1.0, {"cpu_s": 2.0, "memory_peak_bytes": 5}),
            ("train", 2.0, 3.0, {"cpu_s": 3.0, "memory_peak_bytes": 9}),
            ("train", 6.0, 9.0, {"cpu_s": None}),
            ("eval", 1.0, 1.0, {}),
        )
    )

    assert found.loc["train", "cores"] == pytest.approx(1.25)
    assert found.loc["train", "duration_s"] == 13.0
    assert found.loc["train", "memory_peak_bytes"] == 9
    assert math.isnan(found.loc["eval", "cores"])


def test_the_area_of_the_memory_is_that_of_its_steps():
    """1 GiB for a second before training, 3 GiB for two seconds in it."""
    aligned = pd.DataFrame(
        {"run_id": "run1", "at_s": [0.0, 0.5, 1.0, 2.0, 3.0], "memory_bytes": np.array([1, 1, 3, 3, 3]) * GIB}
    )
    found = used(phases_of(("load", 0.0, 1.0, {}), ("train", 1.0, 2.0, {})), aligned)

    assert found["memory_gib_s"].to_dict() == pytest.approx({"load": 1.0, "train": 6.0})
    assert found.loc["train", "memory_mean_bytes"] == pytest.approx(3 * GIB)


def test_without_readings_there_is_no_area():
    """Missing, not zero; and an empty store has no rows."""
    assert used(phases_of(("train", 0.0, 1.0, {})))["memory_gib_s"].isna().all()
    assert phase_resources(frame([], "phases"), NOTHING_READ).empty


def test_the_energy_to_the_target_is_fixed_and_per_epoch():
    """10 J before training and 60 J in three epochs: 1.5 epochs take 40 J; devices and packages add up."""
    phases = phases_of(
        ("load", 0.0, 1.0, {"cpu_energy_j": 10.0}),
        ("train", 1.0, 5.0, {"cpu_energy_j": 30.0, "device_energy_j": 20.0}),
        ("eval", 6.0, 1.0, {"cpu_energy_j": 10.0}),
    )

    assert energy_to_target(phases, 3.0, 1.5).to_dict() == pytest.approx({"run1": 40.0})


def test_a_run_whose_energy_was_hardly_read_has_none():
    """A fifth of its seconds without a reading is too much; short phases may lack one."""
    read = {"cpu_energy_j": 50.0}
    short = phases_of(("load", 0.0, 0.5, {}), ("train", 0.5, 9.5, read))
    long = phases_of(("load", 0.0, 2.0, {}), ("train", 2.0, 8.0, read))

    assert energy_to_target(short, 1.0, 1.0).to_dict() == pytest.approx({"run1": 50.0})
    assert energy_to_target(long, 1.0, 1.0).isna().all()


def test_the_best_known_time_is_the_fastest_that_reaches_the_target():
    """95 % on CIFAR-10 took 10.4 s; what nobody listed is left out."""
    assert "95 % on these data is 10.4 s on one NVIDIA A100" in best_known("cifar10_cnn", 0.945)
    assert best_known("cifar10_cnn", 0.99) == ""
    assert best_known("cifar10_cnn", None) == ""
