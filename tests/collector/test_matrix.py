"""A suite file becomes cells, or a clear refusal."""

from __future__ import annotations

from pathlib import Path

import pytest

from collector.definition import DefinitionError
from collector.matrix import MatrixError, expand_suite, known_suites, read_suite

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
        ("heats = 2", 'heats = 2\naxes.device = ["cuda"]', r"axes\.device: fake:exact does not support 'cuda'"),
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
    with pytest.raises(MatrixError, match="'demoo' is not a known suite; known: demo.*Did you mean 'demo'"):
        read_suite("demoo")


def test_the_content_hash_follows_every_setting(tmp_path):
    """A changed margin is another suite, and so another campaign."""
    assert read(tmp_path, SUITE).content != read(tmp_path, SUITE.replace("seed = 1", "seed = 2")).content
