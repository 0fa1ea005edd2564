"""Recorded readings behind the Source protocol: the whole path runs where there is no device."""

from __future__ import annotations

import dataclasses
import json
import time
from pathlib import Path

import pytest

from collector.run.contamination import judged
from collector.run.energy import with_energy
from collector.telemetry import Reading
from collector.telemetry.replay import ReplaySource
from collector.telemetry.sampler import Sampling, read_readings
from store.records import EpochRow, PhaseRow, RunRow
from tests.store.rows import row

MADE = Path(__file__).parents[2] / "data" / "made_gpu_run" / "telemetry.jsonl"
SPAWNED_NS = 1_000_000_000_000


def written(tmp_path: Path, *readings: Reading) -> Path:
    file = tmp_path / "telemetry.jsonl"
    file.write_text("".join(json.dumps(dataclasses.asdict(reading)) + "\n" for reading in readings))
    return file


def device(at_ns: int, index: int, energy_j: float) -> Reading:
    return Reading(
        at_ns=at_ns, source="nvml", scope="device", quality="sampled", device_index=index, energy_j=energy_j, late_s=0.5
    )


def test_readings_come_back_moment_by_moment_as_if_made_now(tmp_path):
    """Devices that were read at once stay together; then the observed has ended."""
    source = ReplaySource(written(tmp_path, device(1, 0, 10.0), device(1, 1, 20.0), device(2, 0, 11.0)))
    before_ns = time.monotonic_ns()

    first, second, third = source.read("epoch_stop"), source.read(), source.read()

    assert [reading.energy_j for reading in first] == [10.0, 20.0]
    assert {reading.edge for reading in first} == {"epoch_stop"}
    assert {reading.late_s for reading in first} == {None}
    assert before_ns <= first[0].at_ns == first[1].at_ns <= second[0].at_ns
    assert [reading.energy_j for reading in second] == [11.0]
    assert not third


def test_one_source_of_several_can_be_chosen():
    """Each recorded source plays its own part."""
    source = ReplaySource(MADE, "machine")

    assert {reading.source for _ in range(10) for reading in source.read()} == {"machine"}


def test_the_sampler_keeps_what_is_replayed_as_if_the_device_were_there(tmp_path):
    """Each moment at its place in the schedule, and a last one when the run has ended."""
    file = tmp_path / "telemetry.jsonl"
    with file.open("w", encoding="utf-8") as opened:
        sampling = Sampling(opened, 0.01)
        sampling.watch([ReplaySource(MADE, "nvml")])
        for _ in range(50):
            time.sleep(sampling.wait_s)
            sampling.read_due()
        sampling.close()
    recorded = [json.loads(line) for line in MADE.read_text().splitlines()]
    powers_w = [reading["power_w"] for reading in recorded if reading["source"] == "nvml"]

    *kept, last = read_readings(file)
    assert len(set(powers_w[: len(kept)])) > 1
    assert [reading.power_w for reading in (*kept, last)] == powers_w[: len(kept) + 1]
    assert all(reading.late_s >= 0 for reading in kept)
    assert (last.edge, last.late_s) == ("exit", None)


def test_a_gpu_run_is_told_from_recorded_readings_alone():
    """Energy of its phases and its calm, from the made log."""
    readings = [Reading(**json.loads(line)) for line in MADE.read_text().splitlines()]
    phases = [
        row(PhaseRow, phase=phase, start_s=start, duration_s=stop - start)
        for phase, start, stop in (("compile", 2.0, 4.0), ("train", 4.0, 12.0), ("shutdown", 14.0, 14.0))
    ]

    compiling, training, _ = with_energy(phases, readings, SPAWNED_NS)
    run, epochs = judged(row(RunRow, device="cuda"), phases, [row(EpochRow)], readings, SPAWNED_NS)

    assert compiling.device_energy_j is None  # 2 s are too short for the counter
    assert training.device_energy_j == pytest.approx(382.8 * 8, rel=0.01)
    assert training.cpu_energy_j is None
    assert (run.contaminated, run.contamination, epochs[0].contamination) == (False, "", "")
