"""The work that the gate gives to every runner of a workload, and what the float64 reference makes of it."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from collector.inputs import DataFiles, base_trial, batch_order, write_arrays
from collector.matrix import Cell
from collector.reference import (
    OptimizerState,
    Weights,
    gradient_of,
    initial_weights,
    logits_of,
    loss_of,
    parameter_shapes,
    update_weights,
)
from collector.runner import Entry
from collector.trial import TrialFile
from collector.workload import Workload

Array = NDArray[np.float64]

SEED = 20260101
BATCH_SIZE = 32
TRAIN_IMAGES, TEST_IMAGES = 640, 500
EXAMPLES_PER_EPOCH = 9 * BATCH_SIZE + 17  # ten batches, the last one smaller
GIVEN_GRADIENTS = 10
CHECKPOINT_STEPS = 100
IDX_UNSIGNED_BYTES = 8


def gate_trial(entry: Entry, cell: Cell, data: DataFiles, inputs: Path, output: Path) -> TrialFile:
    """Return the trial file of mode `gate` for one entry; `data` only says how pixels are standardised."""
    gate_data = _gate_data(data, inputs)
    return base_trial(cell.workload, cell, gate_data, inputs, output).model_copy(
        update={
            "mode": "gate",
            "runner": entry.runner,
            "variant": entry.variant,
            "seed": SEED,
            "batch_size": BATCH_SIZE,
            "epochs": 2,
            "steps": 0,
            "evaluations_per_epoch": 1,
            "eval_batch_size": 128,
            "gate_checkpoint": str(inputs / "checkpoint"),
            "gate_gradients": str(inputs / "gradients"),
            "gate_dropout_rate": 0.0,
        }
    )


def write_gate_inputs(workload: Workload, data: DataFiles, inputs: Path) -> None:
    """Write data, weights, order, given gradients and checkpoint of the gate into `inputs`, once."""
    if (inputs / "expected.npz").exists():
        return
    inputs.mkdir(parents=True, exist_ok=True)
    gate_data = _gate_data(data, inputs)
    for count, source, target in (
        (TRAIN_IMAGES, (data.train_images, data.train_labels), (gate_data.train_images, gate_data.train_labels)),
        (TEST_IMAGES, (data.test_images, data.test_labels), (gate_data.test_images, gate_data.test_labels)),
    ):
        for source_path, target_path in zip(source, target, strict=True):
            write_idx(target_path, read_idx(source_path)[:count])
    generators = np.random.default_rng(SEED).spawn(3)
    weights = _as_given(initial_weights(workload, generators[0]))
    order = batch_order(TRAIN_IMAGES, 2, generators[1])[:, :EXAMPLES_PER_EPOCH]
    gradients = _given_gradients(workload, generators[2])
    np.save(inputs / "order.npy", np.ascontiguousarray(order))
    write_arrays(inputs / "weights", weights)
    write_arrays(inputs / "gradients", gradients)
    _write_expected(workload, gate_data, inputs, weights, order, gradients)


def read_idx(path: Path) -> NDArray[np.uint8]:
    """Return the array in an IDX file of unsigned bytes."""
    shape = read_idx_shape(path)
    with path.open("rb") as file:
        file.seek(4 + 4 * len(shape))
        return np.frombuffer(file.read(), dtype=np.uint8).reshape(shape)


def read_idx_shape(path: Path) -> tuple[int, ...]:
    """Return the shape that the header of an IDX file of unsigned bytes states."""
    with path.open("rb") as file:
        zero, kind, dimensions = struct.unpack(">HBB", file.read(4))
        if zero != 0 or kind != IDX_UNSIGNED_BYTES:
            raise ValueError(f"{path}: starts with {zero:#06x} {kind:#04x}; expected IDX of unsigned bytes (0, 0x08).")
        return struct.unpack(f">{dimensions}I", file.read(4 * dimensions))


def write_idx(path: Path, array: NDArray[np.uint8]) -> None:
    """Write `array` as an IDX file of unsigned bytes."""
    header = struct.pack(">HBB", 0, IDX_UNSIGNED_BYTES, array.ndim) + struct.pack(f">{array.ndim}I", *array.shape)
    path.write_bytes(header + array.tobytes())


def _gate_data(data: DataFiles, inputs: Path) -> DataFiles:
    return DataFiles(
        train_images=inputs / "train-images-idx3-ubyte",
        train_labels=inputs / "train-labels-idx1-ubyte",
        test_images=inputs / "t10k-images-idx3-ubyte",
        test_labels=inputs / "t10k-labels-idx1-ubyte",
        mean=data.mean,
        std=data.std,
    )


def _as_given(weights: Weights) -> Weights:
    """Return the weights as the runner reads them: rounded to float32."""
    return {name: weight.astype(np.float32).astype(np.float64) for name, weight in weights.items()}


def _given_gradients(workload: Workload, generator: np.random.Generator) -> Weights:
    """Return ten gradients whose elements span five orders of magnitude, so that an epsilon shows."""
    gradients = {
        name: generator.normal(size=(GIVEN_GRADIENTS, *shape))
        * 10 ** generator.uniform(-6, -1, size=(GIVEN_GRADIENTS, *shape))
        for name, shape in parameter_shapes(workload).items()
    }
    return _as_given(gradients)


def _write_expected(
    workload: Workload,
    data: DataFiles,
    inputs: Path,
    weights: Weights,
    order: NDArray[np.int32],
    gradients: Weights,
) -> None:
    """Compute what the reference makes of the gate and write it, the checkpoint included; the file comes last."""
    images, labels = _read_standardised(data.train_images, data.train_labels, data)
    test_images, test_labels = _read_standardised(data.test_images, data.test_labels, data)
    batches = [row[i : i + BATCH_SIZE] for row in order for i in range(0, EXAMPLES_PER_EPOCH, BATCH_SIZE)]
    checkpoint = _as_given(_train(workload, weights, images, labels, (batches * CHECKPOINT_STEPS)[:CHECKPOINT_STEPS]))
    write_arrays(inputs / "checkpoint", checkpoint)
    test_logits = logits_of(workload, checkpoint, test_images)
    _, gradient = gradient_of(workload, weights, images[batches[0]], labels[batches[0]])
    expected: dict[str, Array] = {
        "losses": np.array([loss_of(logits_of(workload, weights, images[b]), labels[b]) for b in batches]),
        "logits": logits_of(workload, weights, images[batches[0]]),
        "test_logits": test_logits,
        "test_loss": np.array([loss_of(test_logits, test_labels)]),
        "test_labels": test_labels.astype(np.float64),
        **_prefixed("gradient", gradient),
        **_prefixed("given", _apply_given(workload, weights, gradients)),
        **_prefixed("step1", _train(workload, weights, images, labels, batches[:1])),
        **_prefixed("step2", _train(workload, weights, images, labels, batches[:2])),
    }
    with (inputs / "expected.part").open("wb") as file:
        np.savez(file, **expected)  # type: ignore[arg-type]  # the stub mistakes the names for its own option
    (inputs / "expected.part").rename(inputs / "expected.npz")


def _read_standardised(images: Path, labels: Path, data: DataFiles) -> tuple[Array, NDArray[np.int64]]:
    pixels = read_idx(images).astype(np.float64)[:, None]
    return (pixels / 255 - data.mean) / data.std, read_idx(labels).astype(np.int64)


def _train(
    workload: Workload, weights: Weights, images: Array, labels: NDArray[np.int64], batches: list[NDArray[np.int32]]
) -> Weights:
    state = OptimizerState()
    for batch in batches:
        _, gradient = gradient_of(workload, weights, images[batch], labels[batch])
        weights = update_weights(workload.optimizer, weights, gradient, state)
    return weights


def _apply_given(workload: Workload, weights: Weights, gradients: Weights) -> Weights:
    state = OptimizerState()
    for step in range(GIVEN_GRADIENTS):
        gradient = {name: values[step] for name, values in gradients.items()}
        weights = update_weights(workload.optimizer, weights, gradient, state)
    return weights


def _prefixed(prefix: str, weights: Weights) -> Weights:
    return {f"{prefix}.{name}": weight for name, weight in weights.items()}
