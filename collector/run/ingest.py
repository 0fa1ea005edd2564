"""The raw files of one run become its rows: read, verified, normalised."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from collector.protocol.events import EventError, RunStop, of_kind, read_events
from collector.run.contamination import judged
from collector.run.energy import with_energy
from collector.run.launch import Ending, read_ending
from collector.run.normalise import (
    Timeline,
    clock_fault,
    epoch_rows,
    infer_latencies_s,
    measurement_rows,
    phase_rows,
    reading_rows,
    timeline_of,
    work_fault,
)
from collector.run.steady_state import steady_rows
from collector.telemetry import Reading
from collector.telemetry.sampler import read_readings
from store.records import Row, RunRow


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedWork:
    """What the events of a run must add up to."""

    examples: int
    epochs: tuple[float, ...]  # where each epoch pair ends
    evaluations: int
    parameters: int
    test_examples: int
    latencies: int = 0  # forward passes timed one by one: mode infer
    flops_per_example: int = 0  # of training
    published_phases: tuple[str, ...] = ()  # what a study's published seconds cover


def read_run(planned: RunRow, work: PlannedWork, folder: Path) -> list[Row]:
    """Return every row of the run in `folder`; `planned` holds what was known before it was started.

    A run that says `completed` but whose clock or work cannot be right becomes `bad_events`.
    """
    ending = read_ending(folder)
    readings = [*read_readings(folder / "telemetry.jsonl"), *_gaps(ending)]
    rows: list[Row] = [*reading_rows(planned.run_id, readings, ending.spawned_ns)]
    run = _ended(planned, ending, readings)
    try:
        timeline = _read_timeline(folder, ending)
    except EventError:
        return [*rows, run]  # what is wrong is already in the ending's message, or the run failed before
    epochs = epoch_rows(run.run_id, timeline)
    phases = phase_rows(run.run_id, timeline, readings, ending.spawned_ns, ending.cpu_s)
    phases = with_energy(phases, readings, ending.spawned_ns)
    run = _measured(_verified(run, timeline, ending, work), timeline, work)
    run, epochs = judged(run, phases, epochs, readings, ending.spawned_ns)
    measurements = measurement_rows(
        run,
        phases,
        epochs,
        latencies_s=infer_latencies_s(timeline.events),
        published_phases=work.published_phases,
    )
    steady = steady_rows(run.run_id, timeline.events) if run.mode != "infer" else []
    return [*rows, *phases, *epochs, *measurements, *steady, run]


def _read_timeline(folder: Path, ending: Ending) -> Timeline:
    return timeline_of(
        read_events(folder / "events.jsonl"),
        spawned_unix_ns=ending.spawned_unix_ns,
        spawned_ns=ending.spawned_ns,
        ended_ns=ending.ended_ns,
    )


def _gaps(ending: Ending) -> list[Reading]:
    """Return a reading that says why others are missing, where they are."""
    if not ending.telemetry_fault:
        return []
    fault = ending.telemetry_fault
    return [Reading(at_ns=ending.ended_ns, source="sampler", scope="run", quality="unavailable", reason=fault)]


def _ended(planned: RunRow, ending: Ending, readings: Sequence[Reading]) -> RunRow:
    sizes = [(r.memory_bytes, r.source) for r in readings if r.scope == "run" and r.memory_bytes is not None]
    memory_peak_bytes, memory_source = max(sizes, default=(None, None))
    return replace(
        planned,
        status=ending.status,
        message=ending.message,
        exit_code=ending.exit_code,
        cpu_s=ending.cpu_s,
        cpu_source=ending.cpu_source,
        memory_peak_bytes=memory_peak_bytes,
        memory_source=memory_source,
    )


def _verified(run: RunRow, timeline: Timeline, ending: Ending, work: PlannedWork) -> RunRow:
    if run.status != "completed":
        return run
    clock = clock_fault(timeline.events, ending.arrivals_ns, ending.spawned_unix_ns, ending.spawned_ns)
    fault = clock or work_fault(
        timeline.events,
        examples=work.examples,
        epochs=work.epochs,
        evaluations=work.evaluations,
        parameters=work.parameters,
        test_examples=work.test_examples,
        latencies=work.latencies,
    )
    return replace(run, status="bad_events", message=fault) if fault else run


def _measured(run: RunRow, timeline: Timeline, work: PlannedWork) -> RunRow:
    """Return the run with what its events tell; a clock that was not run to its end has no value."""
    stop = next(of_kind(timeline.events, RunStop), None)
    if stop is None:
        return run
    epochs = epoch_rows(run.run_id, timeline)
    built = next((event.parameters for event in timeline.events if event.kind == "build_stop"), None)
    trained = sum(row.examples for row in epochs) if run.mode != "infer" else 0
    return replace(
        run,
        train_flops=float(trained * work.flops_per_example) or None,
        train_clock_s=epochs[-1].train_clock_s if epochs else None,
        e2e_clock_s=timeline.at_s(stop),
        time_to_first_step_s=timeline.first_step_s,
        parameters=built,
        flushes_subnormals=stop.flushes_subnormals,
        gc_s=stop.gc_s,
        compile_s=stop.compile_s,
        device_bytes_used=stop.device_bytes_used,
        device_bytes_reserved=stop.device_bytes_reserved,
    )
