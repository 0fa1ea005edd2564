"""The collection on one screen: probe, gate, plan, and for each heat not yet done: run, normalise, append."""

from __future__ import annotations

import tempfile
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import psutil

from collector.campaign.campaign import (
    VOIDING,
    Campaign,
    is_finished,
    latest_campaign,
    new_campaign,
    read_campaigns,
    read_history,
    write_campaign,
)
from collector.campaign.context import Machine, Reporter, Setting
from collector.campaign.due_heats import next_stage
from collector.campaign.heats import Work, run_heats
from collector.campaign.planned_run import absent_run
from collector.gate.convergence import append_outcomes
from collector.gate.proofs import GateKey, gate_key, proofs_of
from collector.gate.prove import (
    GateResult,
    GateSetting,
    append_gates,
    competing_cells,
    gate_entries,
    run_discarded,
)
from collector.plan.heat_order import Heat, plan_heats
from collector.plan.matrix import Cell, Refusal, Suite, expand_matrix
from collector.plan.runner import (
    Description,
    RunnerUnavailableError,
    probe_description,
    read_runner,
)
from store.database import Store
from store.errors import DeadheatError

RAN_SINCE = (
    "select distinct runner, variant from runs join environments using (environment_id) "
    "where hostname = ? and started_at >= ?"
)


class CollectError(DeadheatError):
    """A collection that cannot begin."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """What one call of `collect` did."""

    campaign_id: str
    statuses: Mapping[str, int]  # of the runs of this call
    left_out: Mapping[str, str]  # entry and workload -> why
    refused: int  # entries that failed the gate, part H at its end included
    unsupported: Sequence[str] = ()  # why, for each entry and cell
    already_finished: bool = False

    @property
    def failed(self) -> int:
        """Runs of this call that did not end by completing their work."""
        return sum(count for status, count in self.statuses.items() if status in (*VOIDING, "diverged"))


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
    matrix = expand_matrix(suite, workloads=setting.workloads, runners=setting.runners)
    cells = matrix.cells
    machine = probe_machine(cells, setting)
    earlier = latest_campaign(read_campaigns(store), suite, machine.environment.environment_id)
    if once and earlier and is_finished(earlier, read_history(store, earlier.campaign_id), suite.heat_attempts):
        return _nothing_left(earlier)
    gates = gate_cells(cells, machine, store, setting, report)
    left_out = reasons_left_out(cells, machine, gates)
    competing = competing_cells(cells, left_out)
    if not competing:
        raise nothing_to_compare(suite, left_out)
    heats = plan_heats(suite, competing)
    unfinished = unfinished_campaign(suite, heats, store, earlier)
    if once and earlier and not unfinished and earlier.heats == tuple(map(earlier.heat_id, heats)):
        return _nothing_left(earlier)
    campaign = unfinished or begin_campaign(suite, heats, machine, store)
    declined = [*matrix.refusals, *declined_entries(cells, gates)]
    absent = {"unsupported": declined, "unavailable": unavailable_entries(cells, machine)}
    store_beginning(suite, campaign, absent, machine, store, setting)
    append_gates(store, list(gates.values()), campaign.campaign_id)
    warm_page_cache(heats, gates, machine, store, setting, report)
    work = Work(suite=suite, campaign=campaign, store=store, setting=setting, machine=machine, gates=gates)
    statuses = run_heats(work, heats, report)
    cells_of_heats = {campaign.heat_id(heat): heat.cell for heat in heats}
    outcomes = append_outcomes(store, campaign.campaign_id, cells_of_heats, gates) if statuses else []
    return Summary(
        campaign_id=campaign.campaign_id,
        statuses=statuses,
        left_out={str(key): reason for key, reason in left_out.items()},
        refused=sum(bool(result.failure) for result in gates.values()) + sum(not row.passed for row in outcomes),
        unsupported=[refusal.reason for refusal in declined],
    )


def _nothing_left(campaign: Campaign) -> Summary:
    return Summary(campaign_id=campaign.campaign_id, statuses={}, left_out={}, refused=0, already_finished=True)


def probe_machine(cells: Sequence[Cell], setting: Setting) -> Machine:
    """Ask every runner of `cells` for its versions, and the machine for everything else."""
    descriptions: dict[str, Description] = {}
    unavailable: dict[str, str] = {}
    for name in sorted({entry.runner for cell in cells for entry in cell.entries}):
        try:
            descriptions[name] = probe_description(read_runner(name, setting.runners), setting.runners)
        except RunnerUnavailableError as reason:
            unavailable[name] = str(reason)
    versions: dict[str, Mapping[str, str]] = {name: d.versions for name, d in descriptions.items()}
    versions |= {name: {"unavailable": reason} for name, reason in unavailable.items()}
    environments = {name: read_runner(name, setting.runners).environment for name in versions}
    environment = setting.environment(versions, environments)
    return Machine(environment=environment, descriptions=descriptions, unavailable=unavailable)


def gate_cells(
    cells: Sequence[Cell], machine: Machine, store: Store, setting: Setting, report: Reporter
) -> dict[GateKey, GateResult]:
    """Gate every available entry on every workload it competes in. The runs also warm the page cache."""
    proofs = proofs_of(cells, workloads=setting.workloads, runners=setting.runners)
    return gate_entries(proofs, gate_setting(machine, store, setting), report.tell)


def gate_setting(machine: Machine, store: Store, setting: Setting) -> GateSetting:
    """Return what the gate works with."""
    return GateSetting(
        store=store,
        executor=setting.executor,
        data=setting.data,
        descriptions=machine.descriptions,
        runners=setting.runners,
    )


def warm_page_cache(
    heats: Sequence[Heat],
    gates: Mapping[GateKey, GateResult],
    machine: Machine,
    store: Store,
    setting: Setting,
    report: Reporter,
) -> None:
    """Have each entry run once, and discard it, where neither a proof nor a run of it was on this machine since boot.

    The e2e clock is defined for warm page caches.
    """
    booted = datetime.fromtimestamp(psutil.boot_time(), UTC)
    ran = {tuple(row) for row in store.rows(RAN_SINCE, [machine.environment.hostname, booted]).values}
    cells = [heat.cell for heat in heats]
    proofs = proofs_of(cells, workloads=setting.workloads, runners=setting.runners)
    cold = {key: proof for key, proof in proofs.items() if (key.entry.runner, key.entry.variant) not in ran}
    run_discarded(cold, gates, gate_setting(machine, store, setting), report.tell)


def reasons_left_out(
    cells: Sequence[Cell], machine: Machine, gates: Mapping[GateKey, GateResult]
) -> dict[GateKey, str]:
    """Return why entries do not compete: their runner is unavailable, declined, or failed the gate."""
    keys = [gate_key(entry, cell) for cell in cells for entry in cell.entries]
    reasons = {key: machine.unavailable.get(key.entry.runner, "") for key in keys}
    reasons |= {key: result.failure or result.unsupported for key, result in gates.items()}
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
    return earlier if next_stage(earlier, suite, heats, store).due else None


def begin_campaign(suite: Suite, heats: Sequence[Heat], machine: Machine, store: Store) -> Campaign:
    """Write a new campaign down."""
    number = 1 + len([c for c in read_campaigns(store) if c.suite == suite.name])
    campaign = new_campaign(suite, machine.environment.environment_id, heats, number)
    write_campaign(store, campaign)
    return campaign


def declined_entries(cells: Sequence[Cell], gates: Mapping[GateKey, GateResult]) -> list[Refusal]:
    """Return who said in the gate that it cannot do what a cell asks here."""
    return [
        Refusal(cell=cell, entry=entry, reason=result.unsupported)
        for cell in cells
        for entry in cell.entries
        if (result := gates.get(gate_key(entry, cell))) and result.unsupported
    ]


def unavailable_entries(cells: Sequence[Cell], machine: Machine) -> list[Refusal]:
    """Return who cannot take part in which cell, because its runner does not start here."""
    return [
        Refusal(cell=cell, entry=entry, reason=machine.unavailable[entry.runner])
        for cell in cells
        for entry in cell.entries
        if entry.runner in machine.unavailable
    ]


def store_beginning(
    suite: Suite,
    campaign: Campaign,
    absent: Mapping[str, Sequence[Refusal]],
    machine: Machine,
    store: Store,
    setting: Setting,
) -> None:
    """Append the environment and one row per entry and cell that cannot be run, unless the campaign has rows.

    `absent` is by status.
    """
    known = store.query("select count(*) as n from runs where campaign_id = ?", [campaign.campaign_id])
    if known["n"][0] > 0:
        return
    at = machine.environment.captured_at
    rows = [
        absent_run(campaign, suite, refusal, read_runner(refusal.entry.runner, setting.runners), status, at)
        for status, refusals in absent.items()
        for refusal in refusals
    ]
    store.append(f"begin-{uuid.uuid4().hex[:16]}", [machine.environment, *rows], day=datetime.now(UTC).date())
