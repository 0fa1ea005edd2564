"""The work that the gate gives to every runner of a workload, and what the float64 reference makes of it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from collector.datasets.files import DataFiles, Images, Labels, Split, read_split, standardised, write_split
from collector.gate.evidence import EVERY_PART, Array, Evidence
from collector.plan.matrix import Cell
from collector.plan.runner import Entry
from collector.plan.workload import Adam, Resnet, Workload
from collector.protocol.trial import TrialFile
from collector.reference.architecture import Architecture
from collector.reference.layers import Pass, Weights, run_layers
from collector.reference.reference import (
    CANONICAL,
    Forms,
    OptimizerState,
    dropout_moments,
    gradient_of,
    initial_weights,
    logits_of,
    loss_of,
    nearest_kink,
    train,
    update_weights,
)
from collector.run.inputs import architecture_of, base_trial, write_arrays

SEED = 20260101
DROPOUT_REPEATS = 4096
BRANCH_SCALE = 0.2
HAT, BIASED, NEAR_TIES = Forms(epsilon="hat"), Forms(variance="biased"), Forms(ties="near")


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How much work the gate gives."""

    train_images: int
    test_images: int
    eval_batch_size: int
    batch_size: int
    epoch_examples: tuple[int, ...]  # of each short epoch
    draws: int  # of the order, for a first batch clear of kinks
    given_gradients: int
    checkpoint_steps: int
    rate: float  # share of the workload's learning rate that the gate trains with
    image_side: int | None  # larger images are cut out of the middle
    expected_dtype: type[np.floating]  # float32 where arrays are large: as exact as what runners write

    @property
    def steps(self) -> int:
        """Training steps in the order file."""
        return sum(-(-examples // self.batch_size) for examples in self.epoch_examples)


SMALL = Size(
    train_images=640,
    test_images=500,
    eval_batch_size=125,
    batch_size=32,
    epoch_examples=(9 * 32 + 17, 9 * 32 + 17),  # ten batches each, the last one smaller
    draws=8,
    given_gradients=10,
    checkpoint_steps=40,
    rate=1.0,
    image_side=None,
    expected_dtype=np.float64,
)
RESIDUAL = Size(  # compiling and computing residual networks takes long: one batch shape, three steps
    train_images=32,
    test_images=24,
    eval_batch_size=24,
    batch_size=8,
    epoch_examples=(24,),
    draws=6,
    given_gradients=3,
    checkpoint_steps=3,
    rate=0.1,  # on so few examples the whole rate leads nowhere, and magnifies rounding on the way
    image_side=64,
    expected_dtype=np.float32,
)


def gate_size(workload: Workload) -> Size:
    """Return how much work the gate gives for a workload."""
    return RESIDUAL if isinstance(workload.model, Resnet) else SMALL


def proved_workload(workload: Workload) -> Workload:
    """Return the workload with the learning rate that the gate trains with."""
    optimizer = workload.optimizer
    gentle = optimizer.model_copy(update={"learning_rate": optimizer.learning_rate * gate_size(workload).rate})
    return workload.model_copy(update={"optimizer": gentle})


def gate_trial(
    entry: Entry, cell: Cell, data: DataFiles, inputs: Path, output: Path, *, parts: str = EVERY_PART, seed: int = SEED
) -> TrialFile:
    """Return the trial file of mode `gate` for one entry; `data` is the workload's."""
    size, small = gate_size(cell.workload), gate_data(cell.workload, data, inputs)
    return base_trial(proved_workload(cell.workload), cell, small, inputs, output).model_copy(
        update={
            "mode": "gate",
            "runner": entry.runner,
            "variant": entry.variant,
            "seed": seed,
            "batch_size": size.batch_size,
            "epochs": len(size.epoch_examples),
            "steps": 0,
            "evaluations_per_epoch": 1,
            "eval_batch_size": size.eval_batch_size,
            "gate_checkpoint": str(inputs / "checkpoint"),
            "gate_dropout_rate": 0.0,
            "gate_dropout_repeats": DROPOUT_REPEATS,
            "gate_frozen_steps": min(10, size.steps),
            "gate_gradients": str(inputs / "gradients"),
            "gate_parts": parts,
            "gate_traced_steps": 0,
        }
    )


def gate_data(workload: Workload, data: DataFiles, inputs: Path) -> DataFiles:
    """Return the gate's own small data set: the first images of the real one."""
    size, (channels, height, width) = gate_size(workload), data.image_shape
    side = size.image_side or height
    return replace(
        data,
        train=tuple(inputs / path.name for path in data.train),
        test=tuple(inputs / path.name for path in data.test),
        train_examples=size.train_images,
        test_examples=size.test_images,
        image_shape=(channels, min(height, side), min(width, side)),
    )


def write_gate_inputs(workload: Workload, data: DataFiles, inputs: Path, seed: int = SEED) -> None:
    """Write data, weights, order, given gradients and checkpoint of the gate into `inputs`, once."""
    if (inputs / "expected.npz").exists():
        return
    inputs.mkdir(parents=True, exist_ok=True)
    small, size = gate_data(workload, data, inputs), gate_size(workload)
    counts: dict[Split, int] = {"train": size.train_images, "test": size.test_images}
    for split, count in counts.items():
        images, labels = read_split(data, split)
        write_split(small, split, _cut(images[:count], small.image_shape), labels[:count])
    generators = np.random.default_rng(seed).spawn(3)
    architecture = architecture_of(workload, small)
    weights = _as_given(gate_weights(workload, architecture, generators[0]))
    order = _drawn_order(architecture, weights, small, size, generators[1])
    gradients = _given_gradients(architecture, size.given_gradients, generators[2])
    np.save(inputs / "order.npy", np.stack(order))
    write_arrays(inputs / "weights", weights)
    write_arrays(inputs / "gradients", gradients)
    expected = _Expected(proved_workload(workload), architecture, small, weights, order)
    write_arrays(inputs / "checkpoint", expected.checkpoint)
    _write_expected(expected.arrays(gradients), size, inputs)


def _drawn_order(
    architecture: Architecture, weights: Weights, data: DataFiles, size: Size, generator: np.random.Generator
) -> list[NDArray[np.int32]]:
    """Return the order of each short epoch; of a few draws, the one whose first batch stays clearest of kinks.

    A ReLU whose input is 0 but for rounding has two right gradients. Of 100 seeds without this choice one was such.
    """
    images, _ = _read_standardised(data, "train")
    drawn = [_order(size, generator) for _ in range(size.draws)]
    return max(drawn, key=lambda order: nearest_kink(architecture, weights, images[order[0][: size.batch_size]]))


def _order(size: Size, generator: np.random.Generator) -> list[NDArray[np.int32]]:
    return [generator.permutation(size.train_images)[:examples].astype(np.int32) for examples in size.epoch_examples]


def gate_weights(workload: Workload, architecture: Architecture, generator: np.random.Generator) -> Weights:
    """Return initial weights with random scales, shifts and statistics of batch norms, so that none is 0 or 1.

    The last norm of a residual block has a small scale: deep networks at random weights are chaotic, and would
    magnify rounding beyond what a wrong program does (Goyal et al. 2017 begin at 0 for a similar reason).
    """
    weights = initial_weights(workload.model_copy(update={"initialisation": "fan_in_uniform"}), architecture, generator)
    for name, shape in architecture.statistics.items():
        layer, _, statistic = name.rpartition(".")
        if statistic == "running_mean":
            scale = BRANCH_SCALE if layer in architecture.branch_ends else 1.0
            weights[f"{layer}.weight"] = scale * generator.uniform(0.5, 1.5, shape)
            weights[f"{layer}.bias"] = generator.uniform(-0.2, 0.2, shape)
            weights[name] = generator.uniform(-0.2, 0.2, shape)
        else:
            weights[name] = generator.uniform(0.5, 1.5, shape)
    return weights


def read_evidence(workload: Workload, data: DataFiles, inputs: Path, output: Path) -> Evidence:
    """Return what the gate knows about one runner that wrote into `output`."""
    small = gate_data(workload, data, inputs)
    with np.load(inputs / "expected.npz") as file:
        expected = {name: array.astype(np.float64) for name, array in file.items()}
    return Evidence(
        workload=proved_workload(workload),
        architecture=architecture_of(workload, small),
        data=small,
        inputs=inputs,
        output=output,
        expected=expected,
    )


class _Expected:
    """What the reference makes of the gate's work."""

    def __init__(
        self,
        workload: Workload,
        architecture: Architecture,
        data: DataFiles,
        weights: Weights,
        order: list[NDArray[np.int32]],
    ) -> None:
        self._workload = workload
        self._architecture = architecture
        self._weights = weights
        self._images, self._labels = _read_standardised(data, "train")
        self._test_images, self._test_labels = _read_standardised(data, "test")
        size = gate_size(workload)
        self._first_example = int(order[0][0])
        self._batches = [row[i : i + size.batch_size] for row in order for i in range(0, len(row), size.batch_size)]
        self.checkpoint = _as_given(self._trained((self._batches * size.checkpoint_steps)[: size.checkpoint_steps]))

    def arrays(self, gradients: Weights) -> dict[str, Array]:
        """Return everything that the gate compares, by the names of expected.npz."""
        first = self._batches[0]
        expected: dict[str, Array] = {
            "losses": np.array([self._frozen_loss(batch) for batch in self._batches]),
            "logits": self._frozen_logits(first),
            **self._gradient_and_steps("", CANONICAL),
            **self._given_updates("", CANONICAL, gradients),
            **self._evaluation(),
        }
        if isinstance(self._workload.optimizer, Adam):
            expected |= self._given_updates("@adam_epsilon_hat", HAT, gradients)
            expected |= self._steps("@adam_epsilon_hat", HAT)
        if self._architecture.has_max_pool:
            expected |= self._gradient_and_steps("@max_pool_near_ties", NEAR_TIES)
        if self._architecture.statistics:
            expected |= self._statistics("", CANONICAL) | self._statistics("@biased_running_variance", BIASED)
        if rate := self._workload.model.dropout_rate:
            image = self._images[self._first_example]
            mean, variance = dropout_moments(self._architecture, self._weights, image, rate)
            expected |= {"dropout.mean": _exact(mean), "dropout.variance": _exact(variance)}
        return expected

    def _frozen_logits(self, batch: NDArray[np.int32]) -> Array:
        return _exact(logits_of(self._architecture, self._weights, self._images[batch], training=True))

    def _frozen_loss(self, batch: NDArray[np.int32]) -> float:
        return loss_of(self._frozen_logits(batch), self._labels[batch])

    def _gradient_and_steps(self, form: str, forms: Forms) -> dict[str, Array]:
        """Return the gradient of the first batch, and the weights after one and two real steps."""
        batch = self._batches[0]
        step = gradient_of(self._architecture, self._weights, self._images[batch], self._labels[batch], forms)
        return _prefixed(f"gradient{form}", step.gradient) | self._steps(form, forms)

    def _trained(self, batches: list[NDArray[np.int32]], forms: Forms = CANONICAL) -> Weights:
        pairs = [(self._images[batch], self._labels[batch]) for batch in batches]
        return train(self._workload, self._architecture, self._weights, pairs, forms)[0]

    def _parameters(self, weights: Weights) -> Weights:
        return {name: weights[name] for name in self._architecture.shapes}

    def _given_updates(self, form: str, forms: Forms, gradients: Weights) -> dict[str, Array]:
        """Return the weights after the given gradients."""
        state, moved = OptimizerState(), self._weights
        for number in range(len(next(iter(gradients.values())))):
            gradient = {name: values[number] for name, values in gradients.items()}
            moved = update_weights(self._workload.optimizer, moved, gradient, state, forms)
        return _prefixed(f"given{form}", self._parameters(moved))

    def _steps(self, form: str, forms: Forms) -> dict[str, Array]:
        """Return the weights after one and two real steps."""
        return {
            **_prefixed(f"step1{form}", self._parameters(self._trained(self._batches[:1], forms))),
            **_prefixed(f"step2{form}", self._parameters(self._trained(self._batches[:2], forms))),
        }

    def _statistics(self, form: str, forms: Forms) -> dict[str, Array]:
        """Return the running statistics after ten passes with frozen weights."""
        weights = dict(self._weights)
        for batch in self._batches[:10]:
            state = Pass(weights=weights, training=True, variance_form=forms.variance)
            run_layers(self._architecture.layers, state, self._images[batch])
            weights |= state.statistics
        return _prefixed(f"statistics{form}", {name: weights[name] for name in self._architecture.statistics})

    def _evaluation(self) -> dict[str, Array]:
        logits = _exact(logits_of(self._architecture, self.checkpoint, self._test_images))
        return {
            "test_logits": logits,
            "test_loss": np.array([loss_of(logits, self._test_labels)]),
            "test_labels": self._test_labels.astype(np.float64),
        }


def _write_expected(arrays: dict[str, Array], size: Size, inputs: Path) -> None:
    """Write the reference's results; the file appears last and whole."""
    part = inputs / "expected.part"
    with part.open("wb") as file:
        np.savez(file, **{name: array.astype(size.expected_dtype) for name, array in arrays.items()})  # type: ignore[arg-type]  # the stub mistakes the names for its own option
    part.rename(inputs / "expected.npz")


def _cut(images: Images, shape: tuple[int, int, int]) -> Images:
    """Return the middle of each image."""
    top, left = ((images.shape[axis] - side) // 2 for axis, side in ((2, shape[1]), (3, shape[2])))
    return np.ascontiguousarray(images[:, :, top : top + shape[1], left : left + shape[2]])


def _exact(array: NDArray[np.floating[Any]]) -> Array:
    return array.astype(np.float64)


def _as_given(weights: Weights) -> Weights:
    """Return the weights as the runner reads them: rounded to float32."""
    return {name: weight.astype(np.float32).astype(np.float64) for name, weight in weights.items()}


def _given_gradients(architecture: Architecture, count: int, generator: np.random.Generator) -> Weights:
    """Return gradients whose elements span five orders of magnitude, so that an epsilon shows."""
    gradients: Weights = {}
    for name, shape in architecture.shapes.items():
        sizes = 10 ** generator.uniform(-6, -1, size=(count, *shape))
        gradients[name] = generator.normal(size=(count, *shape)) * sizes
    return _as_given(gradients)


def _read_standardised(data: DataFiles, split: Split) -> tuple[Array, Labels]:
    images, labels = read_split(data, split)
    return standardised(images, data), labels


def _prefixed(prefix: str, weights: Weights) -> dict[str, Array]:
    return {f"{prefix}.{name}": _exact(weight) for name, weight in weights.items()}
