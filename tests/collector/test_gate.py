"""The gate passes what is equal and refuses what is not, naming quantity, values and cause."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from collector.gate import judge
from collector.gate_inputs import (
    BATCH_SIZE,
    EXAMPLES_PER_EPOCH,
    read_idx,
    read_idx_shape,
    write_gate_inputs,
    write_idx,
)
from collector.reference import (
    OptimizerState,
    Weights,
    gradient_of,
    logits_of,
    loss_of,
    parameter_shapes,
    update_weights,
)
from collector.workload import Workload, read_workload

F32 = np.float32


class Honest:
    """A correct runner in float64, rounded to float32 at its edges; each method is a place to plant an error."""

    def __init__(self, workload: Workload, inputs: Path, output: Path) -> None:
        self.workload, self.inputs, self.output = workload, inputs, output
        self.mean, self.std = 0.5, 0.3

    def read_weights(self, folder: str) -> Weights:
        names = parameter_shapes(self.workload)
        return {name: np.load(self.inputs / folder / f"{name}.npy").astype(float) for name in names}

    def read_data(self, prefix: str) -> tuple[np.ndarray, np.ndarray]:
        pixels = read_idx(self.inputs / f"{prefix}-images-idx3-ubyte").astype(float)[:, None]
        labels = read_idx(self.inputs / f"{prefix}-labels-idx1-ubyte").astype(int)
        return (pixels / 255 - self.mean) / self.std, labels

    def batches(self) -> list[np.ndarray]:
        order = np.load(self.inputs / "order.npy")
        return [row[i : i + BATCH_SIZE] for row in order for i in range(0, EXAMPLES_PER_EPOCH, BATCH_SIZE)]

    def loss(self, logits: np.ndarray, labels: np.ndarray) -> float:
        return loss_of(logits, labels)

    def gradient(self, weights: Weights, images: np.ndarray, labels: np.ndarray) -> Weights:
        return gradient_of(self.workload, weights, images, labels)[1]

    def update(self, weights: Weights, gradient: Weights, state: OptimizerState) -> Weights:
        return update_weights(self.workload.optimizer, weights, gradient, state)

    def evaluate(self, weights: Weights, images: np.ndarray) -> np.ndarray:
        return logits_of(self.workload, weights, images)

    def save(self, name: str, array: np.ndarray) -> None:
        np.save(self.output / f"{name}.npy", np.asarray(array, dtype=F32))

    def save_all(self, prefix: str, weights: Weights) -> None:
        for name, array in weights.items():
            self.save(f"{prefix}.{name}", array)

    def run(self) -> None:
        images, labels = self.read_data("train")
        weights, batches = self.read_weights("weights"), self.batches()
        logits = [logits_of(self.workload, weights, images[b]) for b in batches]
        self.save("a.losses", np.array([self.loss(z, labels[b]) for z, b in zip(logits, batches, strict=True)]))
        self.save("a.logits", logits[0])
        self.save_all("b.gradient", self.gradient(weights, images[batches[0]], labels[batches[0]]))
        self.run_given(weights)
        state, stepped = OptimizerState(), weights
        for number, batch in enumerate(batches[:2], start=1):
            stepped = self.update(stepped, self.gradient(stepped, images[batch], labels[batch]), state)
            self.save_all(f"d.weights{number}", stepped)
        test_images, test_labels = self.read_data("t10k")
        logits = self.evaluate(self.read_weights("checkpoint"), test_images)
        self.save("f.logits", logits)
        self.save("f.loss", np.array([loss_of(logits, test_labels)]))
        self.save("f.correct", np.array([(logits.argmax(axis=1) == test_labels).sum()]))

    def run_given(self, weights: Weights) -> None:
        gradients, state = self.read_weights("gradients"), OptimizerState()
        for step in range(10):
            weights = self.update(weights, {name: g[step] for name, g in gradients.items()}, state)
        self.save_all("c.weights", weights)


def summed_loss(runner: Honest) -> None:
    runner.loss = lambda z, y: loss_of(z, y) * len(y)
    honest = runner.gradient
    runner.gradient = lambda w, x, y: {n: g * len(y) for n, g in honest(w, x, y).items()}


def bias_missing(runner: Honest) -> None:
    honest = runner.read_weights
    runner.read_weights = lambda f: {n: w * (not n.endswith("bias")) for n, w in honest(f).items()}


def weights_transposed(runner: Honest) -> None:
    honest = runner.read_weights

    def transposed(folder: str) -> Weights:
        weights = honest(folder)
        return {n: w.reshape(w.shape[::-1]).T if w.ndim > 1 else w for n, w in weights.items()}

    runner.read_weights = transposed


def not_standardised(runner: Honest) -> None:
    runner.mean, runner.std = 0.0, 1.0


def labels_shifted(runner: Honest) -> None:
    honest = runner.read_data
    runner.read_data = lambda p: (honest(p)[0], np.roll(honest(p)[1], 1))


def other_order(runner: Honest) -> None:
    honest = runner.batches
    runner.batches = lambda: honest()[10:] + honest()[:10]


def last_batch_padded(runner: Honest) -> None:
    honest = runner.batches
    runner.batches = lambda: [np.resize(batch, BATCH_SIZE) for batch in honest()]


def last_batch_dropped(runner: Honest) -> None:
    honest = runner.batches
    runner.batches = lambda: [batch for batch in honest() if len(batch) == BATCH_SIZE]


def learning_rate_off_by_1_percent(runner: Honest) -> None:
    changed = runner.workload.optimizer.model_copy(
        update={"learning_rate": runner.workload.optimizer.learning_rate * 1.01}
    )
    runner.update = lambda w, g, s: update_weights(changed, w, g, s)


def gradient_not_zeroed(runner: Honest) -> None:
    honest, held = runner.gradient, {}

    def accumulated(weights: Weights, images: np.ndarray, labels: np.ndarray) -> Weights:
        for name, tensor in honest(weights, images, labels).items():
            held[name] = held.get(name, 0) + tensor
        return dict(held)

    runner.gradient = accumulated


def evaluated_on_the_training_set(runner: Honest) -> None:
    honest = runner.read_data
    runner.read_data = lambda p: tuple(a[:500] for a in honest("train")) if p == "t10k" else honest(p)


def dropout_in_evaluation(runner: Honest) -> None:
    honest = runner.evaluate
    generator = np.random.default_rng(0)
    runner.evaluate = lambda w, x: honest(w, x * (generator.random(x.shape) > 0.5) * 2)


def half_precision(runner: Honest) -> None:
    honest = runner.read_weights
    runner.read_weights = lambda f: {n: w.astype(np.float16).astype(float) for n, w in honest(f).items()}


def epsilon_ten_times_larger(runner: Honest) -> None:
    changed = runner.workload.optimizer.model_copy(update={"epsilon": 1e-7})
    runner.update = lambda w, g, s: update_weights(changed, w, g, s)


def decay_decoupled(runner: Honest) -> None:
    plain = runner.workload.optimizer.model_copy(update={"weight_decay": 0.0})
    rate = runner.workload.optimizer.learning_rate * runner.workload.optimizer.weight_decay
    runner.update = lambda w, g, s: {n: v - rate * w[n] for n, v in update_weights(plain, w, g, s).items()}


def momentum_left_out(runner: Honest) -> None:
    changed = runner.workload.optimizer.model_copy(update={"momentum": 0.0})
    runner.update = lambda w, g, s: update_weights(changed, w, g, s)


PLANTED: list[tuple[str, Callable[[Honest], None], str]] = [
    ("mnist_mlp", summed_loss, "A"),
    ("mnist_mlp", bias_missing, "A"),
    ("mnist_mlp", weights_transposed, "A"),
    ("mnist_mlp", not_standardised, "A"),
    ("mnist_mlp", labels_shifted, "A"),
    ("mnist_mlp", other_order, "A"),
    ("mnist_mlp", last_batch_padded, "A"),
    ("mnist_mlp", last_batch_dropped, "A"),
    ("mnist_mlp", learning_rate_off_by_1_percent, "C"),
    ("mnist_mlp", gradient_not_zeroed, "D"),
    ("mnist_mlp", evaluated_on_the_training_set, "F"),
    ("mnist_mlp", dropout_in_evaluation, "F"),
    ("mnist_mlp", half_precision, "A"),
    ("mnist_mlp", epsilon_ten_times_larger, "C"),
    ("mnist_lenet", summed_loss, "A"),
    ("mnist_lenet", weights_transposed, "A"),
    ("mnist_lenet", decay_decoupled, "C"),
    ("mnist_lenet", momentum_left_out, "C"),
]


@pytest.fixture(scope="module")
def gate_folder(tmp_path_factory, small_data):
    """Return a folder with the gate's inputs for both models."""
    folder = tmp_path_factory.mktemp("gate")
    for name in ("mnist_mlp", "mnist_lenet"):
        write_gate_inputs(read_workload(name), small_data, folder / name)
    return folder


def judged(name: str, inputs: Path, output: Path, plant: Callable[[Honest], None] = lambda _: None):
    workload = read_workload(name)
    runner = Honest(workload, inputs / name, output)
    plant(runner)
    runner.run()
    return judge(workload, inputs / name, output, workload.parameters)


@pytest.mark.parametrize("name", ["mnist_mlp", "mnist_lenet"])
def test_a_correct_runner_passes_with_room_to_spare(gate_folder, tmp_path, name):
    """Rounding to float32 uses less than a tenth of any tolerance."""
    checks = judged(name, gate_folder, tmp_path)

    assert {check.part for check in checks} == set("ABCDF")
    assert max(check.strain for check in checks) < 0.1


@pytest.mark.parametrize(("name", "plant", "part"), PLANTED, ids=lambda value: getattr(value, "__name__", value))
def test_a_planted_error_is_refused(gate_folder, tmp_path, name, plant, part):
    """Each error fails the part that is there for it, clearly beyond its tolerance."""
    failed = [check for check in judged(name, gate_folder, tmp_path, plant) if not check.passed]

    assert failed[0].part == part
    assert max(check.strain for check in failed) > 2


def test_the_failure_names_both_values_and_the_cause(gate_folder, tmp_path):
    """A summed loss is told as what it is."""
    check = next(c for c in judged("mnist_mlp", gate_folder, tmp_path, summed_loss) if c.quantity.startswith("losses"))

    expected, found = (float(text.split()[-1]) for text in (check.expected, check.found))
    assert found / expected in (pytest.approx(32), pytest.approx(17))
    assert "summed" in check.cause


@pytest.mark.parametrize("damage", ["missing", "shape", "nan", "garbage"])
def test_an_unusable_file_is_a_failure_and_no_traceback(gate_folder, tmp_path, damage):
    """A quantity that is absent, misshapen, not finite or no array fails its part."""
    judged("mnist_mlp", gate_folder, tmp_path)
    path = tmp_path / "c.weights.hidden.bias.npy"
    if damage == "missing":
        path.unlink()
    elif damage == "garbage":
        path.write_bytes(b"no array")
    else:
        np.save(path, np.full(128, np.nan) if damage == "nan" else np.zeros(3))

    workload = read_workload("mnist_mlp")
    failed = [c for c in judge(workload, gate_folder / "mnist_mlp", tmp_path, workload.parameters) if not c.passed]
    assert [check.part for check in failed] == ["C"]
    assert failed[0].error == np.inf


def test_another_parameter_count_is_refused(gate_folder, tmp_path):
    """The paper's Python side had 118,282 parameters where its Elixir side had 101,770."""
    judged("mnist_mlp", gate_folder, tmp_path)

    checks = judge(read_workload("mnist_mlp"), gate_folder / "mnist_mlp", tmp_path, 118282)
    assert [(c.expected, c.found) for c in checks if not c.passed] == [("101770", "118282")]


def test_idx_files_are_read_as_written(tmp_path):
    """Writing and reading is the identity, and the header alone tells the shape."""
    array = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    write_idx(tmp_path / "a", array)

    np.testing.assert_array_equal(read_idx(tmp_path / "a"), array)
    assert read_idx_shape(tmp_path / "a") == (2, 3, 4)
