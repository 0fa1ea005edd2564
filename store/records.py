"""The row types of the store: one frozen dataclass per table, one documented field per column.

Units are SI and stand in the name (`_s`, `_bytes`, `_ratio`); times of day are UTC.
The `doc` and `unit` of each field are what `deadheat schema` prints, so there is no second list.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from datetime import datetime
from typing import Any

SCHEMA_VERSION = 1


def column(doc: str, unit: str = "") -> Any:
    """Declare one column with its documentation and unit."""
    return dataclasses.field(metadata={"doc": doc, "unit": unit})


def optional(doc: str, unit: str = "") -> Any:
    """Declare one column that few sources can fill: none unless it is given."""
    return dataclasses.field(default=None, metadata={"doc": doc, "unit": unit})


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvironmentRow:
    """One machine with its software, captured once per campaign."""

    environment_id: str = column("content hash of everything below but captured_at and the commit")
    captured_at: datetime = column("when it was captured", "UTC")
    hostname: str = column("name of the machine")
    os: str = column("operating system and release")
    kernel: str = column("kernel release")
    cpu_model: str = column("CPU model as the kernel names it")
    cpu_cores: int = column("logical cores usable by the collector", "1")
    cpu_governor: str = column("frequency governor, or why it cannot be read")
    memory_bytes: int = column("physical memory", "B")
    gpu_model: str = column("GPU model, empty without one")
    gpu_count: int = column("number of GPUs", "1")
    gpu_memory_bytes: int = column("memory of the first GPU, 0 without one", "B")
    driver_version: str = column("GPU driver, empty without one")
    git_commit: str = column("commit of deadheat that measured")
    git_dirty: bool = column("whether the working tree differed from that commit")
    versions: str = column("JSON: runner -> what its --describe printed")
    settings: str = column("JSON: settings that bear on speed (affinity, ASLR, turbo, environment variables)")


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRow:
    """One process that ran one trial (status says how it ended), or a runner that was unavailable."""

    run_id: str = column("unique id of this run")
    trial_id: str = column("content hash of what was planned")
    heat_id: str = column("content hash of the planned heat; empty for an unavailable runner")
    heat_attempt: int = column("1 for the first time this heat was run", "1")
    heat_size: int = column("runs planned in the heat; an attempt with fewer rows was interrupted", "1")
    position: int = column("place inside the heat, from 1", "1")
    control: bool = column("second run of the baseline: the A/A control, never ranked")
    attempt: int = column("1 for the first run of this trial", "1")
    campaign_id: str = column("the campaign this run belongs to")
    suite: str = column("name of the suite")
    mode: str = column("train, steps or infer")
    track: str = column("closed, open or published")
    workload: str = column("name of the workload")
    workload_version: int = column("version of the workload's definition", "1")
    runner: str = column("folder of the runner")
    variant: str = column("variant of the runner")
    runner_class: str = column("framework, baseline or test")
    headline: bool = column("whether the variant is the runner's default, named before the campaign")
    language: str = column("language of the runner")
    framework: str = column("framework of the runner")
    family: str = column("entries that share kernels")
    baseline: str = column("entry (runner:variant) that the heat's comparisons are made against")
    device: str = column("cpu or cuda")
    dtype: str = column("fp32, tf32 or bf16")
    batch_size: int = column("examples per training step", "1")
    threads: int = column("compute threads", "1")
    loader: str | None = column("resident, or stream: the framework's own; none in files before it was noted")
    loader_workers: int = column("loader workers, 0 for the resident loader", "1")
    optimizer: str | None = column("sgd, momentum, adam or adamw; none in files before it was noted")
    learning_rate: float | None = column("learning rate, of the first epoch where a schedule changes it", "1")
    weight_decay: float | None = column("weight decay", "1")
    world_size: int = column("number of devices", "1")
    epochs: int = column("epochs planned; 1 in modes steps and infer", "1")
    steps: int = column("timed steps or forward passes planned in modes steps and infer, else 0", "1")
    repetition: int = column("number of the heat within its cell, from 1", "1")
    repetitions: str | None = optional("rule of repetition: fixed, pilot or looks; none in older files")
    planned_heats: int | None = optional(
        "heats of the cell that its rule had fixed when the heat began; none in a pilot and in older files", "1"
    )
    seed: int = column("seed of weights, batch order and dropout, shared by the heat", "1")
    target_accuracy: float | None = column("test accuracy to reach, as a fraction; none where there is no target", "1")
    equivalence_margin_ratio: float = column("margin of a dead heat, fixed in the suite (0.03 = 3 %)", "1")
    status: str = column("one of STATUSES")
    message: str = column("why, when status is not completed")
    exit_code: int | None = column("exit code of the process; negative: killed by that signal", "1")
    started_at: datetime = column("when the process was spawned", "UTC")
    environment_id: str = column("the environment it ran in")
    framework_version: str = column("version of the framework, empty if unknown")
    language_version: str = column("version of the language, empty if unknown")
    gate_passed: bool | None = column("whether the entry passed the gate on this workload; none: not gated")
    machine_flops_per_s: float | None = column(
        "rate of the machine's best float32 matrix product, measured before the heat with the runs' threads and cores",
        "1/s",
    )
    contaminated: bool | None = column("whether the machine was disturbed during the run; none: not observed")
    contamination: str | None = optional("what disturbed the run and by how much; empty: nothing; none: not observed")
    flushes_subnormals: bool | None = column("whether subnormals were flushed; none: not reported")
    parameters: int | None = column("trainable parameters that the runner counted", "1")
    train_flops: float | None = column(
        "floating-point operations of the convolutions and dense layers of everything trained on", "1"
    )
    train_clock_s: float | None = column("sum of the synchronised training intervals, in mode infer of prediction", "s")
    e2e_clock_s: float | None = column("spawn until run_stop, everything included", "s")
    time_to_first_step_s: float | None = column("spawn until the end of the first training step", "s")
    cpu_s: float | None = column("CPU seconds of the run's processes over the whole run", "s")
    cpu_source: str | None = optional("where cpu_s comes from: cgroup_v2, cgroup_v1 or wait4; none in older files")
    memory_peak_bytes: int | None = column(
        "largest anonymous and shared memory of the run's processes that was read", "B"
    )
    memory_source: str | None = optional("where memory_peak_bytes comes from; none in older files")
    gc_s: float | None = column("garbage collection, as the runtime reports it", "s")
    compile_s: float | None = column("compilation, as the runtime reports it", "s")
    device_bytes_used: int | None = column("high-water mark of device memory in use", "B")
    device_bytes_reserved: int | None = column("high-water mark of device memory reserved", "B")


@dataclass(frozen=True, slots=True, kw_only=True)
class PhaseRow:
    """One phase of a run. Phases of the same name (train, eval) occur once per epoch pair."""

    run_id: str = column("the run")
    phase: str = column("one of PHASES")
    index: int = column("0 for the first phase of that name", "1")
    start_s: float = column("start, seconds after spawn", "s")
    duration_s: float = column("duration", "s")
    cpu_s: float | None = column("CPU seconds of the run's processes, from readings; none: too short", "s")
    memory_peak_bytes: int | None = optional("largest memory of the run's processes read; none: too short", "B")
    device_energy_j: float | None = optional("energy of all devices, from their counters; none: window too short", "J")
    cpu_energy_j: float | None = optional("energy of all CPU packages (RAPL); none: not readable or too short", "J")


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochRow:
    """One epoch pair: one evaluation interval, a whole epoch or a fraction of one."""

    run_id: str = column("the run")
    epoch: float = column("position at the end of the interval, in epochs (0.25, 0.5 ...)", "1")
    train_s: float = column("seconds of training in this interval, in mode infer of prediction", "s")
    data_wait_s: float = column("seconds of it spent waiting for data", "s")
    eval_s: float | None = column("seconds of the evaluation after it", "s")
    train_loss: float | None = column("mean training loss over the interval's examples; none in mode infer", "1")
    test_loss: float | None = column("mean loss on the whole test set", "1")
    test_accuracy: float | None = column("correct share of the whole test set, as a fraction", "1")
    train_clock_s: float = column("train clock at the end of the interval", "s")
    e2e_clock_s: float = column("e2e clock at the end of the evaluation (or of the interval)", "s")
    examples: int = column("examples trained on in this interval, in mode infer predicted", "1")
    contamination: str | None = optional("what disturbed it and by how much; empty: nothing; none: not observed")


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadingRow:
    """One telemetry observation. None where a source does not have the quantity or it could not be read."""

    run_id: str = column("the run")
    at_s: float = column("seconds after spawn", "s")
    source: str = column(
        "what was read: cgroup_v2, cgroup_v1, process_tree, smaps_rollup, machine, nvml or rapl; sampler: it failed"
    )
    scope: str = column("run, machine, device, or collector: what deadheat itself uses meanwhile")
    quality: str = column("exact, sampled, modelled or unavailable")
    late_s: float | None = optional("how late after its place in the schedule; none: taken at the edge of a phase", "s")
    edge: str | None = optional(
        "kind of the event at which it was taken; exit: the run has ended; empty: on the schedule"
    )
    device_index: int | None = optional("which device; none in the other scopes", "1")
    reason: str | None = optional("why nothing, or not everything, could be read; else empty")
    cpu_s: float | None = column(
        "running total of CPU seconds: of the run since its spawn; of everything on the machine since boot; "
        "of the collector and its sampler",
        "s",
    )
    run_cores_cpu_s: float | None = optional(
        "of it on the cores that the run is pinned to, whoever used them: a running total since boot", "s"
    )
    memory_bytes: int | None = column(
        "scope run: anonymous and shared memory, never page cache (process_tree: sum of resident sets); "
        "machine: total less available; device: used by anybody",
        "B",
    )
    pss_bytes: int | None = optional("proportional set size of the run's processes, at edges of phases only", "B")
    processes: int | None = optional("processes of the run", "1")
    cpu_pressure_s: float | None = optional("running total of time in which some task waited for a CPU", "s")
    steal_s: float | None = optional("running total of CPU time taken by other guests of the same host", "s")
    throttled_s: float | None = optional("running total of time in which the group was held back by its CPU quota", "s")
    load_1min: float | None = optional("load average over one minute", "1")
    available_memory_bytes: int | None = optional("memory that can be had without swapping", "B")
    swapped_bytes: int | None = optional("running total of what was swapped out", "B")
    clock_hz: float | None = optional("clock: mean over the machine's cores, or of the device's multiprocessors", "Hz")
    utilization_ratio: float | None = optional("share of the device's last period with any kernel at work", "1")
    run_memory_bytes: int | None = optional("device memory of the run's own processes", "B")
    foreign_processes: int | None = optional("processes on the device that are not the run's", "1")
    power_w: float | None = optional("power drawn, as the device averages it", "W")
    energy_j: float | None = optional("running total of the energy counter", "J")
    temperature_c: float | None = optional("temperature", "degC")
    throttle_reasons: str | None = optional("why the device held its clocks back, by name; empty: it did not")
    governor: str | None = optional("CPU frequency governor, several by commas, at the first reading and at edges only")


@dataclass(frozen=True, slots=True, kw_only=True)
class GateRow:
    """One part of the equivalence gate for one entry and workload."""

    gate_id: str = column("content hash of runner folder, versions, workload and gate")
    campaign_id: str = column("the campaign that gated; empty when gated by hand")
    runner: str = column("folder of the runner")
    variant: str = column("variant of the runner")
    workload: str = column("name of the workload")
    device: str = column("cpu or cuda")
    dtype: str = column("fp32, tf32 or bf16")
    optimizer: str | None = column("sgd, momentum, adam or adamw; none in files before it was noted")
    loader: str | None = column("resident or stream; none in files before it was noted")
    part: str = column("A to H, L for the loader, or 'run' when the runner did not finish")
    passed: bool = column("whether every quantity of the part lies within its tolerance")
    quantity: str = column("the quantity that failed first, or came closest to its tolerance")
    expected: str = column("what the float64 reference has")
    found: str = column("what the runner wrote")
    error: float | None = column("the measured difference, in the quantity's own measure", "1")
    tolerance: float | None = column("the largest difference allowed", "1")
    cause: str = column("likely cause of a failure, empty when passed")
    exceptions: str | None = column(
        "the listed form (exceptions.toml) that the part was compared in; empty: the contract's own"
    )
    versions: str = column("JSON: what the runner's --describe printed")
    gated_at: datetime = column("when", "UTC")


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasurementRow:
    """One number about a run, named in METRICS: the long table for ad hoc questions."""

    run_id: str = column("the run")
    metric: str = column("a name in METRICS")
    value: float = column("the value, in the metric's unit")


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedRow:
    """One number that an earlier study published, as it stands there: nothing is corrected, only doubted."""

    study: str = column("the study, or the tool whose file it is")
    place: str = column("where in the study: table, figure or file")
    system: str = column("what was measured, as the study names it; empty: not stated")
    workload: str = column("the study's workload; empty: not stated")
    metric: str = column("what the number is, as the study names it")
    value: float | None = column("the number as published; none: said in words")
    unit: str = column("unit of the number as published")
    conditions: str = column(
        "JSON: under which it was measured (of a curve: elapsed_s, line and scope), or what is said"
    )
    suspicion: str = column("why it should not be believed as it stands; empty: nothing was found")


Row = EnvironmentRow | RunRow | PhaseRow | EpochRow | ReadingRow | GateRow | MeasurementRow | PublishedRow

TABLES: dict[str, type[Row]] = {
    "environments": EnvironmentRow,
    "runs": RunRow,
    "phases": PhaseRow,
    "epochs": EpochRow,
    "readings": ReadingRow,
    "gates": GateRow,
    "measurements": MeasurementRow,
    "published": PublishedRow,
}

STATUSES = (
    "completed",
    "diverged",
    "timed_out",
    "out_of_memory",
    "crashed",
    "interrupted",
    "bad_events",
    "unsupported",
    "unavailable",
)

PHASES = ("startup", "import", "load", "preprocess", "build", "compile", "train", "eval", "shutdown")
