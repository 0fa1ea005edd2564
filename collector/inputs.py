"""What the runs of one heat are given: initial weights, batch order and the trial file, written before the clock."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from collector.matrix import Cell
from collector.plan import Heat, Trial
from collector.reference import initial_weights
from collector.trial import TrialFile
from collector.workload import Workload

CHUNKS_PER_EPOCH = 20  # METHODS §2: enough for a steady-state test, below 1 % of an epoch
STEPS_PER_CHUNK = 10  # in mode steps
EVAL_BATCH_SIZE = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class DataFiles:
    """Where a data set lies, as first published, and how its pixels are standardised."""

    train_images: Path
    train_labels: Path
    test_images: Path
    test_labels: Path
    mean: float
    std: float


def batch_order(examples: int, epochs: int, generator: np.random.Generator) -> NDArray[np.int32]:
    """Return one permutation of the training set per epoch, shape (epochs, examples)."""
    return np.stack([generator.permutation(examples) for _ in range(epochs)]).astype(np.int32)


def steps_order(examples: int, drawn: int, generator: np.random.Generator) -> NDArray[np.int32]:
    """Return the first `drawn` indices of as many permutations as that takes, shape (1, drawn)."""
    permutations = [generator.permutation(examples) for _ in range(-(-drawn // examples))]
    return np.concatenate(permutations)[:drawn][None].astype(np.int32)


def write_heat_inputs(heat: Heat, examples: int, folder: Path) -> None:
    """Write `weights/` and `order.npy` of a heat into `folder`; the heat's seed decides both."""
    cell = heat.cell
    weights_generator, order_generator = np.random.default_rng(heat.seed).spawn(2)
    write_arrays(folder / "weights", initial_weights(cell.workload, weights_generator))
    if cell.workload.mode == "steps":
        order = steps_order(examples, cell.workload.steps * cell.batch_size, order_generator)
    else:
        order = batch_order(examples, cell.epochs, order_generator)
    np.save(folder / "order.npy", order)


def write_arrays(folder: Path, arrays: Mapping[str, NDArray[np.float64]]) -> None:
    """Write each array as `<name>.npy` in float32 and C order."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", np.ascontiguousarray(array, dtype=np.float32))


def trial_file(trial: Trial, data: DataFiles, inputs: Path, output: Path) -> TrialFile:
    """Return the file that the runner of `trial` receives."""
    workload, cell = trial.cell.workload, trial.cell
    steps_chunks = max(1, workload.steps // STEPS_PER_CHUNK)
    return base_trial(workload, cell, data, inputs, output).model_copy(
        update={
            "mode": workload.mode,
            "runner": trial.entry.runner,
            "variant": trial.entry.variant,
            "seed": trial.seed,
            "chunks_per_epoch": steps_chunks if workload.mode == "steps" else CHUNKS_PER_EPOCH,
        }
    )


def base_trial(workload: Workload, cell: Cell, data: DataFiles, inputs: Path, output: Path) -> TrialFile:
    """Return a trial file with everything that the workload and the cell decide."""
    options = {f"model.{key}": value for key, value in workload.model_options.model_dump().items()}
    optimizer = {f"optimizer.{key}": value for key, value in workload.optimizer.model_dump(exclude={"name"}).items()}
    return TrialFile.model_validate(
        {
            "batch_size": cell.batch_size,
            "chunks_per_epoch": CHUNKS_PER_EPOCH,
            "data.format": "idx",
            "data.mean": data.mean,
            "data.std": data.std,
            "data.test_images": str(data.test_images),
            "data.test_labels": str(data.test_labels),
            "data.train_images": str(data.train_images),
            "data.train_labels": str(data.train_labels),
            "device": cell.device,
            "dtype": cell.dtype,
            "epochs": cell.epochs,
            "eval_batch_size": EVAL_BATCH_SIZE,
            "evaluations_per_epoch": workload.evaluations_per_epoch,
            "loader": "resident",
            "loader_workers": cell.loader_workers,
            "loss": workload.loss,
            "mode": workload.mode,
            "model": workload.model,
            "optimizer": workload.optimizer.name,
            "order": str(inputs / "order.npy"),
            "output": str(output),
            "runner": "",
            "seed": 0,
            "steps": workload.steps,
            "threads": cell.threads,
            "variant": "",
            "weights": str(inputs / "weights"),
            "workload": workload.name,
            **options,
            **optimizer,
        }
    )
