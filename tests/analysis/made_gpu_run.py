"""A run on a GPU that never happened: tests/data/made_gpu_run as rows of the store."""

from __future__ import annotations

import json
from pathlib import Path

from store.records import ReadingRow, Row
from tests.analysis.builders import environment_row, epoch_row, phase_row, run_row

MADE = Path(__file__).parent.parent / "data" / "made_gpu_run" / "telemetry.jsonl"
RECORDED_FROM_S = 1000.0  # of the recorder's clock
RUN_ID = "made-gpu-run"
# As in the README beside the recording.
PHASES = (
    ("startup", 0.0, 0.5),
    ("import", 0.5, 1.5),
    ("load", 1.5, 2.0),
    ("compile", 2.0, 4.0),
    ("train", 4.0, 12.0),
    ("eval", 12.0, 13.0),
    ("shutdown", 13.0, 14.0),
)


def made_gpu_rows() -> list[Row]:
    """Return the made run, alone in its workload; each phase has the CPU seconds of its length."""
    return [
        environment_row(),
        run_row(
            run_id=RUN_ID,
            heat_id="made-gpu-heat",
            heat_size=1,
            workload="made_gpu_recording",
            device="cuda",
            epochs=1,
            train_clock_s=8.0,
            e2e_clock_s=13.0,
            cpu_s=14.7,
            cpu_source="cgroup_v2",
            contaminated=False,
            contamination="",
        ),
        epoch_row(run_id=RUN_ID, epoch=1.0, train_s=8.0, eval_s=1.0, train_clock_s=8.0, e2e_clock_s=13.0),
        *(
            phase_row(
                run_id=RUN_ID,
                phase=phase,
                start_s=start_s,
                duration_s=stop_s - start_s,
                cpu_s=1.05 * (stop_s - start_s),
                device_energy_j=3062.4 if phase == "train" else None,
            )
            for phase, start_s, stop_s in PHASES
        ),
        *made_readings(),
    ]


def made_readings() -> list[ReadingRow]:
    """Return the recorded readings on the axis of the run's spawn."""
    rows = []
    for line in MADE.read_text(encoding="utf-8").splitlines():
        recorded = json.loads(line)
        at_s = recorded.pop("at_ns") / 1e9 - RECORDED_FROM_S
        unread = dict.fromkeys(("cpu_s", "memory_bytes"))
        rows.append(ReadingRow(run_id=RUN_ID, at_s=at_s, **(unread | recorded)))
    return rows
