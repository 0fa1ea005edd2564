"""Heat after heat: measure the machine's limit, run the trials back to back, and append each run as it ends."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

from collector.campaign.campaign import (
    NEVER_RUN,
    VOIDING,
    Campaign,
    HeatHistory,
    read_attempts,
    read_history,
)
from collector.campaign.context import Machine, Reporter, Setting
from collector.campaign.due_heats import Stage, next_stage
from collector.campaign.planned_run import planned_run
from collector.datasets.files import DataFiles
from collector.gate.proofs import GateKey, gate_key
from collector.gate.prove import GateResult
from collector.plan.heat_order import Heat, Trial
from collector.plan.matrix import Cell, Suite
from collector.plan.runner import read_runner, resolve_command, runner_environment
from collector.protocol.trial import write_trial
from collector.run.ingest import PlannedWork, read_run
from collector.run.inputs import architecture_of, trial_file, write_heat_inputs
from collector.run.launch import InterruptedCollectionError, Launch
from collector.run.local_executor import runner_cores
from store.database import Store
from store.records import RunRow


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What the heats of one collection share."""

    suite: Suite
    campaign: Campaign
    store: Store
    setting: Setting
    machine: Machine
    gates: Mapping[GateKey, GateResult]
    planned: Mapping[str, int | None] = field(default_factory=dict)  # cell key -> heats that its rule has fixed


def run_heats(work: Work, heats: Sequence[Heat], report: Reporter) -> Counter[str]:
    """Run the heats that are due by their rule of repetition; pilots go on with the number that they fixed."""
    stage = next_stage(work.campaign, work.suite, heats, work.store)
    statuses = _run_stage(work, stage, report)
    if any(planned is None for planned in stage.planned.values()):
        after = next_stage(work.campaign, work.suite, heats, work.store)
        due = [heat for heat in after.due if heat.cell.repetitions == "pilot"]
        statuses += _run_stage(work, replace(after, due=due), report)
    return statuses


def _run_stage(work: Work, stage: Stage, report: Reporter) -> Counter[str]:
    """Run every heat of a stage, a voided one again up to the suite's limit."""
    work = replace(work, planned=stage.planned)
    history = read_history(work.store, work.campaign.campaign_id)
    attempts = read_attempts(work.store, work.campaign.campaign_id)
    report.begin(work.campaign, stage.due)
    statuses: Counter[str] = Counter()
    for heat in stage.due:
        known = _history(work, heat, history)
        while not known.is_done(work.suite.heat_attempts):
            work.setting.before_heat(report)
            runs = run_heat(work, heat, known.attempts + 1, attempts, report)
            statuses.update(run.status for run in runs)
            clean = not any(run.status in VOIDING or run.contaminated for run in runs)
            known = HeatHistory(attempts=known.attempts + 1, complete=known.complete + 1, clean=clean)
            if not known.is_done(work.suite.heat_attempts):
                report.repeat(heat)
    return statuses


def run_heat(work: Work, heat: Heat, heat_attempt: int, attempts: Counter[str], report: Reporter) -> list[RunRow]:
    """Run the trials of one heat back to back and append each run as it ends."""
    store, data = work.store, work.setting.data(heat.cell.workload.dataset)
    inputs = store.path / "inputs" / work.campaign.heat_id(heat)
    planned_work = _planned_work(heat.cell, data)
    write_heat_inputs(heat, data, inputs)
    limit = _measured_limit(work, heat.cell)
    planned = [
        dataclasses.replace(
            _planned(work, heat, trial, heat_attempt, attempts),
            machine_flops_per_s=limit,
            repetitions=heat.cell.repetitions,
            planned_heats=work.planned.get(heat.cell.key),
        )
        for trial in heat.trials
    ]
    launches = [_prepare(work, trial, run, data, inputs) for trial, run in zip(heat.trials, planned, strict=True)]
    runs: list[RunRow] = []
    report.begin_run(heat, heat.trials[0])
    for trial, run, launch, ending in zip(
        heat.trials, planned, launches, work.setting.executor.execute(launches), strict=True
    ):
        started = datetime.fromisoformat(ending.started_at)
        rows = read_run(dataclasses.replace(run, started_at=started), planned_work, launch.folder)
        store.append(run.run_id, rows, day=started.date())
        runs.append(next(row for row in rows if isinstance(row, RunRow)))
        report.end_run(heat, trial, runs[-1])
        if ending.status == "interrupted":
            raise InterruptedCollectionError
        if trial is not heat.trials[-1]:
            report.begin_run(heat, heat.trials[len(runs)])
    shutil.rmtree(inputs)
    return runs


def _history(work: Work, heat: Heat, history: Mapping[str, HeatHistory]) -> HeatHistory:
    return history.get(work.campaign.heat_id(heat), NEVER_RUN)


def _planned_work(cell: Cell, data: DataFiles) -> PlannedWork:
    workload, epochs = cell.workload, _positions(cell)
    evaluations = len(epochs) if workload.mode == "train" else 0
    return PlannedWork(
        examples=_planned_examples(cell, data.train_examples),
        epochs=epochs,
        evaluations=evaluations,
        parameters=workload.parameters,
        test_examples=data.test_examples,
        latencies=workload.steps if workload.mode == "infer" else 0,
        flops_per_example=architecture_of(workload, data).training_flops,
        published_phases=tuple(workload.published.timed_phases) if workload.published else (),
    )


def _positions(cell: Cell) -> tuple[float, ...]:
    """Return where each epoch pair ends."""
    if cell.workload.mode == "train":
        parts = cell.workload.evaluations_per_epoch
        return tuple(part / parts for part in range(1, cell.epochs * parts + 1))
    return (1.0, 2.0) if cell.workload.mode == "infer" else (1.0,)


def _planned_examples(cell: Cell, available: int) -> int:
    """Return how many examples all epoch pairs together work on."""
    workload, size = cell.workload, cell.batch_size
    if workload.mode != "train":
        return workload.steps * size * len(_positions(cell))
    whole = {"smaller": available, "dropped": available // size * size, "repeated": -(-available // size) * size}
    return cell.epochs * whole[workload.last_batch]


def _measured_limit(work: Work, cell: Cell) -> float | None:
    """Return the machine's limit; entries that compute nothing have none."""
    runners = [read_runner(entry.runner, work.setting.runners) for entry in cell.entries]
    if all(runner.runner_class == "test" for runner in runners):
        return None
    return work.setting.limit(cell.device, cell.threads, _cores(cell))


def _cores(cell: Cell) -> tuple[int, ...]:
    return runner_cores(cell.threads, sorted(os.sched_getaffinity(0)))


def _planned(work: Work, heat: Heat, trial: Trial, heat_attempt: int, attempts: Counter[str]) -> RunRow:
    attempts[trial.trial_id] += 1
    gate = work.gates.get(gate_key(trial.entry, trial.cell))  # recipes as published are not gated
    return planned_run(
        work.campaign,
        work.suite,
        heat,
        trial,
        heat_attempt=heat_attempt,
        attempt=attempts[trial.trial_id],
        runner=read_runner(trial.entry.runner, work.setting.runners),
        description=work.machine.descriptions[trial.entry.runner],
        gate_passed=gate.passed if gate else None,
    )


def _prepare(work: Work, trial: Trial, run: RunRow, data: DataFiles, inputs: Path) -> Launch:
    """Write the run's folder and return what is started in it."""
    folder = work.store.raw_folder(work.campaign.campaign_id, run.run_id)
    folder.mkdir(parents=True)
    write_trial(trial_file(trial, data, inputs, folder), folder / "trial.json")
    facts = dataclasses.asdict(run) | {"started_at": None}
    (folder / "run.json").write_text(json.dumps(facts, indent=1), encoding="utf-8")
    runner, threads = read_runner(trial.entry.runner, work.setting.runners), trial.cell.threads
    return Launch(
        command=resolve_command(runner, threads=threads, variant=trial.entry.variant, folder=work.setting.runners),
        environment=runner_environment(runner, threads=threads),
        folder=folder,
        cores=_cores(trial.cell),
        timeout_s=work.suite.timeout_s,
        period_s=work.setting.period_s,
    )
