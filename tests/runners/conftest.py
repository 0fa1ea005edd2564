"""Runs of the real Python runners on a small, learnable data set: each process is started once per session."""

from __future__ import annotations

import importlib
import os
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from numpy.typing import NDArray

from collector.datasets.files import DataFiles, write_idx
from collector.gate.evidence import EVERY_PART
from collector.plan.runner import RUNNERS, read_runner, resolve_command, runner_environment
from collector.protocol.events import Event, read_events
from collector.protocol.trial import TrialFile, write_trial
from collector.run.inputs import data_keys

GATE_REPEATS = 512  # of part G
RUN_TIMEOUT_S = 600  # Flux alone compiles for a minute
TRAIN_EXAMPLES, TEST_EXAMPLES, BATCH_SIZE, EPOCHS = 200, 70, 32, 2  # 7 batches an epoch, the last one of 8
SHAPES = {
    "mlp": {"hidden": (16, 784), "output": (10, 16)},
    "lenet5": {
        "conv1": (6, 1, 5, 5),
        "conv2": (16, 6, 5, 5),
        "dense1": (120, 256),
        "dense2": (84, 120),
        "dense3": (10, 84),
    },
}
MODELS: dict[str, dict[str, object]] = {
    "mlp": {
        "hidden_layers": 1,
        "hidden_units": 16,
        "dropout_rate": 0.5,
        "optimizer": "adam",
        "learning_rate": 0.01,
        "beta1": 0.9,
        "beta2": 0.999,
        "epsilon": 1e-8,
        "weight_decay": 0.0,
    },
    "lenet5": {"dropout_rate": 0.0, "optimizer": "sgd", "learning_rate": 0.01, "momentum": 0.9, "weight_decay": 5e-4},
}


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a finished runner left behind."""

    exit_code: int
    stderr: str
    folder: Path

    @property
    def events(self) -> list[Event]:
        """Return the checked events; a runner that failed has none, and says why."""
        assert self.exit_code == 0, self.stderr
        return read_events(self.folder / "events.jsonl")

    def array(self, name: str) -> NDArray[np.floating]:
        """Return one of the arrays that the runner wrote."""
        return np.load(self.folder / f"{name}.npy")


Drive = Callable[..., Outcome]


def parameter_shapes(model: str) -> dict[str, tuple[int, ...]]:
    """Return the shape of every parameter of a model, by canonical name."""
    shapes: dict[str, tuple[int, ...]] = {}
    for layer, shape in SHAPES[model].items():
        shapes[f"{layer}.weight"], shapes[f"{layer}.bias"] = shape, shape[:1]
    return shapes


@pytest.fixture(scope="session")
def learnable_data(tmp_path_factory: pytest.TempPathFactory) -> DataFiles:
    """Return IDX files of ten noisy patterns, which a few steps can tell apart."""
    folder = tmp_path_factory.mktemp("learnable_data")
    generator = np.random.default_rng(11)
    patterns = generator.integers(0, 200, (10, 28, 28))
    for part, count in (("train", TRAIN_EXAMPLES), ("test", TEST_EXAMPLES)):
        labels = generator.integers(0, 10, count, dtype=np.uint8)
        images = patterns[labels] + generator.integers(0, 56, (count, 28, 28))
        write_idx(folder / f"{part}-images", images.astype(np.uint8))
        write_idx(folder / f"{part}-labels", labels)
    return DataFiles(
        format="idx",
        train=(folder / "train-images", folder / "train-labels"),
        test=(folder / "test-images", folder / "test-labels"),
        train_examples=TRAIN_EXAMPLES,
        test_examples=TEST_EXAMPLES,
        image_shape=(1, 28, 28),
        classes=10,
        mean=(0.5,),
        std=(0.25,),
    )


@pytest.fixture(scope="session")
def drive(learnable_data: DataFiles, tmp_path_factory: pytest.TempPathFactory) -> Drive:
    """Return a function that runs a runner once: `drive(runner, label, model=…, path=…, **changes of the trial)`."""
    done: dict[tuple[str, str], Outcome] = {}

    def run(runner: str, label: str, *, model: str = "mlp", path: Path | None = None, **changes: object) -> Outcome:
        if (runner, label) not in done:
            folder = tmp_path_factory.mktemp(f"{runner}-{label}")
            trial = _trial(runner, model, learnable_data, folder).model_copy(update=changes)
            _write_inputs(trial, folder)
            done[runner, label] = _launch(runner, trial, folder, path)
        return done[runner, label]

    return run


@pytest.fixture(scope="session")
def shared() -> Iterator[Callable[[str], ModuleType]]:
    """Return a function that imports what the Python runners share, by module name."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(RUNNERS))
        yield lambda name: importlib.import_module(f"_python.{name}")


def _trial(runner: str, model: str, data: DataFiles, folder: Path) -> TrialFile:
    return TrialFile(
        batch_size=BATCH_SIZE,
        chunks_per_epoch=8,
        **data_keys(data),
        device="cpu",
        dtype="fp32",
        epochs=EPOCHS,
        eval_batch_size=BATCH_SIZE,
        evaluations_per_epoch=4,
        loader="resident",
        loader_workers=0,
        loss="softmax_cross_entropy",
        mode="train",
        model=model,
        order=str(folder / "order.npy"),
        output=str(folder),
        runner=runner,
        seed=5,
        steps=0,
        threads=1,
        schedule="constant",
        variant=read_runner(runner).default_variant,
        weights=str(folder / "weights"),
        workload="test",
        **MODELS[model],
    )


def _write_inputs(trial: TrialFile, folder: Path) -> None:
    """Write order, weights and, for the gate, checkpoint and gradients; the same ones for every runner."""
    generator = np.random.default_rng(3)
    drawn = trial.steps * trial.batch_size if trial.mode == "steps" else TRAIN_EXAMPLES
    rows = [generator.permutation(np.resize(np.arange(TRAIN_EXAMPLES), drawn)) for _ in range(trial.epochs)]
    np.save(folder / "order.npy", np.stack(rows).astype(np.int32))
    for name, leading in (("weights", ()), ("checkpoint", ()), ("gradients", (10,))):
        (folder / name).mkdir()
        for parameter, shape in parameter_shapes(trial.model).items():
            values = generator.uniform(-0.05, 0.05, (*leading, *shape)).astype(np.float32)
            np.save(folder / name / f"{parameter}.npy", values)
    if trial.mode == "gate":
        parts = f"{EVERY_PART}L" if trial.loader == "stream" else EVERY_PART
        counts = {"gate_dropout_repeats": GATE_REPEATS, "gate_frozen_steps": 0, "gate_traced_steps": 0}
        folders = {f"gate_{name}": str(folder / name) for name in ("checkpoint", "gradients")}
        trial = trial.model_copy(update={**folders, **counts, "gate_dropout_rate": 0.0, "gate_parts": parts})
    write_trial(trial, folder / "trial.json")


def _launch(runner: str, trial: TrialFile, folder: Path, path: Path | None) -> Outcome:
    definition = read_runner(runner)
    command = [*resolve_command(definition, threads=1), str(folder / "trial.json"), str(folder / "events.jsonl")]
    environment = {**runner_environment(definition, threads=1), "CUDA_VISIBLE_DEVICES": ""}
    if path is not None:
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, (str(path), os.environ.get("PYTHONPATH", ""))))
    answer = subprocess.run(
        command, env=environment, cwd=folder, capture_output=True, text=True, timeout=RUN_TIMEOUT_S, check=False
    )
    return Outcome(answer.returncode, answer.stderr, folder)
