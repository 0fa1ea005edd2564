"""A suite file becomes cells, or a clear refusal."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from collector.plan import runner as runner_module
from collector.plan.matrix import MatrixError, expand_matrix, expand_suite, known_suites, read_suite
from store.definition import DefinitionError, read_definition

SUITE = """
name = "s"
description = "a suite for tests"
seed = 1
[[group]]
workloads = ["mnist_mlp"]
runners = ["fake", "fake:slow"]
baseline = "fake"
heats = 2
"""


def read(tmp_path: Path, text: str):
    path = tmp_path / "s.toml"
    path.write_text(text, encoding="utf-8")
    return read_suite(str(path))


@pytest.mark.parametrize("name", known_suites())
def test_every_suite_that_is_delivered_expands(name):
    """No suite names a runner or workload that does not exist."""
    suite = read_suite(name)

    assert suite.name == name
    assert expand_suite(suite)


def test_axes_multiply(tmp_path):
    """Two batch sizes and two thread counts are four cells."""
    cells = expand_suite(read(tmp_path, SUITE + "axes.batch_size = [32, 64]\naxes.threads = [1, 2]\n"))

    assert [(c.batch_size, c.threads) for c in cells] == [(32, 1), (32, 2), (64, 1), (64, 2)]


def test_without_axes_the_workload_decides(tmp_path):
    """The workload's own batch size and epochs are used."""
    (cell,) = expand_suite(read(tmp_path, SUITE))

    assert (cell.batch_size, cell.epochs, cell.device, cell.dtype, cell.threads) == (128, 3, "cpu", "fp32", 1)


def test_the_own_optimizer_keeps_its_hyperparameters_and_another_brings_its_own(tmp_path):
    """LeNet trains with momentum and decay; asked for Adam it gets neither, asked for rates it gets those."""
    lenet = SUITE.replace("mnist_mlp", "mnist_lenet")
    cells = expand_suite(read(tmp_path, lenet + 'axes.optimizer = ["momentum", "adam", "sgd"]\n'))
    told = [(c.workload.optimizer.label, c.workload.optimizer.weight_decay) for c in cells]
    assert told == [("momentum", 5e-4), ("adam", 0.0), ("sgd", 0.0)]

    rates = "axes.learning_rate = [0.1, 0.2]\naxes.weight_decay = [0.3]\n"
    cells = expand_suite(read(tmp_path, lenet + rates))
    told = [(o.momentum, o.learning_rate, o.weight_decay) for o in (c.workload.optimizer for c in cells)]
    assert told == [(0.9, 0.1, 0.3), (0.9, 0.2, 0.3)]


@pytest.mark.parametrize(("mode", "steps", "expected"), [("steps", 7, 7), ("infer", 8, 8), ("infer", None, 50)])
def test_a_group_runs_a_workload_in_another_mode(tmp_path, mode, steps, expected):
    """Nothing is evaluated and there is nothing to reach."""
    asked = f'mode = "{mode}"\n' + (f"steps = {steps}\n" if steps else "")
    (cell,) = expand_suite(read(tmp_path, SUITE + asked))

    workload = cell.workload
    assert (workload.mode, workload.steps, cell.epochs) == (mode, expected, 1)
    assert (workload.evaluations_per_epoch, workload.target) == (0, None)


def test_a_workload_of_steps_trains_when_it_is_asked_to(tmp_path):
    """It has no target then, and is evaluated as often as the others."""
    text = SUITE.replace("mnist_mlp", "mnist_resnet18").replace('["fake", "fake:slow"]', '["python_pytorch"]')
    text = text.replace('baseline = "fake"', 'baseline = "python_pytorch"')
    (cell,) = expand_suite(read(tmp_path, text + 'mode = "train"\naxes.epochs = [2]\n'))

    workload = cell.workload
    assert (cell.epochs, workload.steps, workload.evaluations_per_epoch, workload.target) == (2, 0, 4, None)


def test_an_entry_that_cannot_run_a_cell_is_refused_with_the_reason_and_the_rest_is_run(tmp_path):
    """A variant may offer less than its runner."""
    text = SUITE.replace("fake:slow", "fake:resident") + 'axes.loader = ["resident", "stream"]\n'
    matrix = expand_matrix(read(tmp_path, text))

    assert [(c.loader, len(c.candidates), c.track) for c in matrix.cells] == [
        ("resident", 1, "closed"), ("stream", 0, "open"),
    ]  # fmt: skip
    (refusal,) = matrix.refusals
    assert (str(refusal.entry), refusal.cell.loader) == ("fake:resident", "stream")
    assert refusal.reason == "fake:resident does not support the loader 'stream'; it supports resident"


def test_without_its_baseline_a_cell_is_not_run(tmp_path):
    """Its rivals say why."""
    text = SUITE.replace('["fake", "fake:slow"]', '["fake:resident", "fake:slow"]')
    text = text.replace('baseline = "fake"', 'baseline = "fake:resident"') + 'axes.loader = ["resident", "stream"]\n'
    matrix = expand_matrix(read(tmp_path, text))

    assert [cell.loader for cell in matrix.cells] == ["resident"]
    assert [str(refusal.entry) for refusal in matrix.refusals] == ["fake:resident", "fake:slow"]
    assert matrix.refusals[1].reason.startswith("not run, because its baseline cannot: fake:resident does not support")


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        ('axes.loader = ["resident", "stream"]\nmode = "infer"', "feeds training only"),
        ('axes.loader = ["resident", "stream"]\nmode = "steps"\nsteps = 500', "60000 examples .*; 500 steps of 128"),
    ],
)
def test_a_stream_that_makes_no_sense_is_refused(tmp_path, asked, reason):
    """Inference predicts resident batches; one epoch of the loader must be enough for the steps."""
    matrix = expand_matrix(read(tmp_path, SUITE + asked + "\n"))

    assert [cell.loader for cell in matrix.cells] == ["resident"]
    assert all(re.search(reason, refusal.reason) for refusal in matrix.refusals)
    assert len(matrix.refusals) == 2


def test_epochs_are_an_axis_of_the_workloads_that_have_them(tmp_path):
    """A workload in mode steps has one cell, however many numbers of epochs the others have."""
    text = SUITE.replace('["mnist_mlp"]', '["mnist_mlp", "mnist_resnet18"]').replace(
        '"fake", "fake:slow"', '"python_pytorch"'
    )
    text = text.replace('baseline = "fake"', 'baseline = "python_pytorch"') + "axes.epochs = [1, 2]\n"
    cells = expand_suite(read(tmp_path, text))

    assert [(c.workload.name, c.epochs) for c in cells] == [("mnist_mlp", 1), ("mnist_mlp", 2), ("mnist_resnet18", 1)]


def test_the_baseline_is_not_its_own_candidate(tmp_path):
    """The heat adds the baseline itself, twice."""
    (cell,) = expand_suite(read(tmp_path, SUITE))

    assert [str(entry) for entry in cell.candidates] == ["fake:slow"]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"fake:slow"', '"julia_luxx"', "'julia_luxx' is not a known runner"),
        ('"fake:slow"', '"fake:fast"', "'fast' is not a known variant of fake"),
        ('"mnist_mlp"', '"mnist_mpl"', r"'mnist_mpl' is not a known workload.*Did you mean 'mnist_mlp'"),
        ("heats = 2", 'heats = "2"', r"group\.0\.heats: got '2'; input should be a valid integer"),
        ("heats = 2", "heats = 0", r"group\.0\.heats: got 0; input should be greater than 0"),
        ("heats = 2", "heats = 2\nbatch = 3", r"group\.0\.batch: unknown key"),
        (
            "heats = 2",
            "heats = 2\naxes.bach_size = [3]",
            r"group\.0\.axes\.bach_size: unknown key; known keys are batch",
        ),
        ('baseline = "fake"', 'baseline = "python_numpy"', "must be one of the group's runners"),
        ('workloads = ["mnist_mlp"]', "workloads = []", r"group\.0\.workloads: got \[\]"),
        ("heats = 2", 'heats = 2\nexclusions = [{ runner = "fake" }]', r"exclusions\.0\.reason: is missing"),
        (
            "heats = 2",
            'heats = 2\naxes.device = ["cuda"]',
            "nothing of it can be run(?s:.*)the device 'cuda'; it supports cpu",
        ),
        ("heats = 2", "heats = 2\naxes.loader_workers = [4]", "the resident loader has no workers; 4 were asked for"),
        (
            "heats = 2",
            "heats = 2\naxes.loader_workers = [17]",
            r"loader_workers\.0: got 17; .* less than or equal to 16",
        ),
        ("heats = 2", "heats = 2\naxes.learning_rate = [0.0]", r"learning_rate\.0: got 0\.0; .* greater than 0"),
        ("heats = 2", 'heats = 2\naxes.optimizer = ["lion"]', r"optimizer\.0: got 'lion'; .* 'sgd', 'momentum'"),
        ("heats = 2", "heats = 2\nsteps = 5", r"group 1: steps: got 5; expected none"),
        ("heats = 2", 'heats = 2\nmode = "steps"\naxes.epochs = [2]', r"axes\.epochs: got \[2\]; expected none"),
        ("heats = 2", 'heats = 2\nmode = "infer"\naxes.optimizer = ["sgd"]', "mode 'infer' trains nothing"),
        ("heats = 2", 'heats = 2\nmode = "gate"', r"group\.0\.mode: got 'gate'; .* 'train', 'steps' or 'infer'"),
        ("heats = 2", 'heats = 2\nexclusions = [{ reason = "all" }]', "the matrix is empty"),
        ('"fake:slow"', '"fake:slow", "fake:slow"', "the entry fake:slow occurs twice"),
        ('["mnist_mlp"]', '["mnist_mlp", "mnist_mlp"]', "the cell mnist_mlp .* occurs twice"),
        ('name = "s"', 'name = "../s"', "name: got '../s'"),
        ('name = "s"', 'name = "t"', "expected the file's own name 's'"),
        (
            "heats = 2",
            'heats = 2\nexclusions = [{ reason = "no", runner = "fake:exact" }]',
            "the baseline .* is excluded",
        ),
    ],
)
def test_bad_suites_are_refused(tmp_path, old, new, message):
    """Each mistake has one message that names it."""
    with pytest.raises(DefinitionError, match=message):
        expand_suite(read(tmp_path, SUITE.replace(old, new)))


def test_an_unknown_suite_lists_the_known_ones():
    """The error is the help."""
    with pytest.raises(MatrixError, match="'demoo' is not a known suite; known: blog, demo.*Did you mean 'demo'"):
        read_suite("demoo")


def test_the_content_hash_follows_every_setting(tmp_path):
    """A changed margin is another suite, and so another campaign."""
    assert read(tmp_path, SUITE).content != read(tmp_path, SUITE.replace("seed = 1", "seed = 2")).content


def test_a_command_reads_each_runner_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many cells name it; and a file that has changed is read again."""
    read: list[Path] = []

    def reading(path: Path, *rest: Any) -> Any:
        read.append(path)
        return read_definition(path, *rest)

    runner_module._read_runner.cache_clear()
    monkeypatch.setattr(runner_module, "read_definition", reading)
    expand_suite(read_suite("smoke"))

    files = [path for path in read if path.name == "runner.toml"]
    assert files
    assert len(files) == len(set(files))
