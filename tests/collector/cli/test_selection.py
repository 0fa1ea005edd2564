"""What a person asks for becomes a suite, or a clear refusal."""

from __future__ import annotations

import re
from typing import Any

import pytest
from typer.testing import CliRunner

from collector.cli.main import app
from collector.cli.selection import Choice, choose_suite, refusal_lines
from collector.plan.axes import Axes
from collector.plan.matrix import expand_suite, known_suites, read_suite
from store.definition import DefinitionError

NOTHING: dict[str, Any] = {
    "suite": None,
    "subset": False,
    "runner": "",
    "workload": "",
    "heats": None,
    "repetitions": None,
    "seed": None,
}
NOTHING |= {"mode": None, "steps": None, "axes": {}}
FAKE = {"runner": "fake,fake:slow", "workload": "mnist_mlp"}


def choose(**asked: Any):
    return choose_suite(Choice(**{**NOTHING, **asked}))


def test_every_axis_can_be_given():
    """Commas separate values; each is checked as in a suite file."""
    given = {
        "device": "cpu", "dtype": "fp32", "batch_size": "32,128", "threads": "1,2", "loader": "stream",
        "loader_workers": "0,2", "optimizer": "sgd,adam", "learning_rate": "0.1,1", "weight_decay": "0,5e-4",
        "epochs": "1,2",
    }  # fmt: skip
    assert set(given) == set(Axes.model_fields)
    suite = choose(**FAKE, axes=given, heats=1, seed=9)

    assert (suite.seed, suite.group[0].heats, suite.group[0].baseline) == (9, 1, "fake")
    assert len(expand_suite(suite)) == 2**7
    assert len({cell.key for cell in expand_suite(suite)}) == 2**7


def test_without_axes_the_workload_decides_and_ten_heats_are_run():
    """What is not given is not asked."""
    suite = choose(**FAKE)

    assert suite.group[0].heats == 10
    assert suite.group[0].axes == Axes()


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({}, "no suite was named; expected one of"),
        ({"runner": "fake"}, "no suite was named"),
        ({"subset": True, **FAKE}, "--subset: no suite was named"),
        ({"suite": "demo", "runner": "fake"}, "suite demo: --runner cannot be given too"),
        ({"suite": "demo", "axes": {"batch_size": "3"}, "seed": 1}, "suite demo: --seed, --batch-size cannot be given"),
        (
            {**FAKE, "axes": {"batch_size": "32,abc"}},
            r"axes\.batch_size\.1: got 'abc'; input should be a valid integer",
        ),
        ({**FAKE, "axes": {"batch_size": "32,"}}, r"axes\.batch_size\.1: got ''"),
        ({**FAKE, "axes": {"threads": "1.5"}}, r"axes\.threads\.0: got 1\.5; input should be a valid integer"),
        ({**FAKE, "axes": {"loader": "disk"}}, r"axes\.loader\.0: got 'disk'; input should be 'resident' or 'stream'"),
        ({**FAKE, "mode": "fast"}, r"mode: got 'fast'; input should be 'train', 'steps' or 'infer'"),
        ({**FAKE, "axes": {"learning_rate": "nan"}}, r"learning_rate\.0: got nan; input should be a finite number"),
        ({**FAKE, "seed": 2**31}, "seed: got 2147483648; input should be less than 2147483648"),
    ],
)
def test_what_makes_no_sense_is_refused(asked, message):
    """One message, which names the option or the key, and the value."""
    with pytest.raises(DefinitionError, match=message):
        choose(**asked)


@pytest.mark.parametrize("name", known_suites())
def test_a_subset_is_one_heat_and_one_epoch_of_the_ends_of_every_axis(name):
    """Every suite that is delivered has one that can be planned."""
    subset = choose(suite=name, subset=True)
    cells = expand_suite(subset)

    assert subset.name == f"{name}_subset"
    assert {cell.heats for cell in cells} == {1}
    assert {cell.epochs for cell in cells} == {1}
    for small, whole in zip(subset.group, read_suite(name).group, strict=True):
        for axis in set(Axes.model_fields) - {"epochs"}:
            values = getattr(whole.axes, axis)
            assert getattr(small.axes, axis) == list(dict.fromkeys([*values[:1], *values[-1:]]))


def test_the_command_has_an_option_for_each_axis():
    """From the option to the plan, reasons included."""
    asked = ["--runner", "fake,fake:slow", "--workload", "mnist_mlp", "--heats", "1", "--mode", "infer", "--steps", "5"]
    answer = CliRunner().invoke(app, ["plan", *asked, "--batch-size", "32,64", "--loader-workers", "0,1"])

    assert answer.exit_code == 0, answer.output
    text = " ".join(answer.output.split())
    assert "2 heats, 6 runs" in text
    assert "unsupported in 4 cells: the resident loader has no workers; 1 were asked for" in text


def test_a_reason_is_told_once():
    """With the number of cells it holds in."""
    assert refusal_lines(["a", "b", "a"]) == ["unsupported in 2 cells: a", "unsupported in 1 cell: b"]


@pytest.mark.parametrize(
    ("axis", "text", "meant"),
    [
        ("weight_decay", "0,0001", "0.0001"),
        ("learning_rate", "0,05", "0.05"),
        ("learning_rate", "0.001, 0,5", "0.5"),
        ("batch_size", "1,024", "1024"),
    ],
)
def test_a_comma_within_a_number_is_refused_with_the_number_that_was_meant(axis: str, text: str, meant: str):
    """It separates values here, and elsewhere stands for a decimal point or between thousands."""
    with pytest.raises(DefinitionError, match=f"expected values separated by commas.*Write {re.escape(meant)}, or"):
        choose(**FAKE, axes={axis: text})


@pytest.mark.parametrize(("axis", "text"), [("weight_decay", "0,1e-4"), ("batch_size", "32,128"), ("epochs", "1,10")])
def test_values_separated_by_commas_are_values(axis: str, text: str):
    """Nothing else is taken for one number."""
    assert len(getattr(choose(**FAKE, axes={axis: text}).group[0].axes, axis)) == 2
