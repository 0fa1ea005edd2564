"""A campaign along axes: batch sizes, loaders, inference, a study's recipe, and what nobody could run."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any

from store.records import GateRow, MeasurementRow, Row, RunRow
from tests.analysis.builders import JAX, PYTORCH, START, Campaign, Racer, gate_row
from tests.analysis.sites import of_workload, unavailable_row

CPP = Racer(
    runner="cpp_libtorch",
    variant="default",
    language="C++",
    framework="LibTorch",
    train_s_per_epoch=0.9,
)
CNN: dict[str, Any] = {"workload": "mnist_cnn", "epochs": 2, "target_accuracy": 0.96, "learning_rate": 0.01}
OPEN: dict[str, Any] = {**CNN, "track": "open", "loader": "stream"}
INFER: dict[str, Any] = {**CNN, "mode": "infer", "steps": 100, "epochs": 1, "target_accuracy": None}
RECIPE: dict[str, Any] = {
    "workload": "published_blog_keras_mnist",
    "track": "published",
    "parameters": 34_826,
    "epochs": 2,
    "gate_passed": None,
    "target_accuracy": None,
}


def axes_rows() -> list[Row]:
    """Return cells of one workload along three axes, its inference, the recipe it stands beside, and absentees."""
    return [
        *(row for size in (32, 128, 512) for row in _cell(f"batch{size}", batch_campaign(size))),
        *(row for workers in (0, 2, 4) for row in _cell(f"workers{workers}", loader_campaign(workers))),
        *(row for size in (1, 64) for row in _cell(f"infer{size}", inference_campaign(size))),
        *_cell("recipe", Campaign(racers=(PYTORCH, JAX), heats=2, changes=RECIPE)),
        *(window for number in (1, 2) for window in _windows(number)),
        *absentees(),
        *gate_results(),
    ]


def batch_campaign(size: int) -> Campaign:
    """Return heats at one batch size: large batches are faster."""
    faster = (size / 32) ** -0.4
    racers = [dataclasses.replace(r, train_s_per_epoch=r.train_s_per_epoch * faster) for r in (PYTORCH, JAX, CPP)]
    return Campaign(racers=racers, heats=6, changes={**CNN, "batch_size": size})


def loader_campaign(workers: int) -> Campaign:
    """Return heats with the frameworks' own loaders: more workers wait less."""
    slow = 1 + 1 / (1 + workers)
    racers = [dataclasses.replace(r, train_s_per_epoch=r.train_s_per_epoch * slow) for r in (PYTORCH, JAX)]
    return Campaign(racers=racers, heats=2, changes={**OPEN, "loader_workers": workers})


def inference_campaign(size: int) -> Campaign:
    """Return heats of forward passes."""
    return Campaign(racers=(PYTORCH, JAX), heats=2, changes={**INFER, "batch_size": size})


def absentees() -> list[RunRow]:
    """Return who could not do what was asked: one entry in a cell of others, and everyone in another."""
    return [
        unavailable_row(run_id="beam-cnn", status="unsupported", message="it has no batch norm", **CNN),
        *(
            unavailable_row(
                run_id=f"{runner}-none",
                runner=runner,
                variant=variant,
                status="unsupported",
                message="a resident loader has no workers",
                **CNN | {"loader_workers": 4},
            )
            for runner, variant in (("python_pytorch", "eager"), ("python_jax", "jit"))
        ),
    ]


def gate_results() -> list[GateRow]:
    """Return results with several optimizers, a listed form, a failure, and a runner that declines."""
    mine: dict[str, Any] = {"workload": "mnist_cnn"}
    failure: dict[str, Any] = {"part": "C", "passed": False, "quantity": "c.conv1.weight", "cause": "Nesterov is on"}
    return [
        gate_row(gate_id="g-sgd", optimizer="sgd", **mine),
        gate_row(gate_id="g-bf16", dtype="bf16", part="B", error=0.2, tolerance=0.5, **mine),
        gate_row(gate_id="g-stream", loader="stream", part="L", gated_at=START + timedelta(days=1), **mine),
        gate_row(gate_id="g-form", optimizer="adamw", part="C", exceptions="adam_epsilon_hat", **mine),
        gate_row(gate_id="g-fail", optimizer="momentum", found="0.31", expected="0.25", error=0.24, **mine, **failure),
        gate_row(
            gate_id="g-no",
            runner="elixir_beam",
            variant="default",
            part="run",
            passed=False,
            quantity="ending",
            found="unsupported: it has no batch norm",
            expected="completed",
            error=None,
            tolerance=0.0,
            **mine,
        ),
    ]


def _cell(name: str, campaign: Campaign) -> Iterator[Row]:
    """Yield a cell's rows with ids of their own and, in mode infer, its numbers."""
    rows: Sequence[Row] = of_workload(str(campaign.changes["workload"]), campaign.rows(), ids=name)
    loader, is_gated = campaign.changes.get("loader", "resident"), campaign.changes.get("track") != "published"
    for row in rows:
        if not isinstance(row, GateRow):
            yield row
        elif is_gated:
            yield dataclasses.replace(row, loader=loader)
        if isinstance(row, RunRow) and row.mode == "infer" and row.train_clock_s:
            latency_s = 1e-3 * row.train_clock_s * (1 + row.batch_size / 64)
            values = {"p50_s": latency_s, "p95_s": 1.2 * latency_s}
            for metric, value in values.items():
                yield MeasurementRow(run_id=row.run_id, metric=f"infer_latency_{metric}", value=value)
            yield MeasurementRow(run_id=row.run_id, metric="infer_examples_per_s", value=row.batch_size / latency_s)


def _windows(heat: int) -> Iterator[MeasurementRow]:
    """Yield the seconds that the study's own clock would have shown."""
    for entry, window_s in (("python_pytorch-eager", 4.0), ("python_jax-jit", 5.5)):
        yield MeasurementRow(run_id=f"recipe-{entry}-{heat}", metric="published_window_s", value=window_s)
