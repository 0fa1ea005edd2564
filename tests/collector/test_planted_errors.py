"""The gate proved: errors planted in a correct runner, one at a time, are caught and named by their likely cause.

Each is a real process that speaks the real protocol: a copy of the NumPy runner in which one function is replaced
(planted_runner/plants.py), gated through `collector.gate.prove` on the gate's own work.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from collector.cli.gate_matrix import alone
from collector.cli.main import verified_data
from collector.datasets.files import DataFiles, write_split
from collector.gate.evidence import EVERY_PART
from collector.gate.proofs import GateKey, Proof, gate_key
from collector.gate.prove import GateResult, GateSetting, gate_entries
from collector.plan.matrix import Cell
from collector.plan.runner import RUNNERS, Description, Entry
from collector.plan.workload import OPTIMIZERS, KerasCnn, Mlp, Workload, read_workload
from collector.run.local_executor import LocalExecutor
from store.database import Store

pytestmark = pytest.mark.timeout(1200)  # half a hundred processes in one fixture: a minute alone, many under load

RUNNER = "python_planted"
PLANTED = Path(__file__).parent / "planted_runner"


@dataclass(frozen=True, slots=True)
class Planted:
    """One error: its name among the plants, where it shows, which part finds it first, and how it is named."""

    name: str
    work: str
    part: str
    cause: str


ERRORS = [
    Planted("tf32", "lenet", "A", "TensorFloat-32"),
    Planted("tf32", "mlp", "A", "TensorFloat-32"),
    Planted("tf32", "cnn", "A", "TensorFloat-32"),
    Planted("bfloat16", "mlp", "A", "bfloat16"),
    Planted("float16", "mlp", "A", "float16"),
    Planted("loss_summed", "mlp", "A", "loss summed"),
    Planted("softmax_twice", "lenet", "A", "softmax applied twice"),
    Planted("kernel_flipped", "lenet", "A", "kernels flipped"),
    Planted("hwc_read_as_chw", "cnn", "A", "HWC"),
    Planted("channels_reversed", "cnn", "A", "BGR"),
    Planted("images_turned", "lenet", "A", "height and width swapped"),
    Planted("weights_transposed", "mlp", "A", "transposed"),
    Planted("flattened_hwc", "cnn", "A", "flattened as H, W, C"),
    Planted("bias_missing", "mlp", "A", "bias missing"),
    Planted("bias_not_trained", "lenet", "B", "not trained"),
    Planted("norm_momentum_complemented", "cnn", "E", "momentum complemented"),
    Planted("norm_epsilon_1e_3", "cnn", "A", "epsilon is 0.001"),
    Planted("running_variance_biased", "cnn", "E", "running variance biased"),
    Planted("norm_in_training_mode_in_evaluation", "cnn", "F", "batch's own statistics"),
    Planted("decay_decoupled", "lenet", "C", "weight decay decoupled"),
    Planted("decay_coupled", "lenet_adamw", "C", "weight decay coupled"),
    Planted("decay_left_out", "lenet", "C", "weight decay left out"),
    Planted("adam_epsilon_ten_times_larger", "mlp", "C", "epsilon is 1e-07 instead of 1e-08"),
    Planted("adam_epsilon_hat", "mlp", "C", "hat form"),
    Planted("adam_without_bias_correction", "mlp", "C", "without bias correction"),
    Planted("nesterov", "lenet", "C", "Nesterov"),
    Planted("momentum_dampened", "lenet", "C", "dampened"),
    Planted("momentum_reset", "lenet", "C", "momentum left out, or its state reset"),
    Planted("learning_rate_one_percent_off", "mlp", "C", "learning rate 1.01 times"),
    Planted("learning_rate_one_percent_off", "lenet", "C", "learning rate 1.01 times"),
    Planted("gradient_not_zeroed", "lenet", "D", "not zeroed"),
    Planted("gradient_not_zeroed", "mlp", "D", "not zeroed"),
    Planted("last_batch_dropped", "mlp", "A", "smaller batch of an epoch is dropped"),
    Planted("last_batch_padded", "mlp", "A", "smaller batch of an epoch is padded"),
    Planted("shuffled_differently", "lenet", "A", "shuffled differently"),
    Planted("order_file_ignored", "cnn", "A", "as the data set has them"),
    Planted("first_order_used_twice", "mlp", "A", "first epoch's order"),
    Planted("labels_shifted_by_a_class", "lenet", "A", "labels shifted by one class"),
    Planted("labels_shifted_by_an_example", "mlp", "A", "labels shifted by one example"),
    Planted("data_not_normalised", "lenet", "A", "not standardised"),
    Planted("data_normalised_twice", "mlp", "A", "standardised twice"),
    Planted("evaluated_on_the_training_set", "lenet", "F", "training set"),
    Planted("evaluated_on_the_first_training_images", "cnn", "F", "training set"),
    Planted("dropout_in_evaluation", "mlp", "F", "dropout active in evaluation"),
    Planted("dropout_rate_complemented", "mlp_dropping_30_percent", "G", "rate complemented"),
    Planted("dropout_survivors_not_scaled", "mlp", "G", "not scaled"),
    Planted("dropout_masks_repeated", "mlp", "G", "same masks"),
    Planted("dropout_switched_off", "mlp", "G", "not active in training"),
]
PARTS = {
    "mlp": "ABCDFG",
    "mlp_dropping_30_percent": "ABCDFG",
    "mlp_of_two_layers": "ABCDF",
    "lenet": "ABCDF",
    "lenet_adamw": "ABCDF",
    "cnn": "ABCDEFG",
    "keras_cnn": "ABCDFG",
}
HONEST = [Planted("none", work, "", "") for work in PARTS]


def works() -> dict[str, Workload]:
    """Return the workloads on which errors show; the CNN's images are small, so that its reference is fast."""
    mlp, lenet, cnn = map(read_workload, ("mnist_mlp", "mnist_lenet", "cifar10_cnn"))
    dropping = mlp.model.model_copy(update={"dropout_rate": 0.3})
    made = {
        "mlp": mlp,
        "mlp_dropping_30_percent": mlp.model_copy(update={"model": dropping}),
        "mlp_of_two_layers": mlp.model_copy(
            update={"model": Mlp(name="mlp", hidden_units=32, hidden_layers=2, dropout_rate=0.0), "parameters": 26_506}
        ),
        "lenet": lenet,
        "lenet_adamw": lenet.model_copy(update={"optimizer": OPTIMIZERS["adamw"]}),
        "cnn": cnn.model_copy(update={"parameters": 36_682}),
        "keras_cnn": cnn.model_copy(
            update={"model": KerasCnn(name="keras_cnn", dropout_rate=0.5), "parameters": 21_962}
        ),
    }
    return {name: workload.model_copy(update={"name": name}) for name, workload in made.items()}


@pytest.fixture(scope="module")
def colours(tmp_path_factory) -> DataFiles:
    """Return images of 3 × 16 × 16: ten blurred patterns, too noisy to be told apart with certainty."""
    folder = tmp_path_factory.mktemp("colours")
    data = DataFiles(
        format="idx",
        train=(folder / "train-images", folder / "train-labels"),
        test=(folder / "test-images", folder / "test-labels"),
        train_examples=700,
        test_examples=520,
        image_shape=(3, 16, 16),
        classes=10,
        mean=(0.49, 0.48, 0.45),
        std=(0.25, 0.24, 0.26),
    )
    generator = np.random.default_rng(5)
    patterns = np.kron(generator.integers(80, 140, (10, 3, 4, 4)), np.ones((1, 1, 4, 4)))
    for split, count in (("train", 700), ("test", 520)):
        labels = generator.integers(0, 10, count)
        images = np.clip(patterns[labels] + generator.normal(0, 40, (count, 3, 16, 16)), 0, 255)
        write_split(data, split, images.astype(np.uint8), labels)
    return data


@pytest.fixture(scope="module")
def results(tmp_path_factory, colours) -> dict[tuple[str, str], GateResult]:
    """Return the gate's result of every error and of the correct runner, by (plant, work)."""
    folder = tmp_path_factory.mktemp("planted")
    mnist, workloads = verified_data("mnist"), works()
    setting = GateSetting(
        store=Store(folder / "store"),
        executor=LocalExecutor(),
        data=lambda name: colours if name == "cifar10" else mnist,
        descriptions={RUNNER: Description(versions={}, devices=("cpu",))},
        runners=write_runners(folder / "runners"),
    )
    cells = {(case.name, case.work): cell_of(case.name, workloads[case.work]) for case in (*ERRORS, *HONEST)}
    every = {"resident": EVERY_PART, "stream": f"{EVERY_PART}L"}
    proofs = {gate_key(c.baseline, c): Proof(cell=c, parts=every[c.loader]) for c in cells.values()}
    gated: dict[GateKey, GateResult] = gate_entries(proofs, setting, lambda _: None)
    return {case: gated[gate_key(cell.baseline, cell)] for case, cell in cells.items()}


def write_runners(folder: Path) -> Path:
    """Write a folder of runners with one in it: the NumPy runner, its variants the plants."""
    shutil.copytree(RUNNERS / "_python", folder / "_python")
    own = shutil.copytree(RUNNERS / "python_numpy", folder / RUNNER)
    (own / "run.py").rename(own / "honest.py")
    shutil.copytree(PLANTED, own, dirs_exist_ok=True)
    lines = (own / "runner.toml").read_text(encoding="utf-8").splitlines()
    head = [line for line in lines[: lines.index("[variants.default]")] if not line.startswith(("name", "workloads"))]
    names = dict.fromkeys(case.name for case in (*HONEST, *ERRORS))
    variants = [f'[variants.{name}]\nfamily = "openblas"\ndefault = {str(name == "none").lower()}' for name in names]
    environment = '[environment]\nOPENBLAS_NUM_THREADS = "{threads}"'
    own_lines = [f'name = "{RUNNER}"', f"workloads = {sorted(works())}"]
    (own / "runner.toml").write_text("\n".join([*own_lines, *head, *variants, environment]), encoding="utf-8")
    return folder


def cell_of(variant: str, workload: Workload) -> Cell:
    """Return a cell in which one variant is alone."""
    return alone(Entry(RUNNER, variant), workload)


@pytest.mark.parametrize("case", ERRORS, ids=lambda case: f"{case.name}-{case.work}")
def test_a_planted_error_is_caught_and_named(results, case):
    """The first part that can see it fails, clearly beyond its tolerance, and says what was planted."""
    result = results[case.name, case.work]

    failed = [row for row in result.rows if not row.passed]
    assert [row.part for row in failed][:1] == [case.part], result.failure
    assert failed[0].error is None or failed[0].tolerance == 0 or failed[0].error > 2 * failed[0].tolerance
    assert case.cause in failed[0].cause
    assert case.cause in result.failure


@pytest.mark.parametrize("case", HONEST, ids=lambda case: case.work)
def test_the_correct_runner_passes_the_same_way(results, case):
    """Every part that the model has, with room to spare: rounding uses a tenth of a tolerance at most."""
    result = results[case.name, case.work]

    assert result.passed, result.failure
    assert {row.part for row in result.rows} == set(PARTS[case.work])
    assert all(row.error <= (0.6 if row.part == "G" else 0.1) * row.tolerance for row in result.rows)


def test_every_plant_is_tried():
    """A plant that no test names would prove nothing."""
    written = (PLANTED / "plants.py").read_text(encoding="utf-8")

    tried = {case.name for case in ERRORS}
    assert written.count("@plant\n") == len(tried) >= 26
    assert all(f"\ndef {name}():" in written for name in tried)
