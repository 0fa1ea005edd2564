"""The runner cpp_libtorch: what tests/contract does not ask of every runner, and that it computes what PyTorch does."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest

from collector.datasets.files import write_idx
from collector.plan.runner import RunnerUnavailableError, probe_description, read_runner, resolve_command
from collector.protocol.events import BuildStop, ChunkStop, EpochStart, EpochStop, EvalStop, RunStop, of_kind
from tests.runners.conftest import EPOCHS, TEST_EXAMPLES, Drive, parameter_shapes

RUNNER = read_runner("cpp_libtorch")
NO_DROPOUT = {"mode": "steps", "steps": 23, "epochs": 1, "evaluations_per_epoch": 0, "dropout_rate": 0.0}
GATE = {"mode": "gate", "evaluations_per_epoch": 1}


@pytest.fixture(scope="module")
def command() -> list[str]:
    """Return the command of the built runner, or skip with the reason."""
    try:
        return resolve_command(RUNNER, threads=1)
    except RunnerUnavailableError as reason:
        pytest.skip(str(reason))


pytestmark = pytest.mark.usefixtures("command")


def test_it_learns_with_every_event_of_the_contract(drive: Drive):
    """Four pairs an epoch with their evaluations; ten patterns are told apart after two epochs."""
    events = drive("cpp_libtorch", "train").events
    trained, evaluated = list(of_kind(events, EpochStop)), list(of_kind(events, EvalStop))

    assert [event.epoch for event in of_kind(events, EpochStart)] == [0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0]
    assert [event.examples for event in trained] == [32, 64, 64, 40] * EPOCHS
    assert {event.examples for event in evaluated} == {TEST_EXAMPLES}
    assert evaluated[-1].correct >= 0.9 * TEST_EXAMPLES
    assert evaluated[-1].loss < evaluated[0].loss
    assert [event.parameters for event in of_kind(events, BuildStop)] == [12_730]


@pytest.mark.parametrize("model", ["mlp", "lenet5"])
def test_it_has_the_training_loss_of_pytorch(drive: Drive, model: str):
    """23 steps of Adam or of SGD with momentum, with and without Python, differ by rounding only."""
    changes = {"model": model, **NO_DROPOUT}
    (ours,), (pytorchs,) = (
        of_kind(drive(runner, f"no_dropout_{model}", **changes).events, EpochStop)
        for runner in ("cpp_libtorch", "python_pytorch")
    )

    assert ours.examples == pytorchs.examples == 23 * 32
    assert ours.train_loss == pytest.approx(pytorchs.train_loss, rel=1e-6)


def test_it_draws_the_dropout_masks_of_pytorch(drive: Drive):
    """The same generator with the same seed: whole trainings agree, masks and all."""
    ours, pytorchs = (
        [event.train_loss for event in of_kind(drive(runner, "train").events, EpochStop)]
        for runner in ("cpp_libtorch", "python_pytorch")
    )

    assert ours == pytest.approx(pytorchs, rel=1e-4)


def test_bfloat16_rounds_and_learns(drive: Drive):
    """Its losses are near those in float32, and are not the same."""
    (rounded,), (strict,) = (
        of_kind(drive("cpp_libtorch", f"steps_{dtype}", dtype=dtype, **NO_DROPOUT).events, EpochStop)
        for dtype in ("bf16", "fp32")
    )

    assert rounded.train_loss != strict.train_loss
    assert rounded.train_loss == pytest.approx(strict.train_loss, rel=0.05)


def test_the_cosine_schedule_ends_near_zero(drive: Drive):
    """With one epoch of schedule the second epoch has a learning rate of 0: its evaluations stay as they were."""
    changes = {"schedule": "cosine", "schedule_epochs": 1}
    events = drive("cpp_libtorch", "cosine", **changes).events

    losses = [event.loss for event in of_kind(events, EvalStop)]
    assert len(set(losses[:4])) == 4
    assert set(losses[4:]) == {losses[3]}


def test_inference_has_a_chunk_per_batch_and_then_one_for_all(drive: Drive):
    """Latency first, throughput second, over the same examples."""
    events = drive("cpp_libtorch", "infer", **{**NO_DROPOUT, "mode": "infer", "steps": 7}).events

    assert [event.steps for event in of_kind(events, ChunkStop)] == [1, 2, 3, 4, 5, 6, 7, 7]
    assert [event.examples for event in of_kind(events, EpochStop)] == [200, 200]


def test_threads_and_flushing_are_reported(drive: Drive):
    """The end of the run says what was set."""
    (stop,) = of_kind(drive("cpp_libtorch", "two_threads", threads=2, **NO_DROPOUT).events, RunStop)

    assert (stop.threads, stop.flushes_subnormals) == (2, True)


def test_the_gate_writes_every_quantity_in_its_canonical_shape(drive: Drive):
    """Parts A to D, F and G, and no other array, as PyTorch computes them."""
    ours, pytorchs = (drive(runner, "gate_mlp", **GATE) for runner in ("cpp_libtorch", "python_pytorch"))
    names = {path.stem for path in ours.folder.glob("?.*.npy")}

    assert names == {path.stem for path in pytorchs.folder.glob("?.*.npy")}
    assert {f"c.weights.{name}" for name in parameter_shapes("mlp")} <= names
    for name in sorted(names):
        np.testing.assert_allclose(ours.array(name), pytorchs.array(name), rtol=1e-5, atol=1e-6, err_msg=name)


def test_several_trials_are_proved_in_one_process(drive: Drive, command: list[str], tmp_path: Path):
    """Each writes its own events and arrays, the same ones as alone."""
    alone = drive("cpp_libtorch", "gate_mlp", **GATE)
    trial = alone.folder / "trial.json"
    moved = []
    for name in ("first", "second"):
        output = tmp_path / name
        output.mkdir()
        text = trial.read_text(encoding="utf-8")
        (output / "trial.json").write_text(text.replace(f'"output": "{alone.folder}"', f'"output": "{output}"'))
        moved += [str(output / "trial.json"), str(output / "events.jsonl")]

    subprocess.run([*command, *moved], check=True, timeout=60)

    for name in ("first", "second"):
        assert '"run_stop"' in (tmp_path / name / "events.jsonl").read_text().splitlines()[-1]
        np.testing.assert_array_equal(np.load(tmp_path / name / "g.logits.npy"), alone.array("g.logits"))


def test_labels_may_be_big_endian_int32(drive: Drive, tmp_path: Path):
    """IDX type 0x0C gives the training of type 0x08."""
    bytes_run = drive("cpp_libtorch", "train")
    labels = tmp_path / "labels"
    given = _trial_value(bytes_run.folder / "trial.json", "data.train_labels")
    values = np.frombuffer(Path(given).read_bytes()[8:], np.uint8)
    labels.write_bytes(bytes.fromhex("00000c01") + len(values).to_bytes(4, "big") + values.astype(">i4").tobytes())

    wide_run = drive("cpp_libtorch", "wide_labels", train_labels=str(labels))

    narrow, wide = ([event.train_loss for event in of_kind(run.events, EpochStop)] for run in (bytes_run, wide_run))
    assert narrow == wide


def test_cifar10_files_are_read_label_first(drive: Drive, tmp_path: Path):
    """The same images as CIFAR-10 batches and as IDX give the same losses."""
    generator = np.random.default_rng(2)
    images = generator.integers(0, 256, (200, 3, 32, 32), dtype=np.uint8)
    labels = generator.integers(0, 10, 200, dtype=np.uint8)
    records = np.concatenate([labels[:, None], images.reshape(200, -1)], axis=1)
    for number, part in enumerate((records[:120], records[120:])):
        (tmp_path / f"batch_{number}").write_bytes(part.tobytes())
    batches = [str(tmp_path / "batch_0"), str(tmp_path / "batch_1")]
    write_idx(tmp_path / "images", images)
    write_idx(tmp_path / "labels", labels)
    idx = {f"{split}_{what}": str(tmp_path / what) for split in ("train", "test") for what in ("images", "labels")}
    weights = _mlp_weights(tmp_path / "weights", pixels=3 * 32 * 32)
    common = {**NO_DROPOUT, "data_mean": [0.4, 0.5, 0.6], "data_std": [0.2, 0.25, 0.3], "weights": weights}
    cifar = {"data_format": "cifar10_binary", **dict.fromkeys(idx), "train_batches": batches, "test_batches": batches}

    by_idx, by_cifar = drive("cpp_libtorch", "idx", **common, **idx), drive("cpp_libtorch", "cifar", **common, **cifar)

    (expected,), (found,) = (of_kind(run.events, EpochStop) for run in (by_idx, by_cifar))
    assert found.train_loss == expected.train_loss


@pytest.mark.parametrize(
    ("label", "changes", "message"),
    [
        ("loader", {"loader": "stream"}, "loader: got stream; this runner supports resident"),
        ("variant", {"variant": "turbo"}, "variant: got turbo; this runner supports default"),
        ("tf32", {"dtype": "tf32"}, "dtype: got tf32; TensorFloat-32 is a format of cuda devices"),
        (
            "cut",
            {"evaluations_per_epoch": 8},
            "evaluations_per_epoch: got 8; expected at most 7, the batches of an epoch",
        ),
    ],
)
def test_what_it_cannot_do_is_unsupported(drive: Drive, label: str, changes: dict[str, object], message: str):
    """The last event names the key, the value and what is possible; the exit code is 0."""
    last = drive("cpp_libtorch", f"unsupported_{label}", **changes).events[-1]

    assert (last.kind, last.message) == ("unsupported", message)


def test_a_missing_device_is_an_error_and_never_the_cpu(drive: Drive):
    """Where there is no GPU, cuda ends the run."""
    outcome = drive("cpp_libtorch", "cuda", device="cuda")

    assert outcome.exit_code == 1
    assert "device: got cuda; LibTorch has no such device here" in outcome.stderr


def test_a_loss_that_is_not_finite_ends_the_run_as_diverged(drive: Drive):
    """A learning rate of 1e30 is an ending, not a crash, and not a NaN in the events."""
    last = drive("cpp_libtorch", "diverged", learning_rate=1e30).events[-1]

    assert last.kind == "diverged"
    assert "expected a finite number" in last.message


def test_a_missing_file_is_an_error_that_names_it(drive: Drive):
    """The events stop at what was done, and standard error says what is missing."""
    outcome = drive("cpp_libtorch", "missing", train_images="/nowhere/train-images")

    assert outcome.exit_code == 1
    assert "/nowhere/train-images: cannot be read" in outcome.stderr
    assert len((outcome.folder / "events.jsonl").read_text(encoding="utf-8").splitlines()) == 2


def test_describe_names_the_kernels_of_pytorch():
    """The same MKL, oneDNN and instructions as the Python runner: what makes them one family."""
    ours, pytorchs = (probe_description(read_runner(name)).versions for name in ("cpp_libtorch", "python_pytorch"))

    assert {key: ours[key] for key in ("mkl", "onednn", "cpu_capability")} == {
        key: pytorchs[key] for key in ("mkl", "onednn", "cpu_capability")
    }
    assert pytorchs["framework_version"].startswith(ours["framework_version"])


def _mlp_weights(folder: Path, pixels: int) -> str:
    folder.mkdir()
    generator = np.random.default_rng(4)
    for name, shape in {**parameter_shapes("mlp"), "hidden.weight": (16, pixels)}.items():
        np.save(folder / f"{name}.npy", generator.uniform(-0.05, 0.05, shape).astype(np.float32))
    return str(folder)


def _trial_value(trial: Path, key: str) -> str:
    line = next(line for line in trial.read_text(encoding="utf-8").splitlines() if line.startswith(f'"{key}"'))
    return line.split('"')[3]
