"""The collection on one screen: probe, gate, plan, and for each heat not yet done: run, normalise, append."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import tempfile
import uuid
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from collector.campaign import (
    NEVER_RUN,
    VOIDING,
    Campaign,
    HeatHistory,
    is_finished,
    latest_campaign,
    new_campaign,
    read_attempts,
    read_campaigns,
    read_history,
    write_campaign,
)
from collector.data_files import DataFiles
from collector.definition import DefinitionError
from collector.environment import probe_environment
from collector.executors import Executor
from collector.executors.local import runner_cores
from collector.gating import (
    GateKey,
    GateResult,
    GateSetting,
    append_gates,
    competing_cells,
    gate_entries,
    gate_key,
    gate_keys,
)
from collector.ingest import PlannedWork, read_run
from collector.inputs import trial_file, write_heat_inputs
from collector.launch import InterruptedCollectionError, Launch
from collector.matrix import Cell, Suite, expand_suite
from collector.plan import Heat, Trial, plan_heats
from collector.records import planned_run, unavailable_run
from collector.runner import (
    RUNNERS,
    Description,
    RunnerUnavailableError,
    probe_description,
    read_runner,
    resolve_command,
    runner_environment,
)
from collector.trial import write_trial
from collector.workload import WORKLOADS
from store.database import Store
from store.records import EnvironmentRow, RunRow


class CollectError(DefinitionError):
    """A collection that cannot begin."""


class Reporter(Protocol):
    """Who is told how the collection goes on."""

    def tell(self, text: str) -> None:
        """Say one line."""
        ...

    def begin(self, campaign: Campaign, due: Sequence[Heat]) -> None:
        """Say which heats of the campaign are to be run."""
        ...

    def begin_run(self, heat: Heat, trial: Trial) -> None:
        """Say that a run begins."""
        ...

    def end_run(self, heat: Heat, trial: Trial, run: RunRow) -> None:
        """Say how a run ended."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """Where definitions and data are found and how runs are executed: the world, as far as it can be replaced."""

    executor: Executor
    data: Callable[[str], DataFiles]  # data set name -> its verified files
    environment: Callable[[Mapping[str, Mapping[str, str]]], EnvironmentRow] = probe_environment  # versions -> row
    workloads: Path = WORKLOADS
    runners: Path = RUNNERS


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """What one call of `collect` did."""

    campaign_id: str
    statuses: Mapping[str, int]  # of the runs of this call
    left_out: Mapping[str, str]  # entry and workload -> why
    refused: int  # entries that failed the gate
    already_finished: bool = False

    @property
    def failed(self) -> int:
        """Runs of this call that did not end by completing their work."""
        return sum(count for status, count in self.statuses.items() if status in (*VOIDING, "diverged"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What probing found: the environment and what each runner says of itself."""

    environment: EnvironmentRow
    descriptions: Mapping[str, Description]
    unavailable: Mapping[str, str]  # runner -> why


def collect(suite: Suite, store: Store, setting: Setting, report: Reporter, *, once: bool = False) -> Summary:
    """Run what is left of the newest unfinished campaign of `suite` here, or begin a new one.

    Raises
    ------
    CollectError
        If nothing can be compared: a baseline is unavailable or failed the gate.
    InterruptedCollectionError
        If the user pressed Ctrl-C; the same call goes on where it stopped.
    """
    require_usable(store)
    cells = expand_suite(suite, workloads=setting.workloads, runners=setting.runners)
    machine = probe_machine(cells, setting)
    earlier = latest_campaign(read_campaigns(store), suite, machine.environment.environment_id)
    if once and earlier and is_finished(earlier, read_history(store, earlier.campaign_id), suite.heat_attempts):
        return Summary(campaign_id=earlier.campaign_id, statuses={}, left_out={}, refused=0, already_finished=True)
    gates = gate_cells(cells, machine, store, setting, report)
    left_out = reasons_left_out(cells, machine, gates)
    competing = competing_cells(cells, left_out)
    if not competing:
        raise nothing_to_compare(suite, left_out)
    heats = plan_heats(suite, competing)
    campaign = unfinished_campaign(suite, heats, store, earlier) or begin_campaign(suite, heats, machine, store)
    store_beginning(suite, campaign, cells, machine, store, setting)
    append_gates(store, list(gates.values()), campaign.campaign_id)
    work = _Work(suite=suite, campaign=campaign, store=store, setting=setting, machine=machine, gates=gates)
    statuses = run_heats(work, heats, report)
    return Summary(
        campaign_id=campaign.campaign_id,
        statuses=statuses,
        left_out={str(key): reason for key, reason in left_out.items()},
        refused=sum(not result.passed for result in gates.values()),
    )


def probe_machine(cells: Sequence[Cell], setting: Setting) -> Machine:
    """Ask every runner of `cells` for its versions, and the machine for everything else."""
    descriptions: dict[str, Description] = {}
    unavailable: dict[str, str] = {}
    for name in sorted({entry.runner for cell in cells for entry in (cell.baseline, *cell.candidates)}):
        try:
            descriptions[name] = probe_description(read_runner(name, setting.runners), setting.runners)
        except RunnerUnavailableError as reason:
            unavailable[name] = str(reason)
    versions: dict[str, Mapping[str, str]] = {name: d.versions for name, d in descriptions.items()}
    versions |= {name: {"unavailable": reason} for name, reason in unavailable.items()}
    return Machine(environment=setting.environment(versions), descriptions=descriptions, unavailable=unavailable)


def gate_cells(
    cells: Sequence[Cell], machine: Machine, store: Store, setting: Setting, report: Reporter
) -> dict[GateKey, GateResult]:
    """Gate every available entry on every workload it competes in. The runs also warm the page cache."""
    gate_setting = GateSetting(
        store=store,
        executor=setting.executor,
        data=setting.data,
        descriptions=machine.descriptions,
        runners=setting.runners,
    )
    return gate_entries(gate_keys(cells), gate_setting, report.tell)


def reasons_left_out(
    cells: Sequence[Cell], machine: Machine, gates: Mapping[GateKey, GateResult]
) -> dict[GateKey, str]:
    """Return why entries do not compete: their runner is unavailable, or they failed the gate."""
    reasons = {key: machine.unavailable.get(key.entry.runner, "") for key in gate_keys(cells)}
    reasons |= {key: result.failure for key, result in gates.items()}
    return {key: reason for key, reason in reasons.items() if reason}


def require_usable(store: Store) -> None:
    """Raise where `store` cannot be read or written, before anything is done."""
    store.query("select 1")
    try:
        store.path.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=store.path).close()
    except OSError as reason:
        raise CollectError(
            f"{store.path}: cannot be written ({reason.strerror}); expected a folder for the records. "
            "Name another one with --store."
        ) from None


def nothing_to_compare(suite: Suite, left_out: Mapping[GateKey, str]) -> CollectError:
    """Return the error of a suite in which no baseline has a rival left."""
    reasons = "\n  ".join(f"{key}: {reason}" for key, reason in left_out.items())
    return CollectError(
        f"suite {suite.name}: nothing can be compared: no cell has both its baseline and a rival; expected both to be "
        f"available and to pass the gate. Remedy these and run the same again:\n  {reasons}"
    )


def unfinished_campaign(suite: Suite, heats: Sequence[Heat], store: Store, earlier: Campaign | None) -> Campaign | None:
    """Return the earlier campaign if it plans the same heats and has some left to run."""
    if earlier is None or earlier.heats != tuple(map(earlier.heat_id, heats)):
        return None
    history = read_history(store, earlier.campaign_id)
    return None if is_finished(earlier, history, suite.heat_attempts) else earlier


def begin_campaign(suite: Suite, heats: Sequence[Heat], machine: Machine, store: Store) -> Campaign:
    """Write a new campaign down."""
    number = 1 + len([c for c in read_campaigns(store) if c.suite == suite.name])
    campaign = new_campaign(suite, machine.environment.environment_id, heats, number)
    write_campaign(store, campaign)
    return campaign


def store_beginning(
    suite: Suite, campaign: Campaign, cells: Sequence[Cell], machine: Machine, store: Store, setting: Setting
) -> None:
    """Append the environment and one row per unavailable entry and cell, unless the campaign has rows already."""
    known = store.query("select count(*) as n from runs where campaign_id = ?", [campaign.campaign_id])
    if known["n"][0] > 0:
        return
    missing = [
        unavailable_run(campaign, suite, cell, entry, read_runner(entry.runner, setting.runners), reason, at)
        for at in [machine.environment.captured_at]
        for cell in cells
        for entry in (cell.baseline, *cell.candidates)
        if (reason := machine.unavailable.get(entry.runner))
    ]
    store.append(f"begin-{uuid.uuid4().hex[:16]}", [machine.environment, *missing], day=datetime.now(UTC).date())


@dataclass(frozen=True, slots=True, kw_only=True)
class _Work:
    suite: Suite
    campaign: Campaign
    store: Store
    setting: Setting
    machine: Machine
    gates: Mapping[GateKey, GateResult]


def run_heats(work: _Work, heats: Sequence[Heat], report: Reporter) -> Counter[str]:
    """Run every heat that is not done, a voided one again up to the suite's limit."""
    history = read_history(work.store, work.campaign.campaign_id)
    attempts = read_attempts(work.store, work.campaign.campaign_id)
    due = [heat for heat in heats if not _history(work, heat, history).is_done(work.suite.heat_attempts)]
    report.begin(work.campaign, due)
    statuses: Counter[str] = Counter()
    for heat in due:
        known = _history(work, heat, history)
        while not known.is_done(work.suite.heat_attempts):
            runs = run_heat(work, heat, known.attempts + 1, attempts, report)
            statuses.update(run.status for run in runs)
            clean = not any(run.status in VOIDING for run in runs)
            known = HeatHistory(attempts=known.attempts + 1, complete=known.complete + 1, clean=clean)
    return statuses


def run_heat(work: _Work, heat: Heat, heat_attempt: int, attempts: Counter[str], report: Reporter) -> list[RunRow]:
    """Run the trials of one heat back to back and append each run as it ends."""
    store, data = work.store, work.setting.data(heat.cell.workload.dataset)
    inputs = store.path / "inputs" / work.campaign.heat_id(heat)
    planned_work = _planned_work(heat.cell, data)
    write_heat_inputs(heat, data, inputs)
    planned = [_planned(work, heat, trial, heat_attempt, attempts) for trial in heat.trials]
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


def _history(work: _Work, heat: Heat, history: Mapping[str, HeatHistory]) -> HeatHistory:
    return history.get(work.campaign.heat_id(heat), NEVER_RUN)


def _planned_work(cell: Cell, data: DataFiles) -> PlannedWork:
    workload, steps = cell.workload, cell.workload.mode == "steps"
    train_examples, parts = data.train_examples, workload.evaluations_per_epoch
    positions = tuple(part / parts for part in range(1, cell.epochs * parts + 1))
    return PlannedWork(
        examples=workload.steps * cell.batch_size if steps else cell.epochs * train_examples,
        epochs=(1.0,) if steps else positions,
        evaluations=0 if steps else len(positions),
        parameters=workload.parameters,
        test_examples=data.test_examples,
    )


def _planned(work: _Work, heat: Heat, trial: Trial, heat_attempt: int, attempts: Counter[str]) -> RunRow:
    attempts[trial.trial_id] += 1
    key = gate_key(trial.entry, trial.cell)
    return planned_run(
        work.campaign,
        work.suite,
        heat,
        trial,
        heat_attempt=heat_attempt,
        attempt=attempts[trial.trial_id],
        runner=read_runner(trial.entry.runner, work.setting.runners),
        description=work.machine.descriptions[trial.entry.runner],
        gate_passed=work.gates[key].passed,
    )


def _prepare(work: _Work, trial: Trial, run: RunRow, data: DataFiles, inputs: Path) -> Launch:
    """Write the run's folder and return what is started in it."""
    folder = work.store.raw_folder(work.campaign.campaign_id, run.run_id)
    folder.mkdir(parents=True)
    write_trial(trial_file(trial, data, inputs, folder), folder / "trial.json")
    facts = dataclasses.asdict(run) | {"started_at": None}
    (folder / "run.json").write_text(json.dumps(facts, indent=1), encoding="utf-8")
    runner, threads = read_runner(trial.entry.runner, work.setting.runners), trial.cell.threads
    return Launch(
        command=resolve_command(runner, threads=threads, folder=work.setting.runners),
        environment=runner_environment(runner, threads=threads),
        folder=folder,
        cores=runner_cores(threads, sorted(os.sched_getaffinity(0))),
        timeout_s=work.suite.timeout_s,
    )
