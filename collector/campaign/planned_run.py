"""What is known of a run before it starts, as a row of the store."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from typing import Any

from collector.campaign.campaign import Campaign
from collector.plan.heat_order import Heat, Trial
from collector.plan.matrix import Cell, Refusal, Suite
from collector.plan.runner import Description, Entry, Runner
from store.definition import content_hash
from store.records import RunRow

# What only a run that was started can tell.
NOT_MEASURED: dict[str, Any] = {
    "exit_code": None,
    "contaminated": None,
    "flushes_subnormals": None,
    "parameters": None,
    "machine_flops_per_s": None,
    "train_flops": None,
    "train_clock_s": None,
    "e2e_clock_s": None,
    "time_to_first_step_s": None,
    "cpu_s": None,
    "memory_peak_bytes": None,
    "gc_s": None,
    "compile_s": None,
    "device_bytes_used": None,
    "device_bytes_reserved": None,
}


def planned_run(
    campaign: Campaign,
    suite: Suite,
    heat: Heat,
    trial: Trial,
    *,
    heat_attempt: int,
    attempt: int,
    runner: Runner,
    description: Description,
    gate_passed: bool | None,
) -> RunRow:
    """Return the row of a run that is about to start; its status is `interrupted` until it has ended."""
    return RunRow(
        run_id=uuid.uuid4().hex[:16],
        trial_id=trial.trial_id,
        heat_id=campaign.heat_id(heat),
        heat_attempt=heat_attempt,
        heat_size=len(heat.trials),
        position=trial.position,
        control=trial.control,
        attempt=attempt,
        repetition=trial.repetition,
        seed=trial.seed,
        status="interrupted",
        message="",
        framework_version=description.framework_version,
        language_version=description.language_version,
        gate_passed=gate_passed,
        started_at=datetime.now(UTC),
        environment_id=campaign.environment_id,
        **_shared(campaign, suite, heat.cell, trial.entry, runner),
        **NOT_MEASURED,
    )


def absent_run(campaign: Campaign, suite: Suite, refusal: Refusal, runner: Runner, status: str, at: datetime) -> RunRow:
    """Return the one row that says an entry could not take part in a cell, and why."""
    cell, entry = refusal.cell, refusal.entry
    return RunRow(
        run_id=content_hash(campaign.campaign_id, cell.key, str(entry)),
        trial_id="",
        heat_id="",
        heat_attempt=0,
        heat_size=0,
        position=0,
        control=False,
        attempt=0,
        repetition=0,
        seed=0,
        status=status,
        message=refusal.reason,
        framework_version="",
        language_version="",
        gate_passed=None,
        started_at=at,
        environment_id=campaign.environment_id,
        **_shared(campaign, suite, cell, entry, runner),
        **NOT_MEASURED,
    )


def _shared(campaign: Campaign, suite: Suite, cell: Cell, entry: Entry, runner: Runner) -> dict[str, Any]:
    workload, variant = cell.workload, runner.variants[entry.variant]
    return {
        "campaign_id": campaign.campaign_id,
        "suite": suite.name,
        "mode": workload.mode,
        "track": cell.track,
        "workload": workload.name,
        "workload_version": workload.version,
        "runner": entry.runner,
        "variant": entry.variant,
        "runner_class": runner.runner_class,
        "headline": entry.variant == runner.default_variant,
        "language": runner.language,
        "framework": runner.framework,
        "family": variant.family,
        "baseline": str(cell.baseline),
        "device": cell.device,
        "dtype": cell.dtype,
        "batch_size": cell.batch_size,
        "threads": cell.threads,
        "loader": cell.loader,
        "loader_workers": cell.loader_workers,
        "optimizer": workload.optimizer.label,
        "learning_rate": workload.optimizer.learning_rate,
        "weight_decay": workload.optimizer.weight_decay,
        "world_size": 1,
        "epochs": cell.epochs,
        "steps": workload.steps,
        "target_accuracy": workload.target.test_accuracy if workload.target else None,
        "equivalence_margin_ratio": suite.equivalence_margin_ratio,
    }
