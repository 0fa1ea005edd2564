"""What the runs of one heat are given: initial weights, batch order and the trial file, written before the clock."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from collector.datasets.files import DataFiles
from collector.plan.heat_order import Heat, Trial
from collector.plan.matrix import Cell
from collector.plan.workload import Workload
from collector.protocol.trial import TrialFile
from collector.reference.architecture import Architecture, build_architecture
from collector.reference.layers import Array
from collector.reference.reference import initial_weights

CHUNKS_PER_EPOCH = 20  # enough for a steady-state test, below 1 % of an epoch
STEPS_PER_CHUNK = 10  # in mode steps
EVAL_BATCH_SIZE = 1000


def architecture_of(workload: Workload, data: DataFiles) -> Architecture:
    """Return the workload's model for the images of `data`."""
    return build_architecture(workload.model, data.image_shape, data.classes)


def batch_order(
    workload: Workload, examples: int, epochs: int, batch_size: int, generator: np.random.Generator
) -> NDArray[np.int32]:
    """Return the order of each epoch, shape (epochs, examples in an epoch).

    An epoch is a permutation of the training set; a published recipe may never shuffle, may drop the last, smaller
    batch, or may fill it up with the first examples of the epoch.
    """
    row = np.arange(examples)
    rows = [generator.permutation(examples) if workload.shuffle == "every_epoch" else row for _ in range(epochs)]
    kept = examples // batch_size * batch_size
    if workload.last_batch == "dropped":
        rows = [row[:kept] for row in rows]
    elif workload.last_batch == "repeated" and kept < examples:
        rows = [np.concatenate([row, row[: kept + batch_size - examples]]) for row in rows]
    return np.stack(rows).astype(np.int32)


def steps_order(examples: int, drawn: int, generator: np.random.Generator) -> NDArray[np.int32]:
    """Return the first `drawn` indices of as many permutations as that takes, shape (1, drawn)."""
    permutations = [generator.permutation(examples) for _ in range(-(-drawn // examples))]
    return np.concatenate(permutations)[:drawn][None].astype(np.int32)


def write_heat_inputs(heat: Heat, data: DataFiles, folder: Path) -> None:
    """Write `weights/` and `order.npy` of a heat into `folder`; the heat's seed decides both."""
    cell, examples = heat.cell, data.train_examples
    weights_generator, order_generator = np.random.default_rng(heat.seed).spawn(2)
    architecture = architecture_of(cell.workload, data)
    write_arrays(folder / "weights", initial_weights(cell.workload, architecture, weights_generator))
    if cell.workload.mode == "train":
        order = batch_order(cell.workload, examples, cell.epochs, cell.batch_size, order_generator)
    else:
        order = steps_order(examples, cell.workload.steps * cell.batch_size, order_generator)
    np.save(folder / "order.npy", order)


def write_arrays(folder: Path, arrays: Mapping[str, Array]) -> None:
    """Write each array as `<name>.npy` in float32 and C order."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", np.ascontiguousarray(array, dtype=np.float32))


def trial_file(trial: Trial, data: DataFiles, inputs: Path, output: Path) -> TrialFile:
    """Return the file that the runner of `trial` receives."""
    workload, cell = trial.cell.workload, trial.cell
    chunks = {"train": CHUNKS_PER_EPOCH, "steps": max(1, workload.steps // STEPS_PER_CHUNK), "infer": workload.steps}
    return base_trial(workload, cell, data, inputs, output).model_copy(
        update={
            "mode": workload.mode,
            "runner": trial.entry.runner,
            "variant": trial.entry.variant,
            "seed": trial.seed,
            "chunks_per_epoch": chunks[workload.mode],
        }
    )


def base_trial(workload: Workload, cell: Cell, data: DataFiles, inputs: Path, output: Path) -> TrialFile:
    """Return a trial file with everything that the workload and the cell decide."""
    model = workload.model.model_dump(exclude={"name"}) | {"dropout_rate": workload.model.dropout_rate}
    optimizer = workload.optimizer.model_dump(exclude={"name"}, exclude_none=True)
    return TrialFile.model_validate(
        {
            "batch_size": cell.batch_size,
            "chunks_per_epoch": CHUNKS_PER_EPOCH,
            "device": cell.device,
            "dtype": cell.dtype,
            "epochs": cell.epochs,
            "eval_batch_size": EVAL_BATCH_SIZE,
            "evaluations_per_epoch": workload.evaluations_per_epoch,
            "loader": cell.loader,
            "loader_workers": cell.loader_workers,
            "loss": workload.loss,
            "mode": workload.mode,
            "model": workload.model.name,
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
            **data_keys(data if workload.pixels == "standardised" else data.unstandardised()),
            **{f"model.{key}": value for key, value in model.items()},
            **{f"optimizer.{key}": value for key, value in optimizer.items()},
        }
    )


def data_keys(data: DataFiles) -> dict[str, Any]:
    """Return the keys of a trial file that say where the data lie and how they are standardised."""
    if data.format == "idx":
        names = ("train_images", "train_labels", "test_images", "test_labels")
        paths: dict[str, Any] = dict(zip(names, map(str, (*data.train, *data.test)), strict=True))
    else:
        paths = {"train_batches": list(map(str, data.train)), "test_batches": list(map(str, data.test))}
    facts = {"classes": data.classes, "format": data.format, "mean": list(data.mean), "std": list(data.std)}
    return {f"data.{key}": value for key, value in {**facts, **paths}.items()}
