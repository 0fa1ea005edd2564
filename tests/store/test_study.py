"""Studies as data: every number with its unit and place, and files that are wrong in some way."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from store.study import FOLDER, Study, StudyError, published_rows, read_studies, read_study

SMALL = """\
study = "small"
title = "A small study"
year = 2020
source = "nowhere"
equal_work = { "mlp" = "mnist_mlp" }

[conditions]
epochs = 3

[[side]]
system = "A"
language = "Elixir"

[[side]]
system = "B"
language = "Python"

[[table]]
id = "t1"
place = "table 1"
keys = ["system", "batch_size"]
metrics = { load = "s", total = "s" }
parts = { total = ["load"] }
workload = "mlp"
rows = [
    ["A", 32, 1.5, 20.4],
    ["B", 32, "", { value = 15.2, unit = "min" }],
]

[[claim]]
id = "longer"
place = "below"
says = "A takes longer"
how = "more_than"
value = 34.2
unit = "%"
of = [["t1/A/32/total", "t1/B/32/total"]]
base = "B"
here = [{ workload = "mlp", candidate = "A", baseline = "B", metric = "train_s_per_epoch", expected = "more" }]
"""


def made(tmp_path: Path, text: str = SMALL) -> Study:
    path = tmp_path / "small.toml"
    path.write_text(text, encoding="utf-8")
    return read_study(path)


def test_each_number_stands_with_its_unit_place_and_conditions(tmp_path: Path) -> None:
    """An empty cell is no number; a cell may have a unit of its own."""
    numbers = made(tmp_path).numbers()

    assert list(numbers) == ["t1/A/32/load", "t1/A/32/total", "t1/B/32/total", "claim/longer"]
    total = numbers["t1/A/32/total"]
    assert (total.study, total.place, total.system, total.workload) == ("small", "table 1", "A", "mlp")
    assert (total.metric, total.value, total.unit) == ("total", 20.4, "s")
    assert json.loads(total.conditions) == {"epochs": 3, "batch_size": 32, "axes": ["batch_size"], "parts": ["load"]}
    assert numbers["t1/B/32/total"].unit == "min"
    assert json.loads(numbers["claim/longer"].conditions)["derived_from"] == [["t1/A/32/total", "t1/B/32/total"]]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("20.4]", "20.4, 1]", r"table t1: row 1 has 5 cells .*expected 4: system, batch_size, load, total"),
        ("1.5, 20.4", '"1,5", 20.4', r"table t1: row 1: load is '1,5'; expected a number"),
        ("15.2, unit", "15.2, units", r"rows.1.3"),
        ('total = ["load"]', 'total = ["lode"]', r"parts: 'lode' is no metric of the study. Did you mean 'load'"),
        ("t1/B/32/total", "t1/B/23/total", r"claim longer: of: 't1/B/23/total' is no number .*'t1/B/32/total'"),
        ('base = "B"', 'base = "C"', r"claim longer: base: 'C' is no system"),
        ('candidate = "A"', 'candidate = "Z"', r"claim longer: here: 'Z' is no side"),
        ('workload = "mlp", c', 'workload = "cnn", c', r"here.workload: 'cnn' is no workload of equal_work"),
        ('["B", 32, ""', '["A", 32, ""', r"number 't1/A/32/total' stands twice"),
        ("year = 2020", "year = 2020.5", r"year: got 2020.5; input should be a valid integer"),
        ('source = "nowhere"', "", r"source: is missing"),
        ('how = "more_than"', 'how = "twice"', r"claim.0.how: got 'twice'"),
        ("epochs = 3", "epochs = nan", r"conditions.epochs"),
        ("year", "yaer", r"yaer: unknown key; known keys are .*year"),
        ("[[side]]", "[[side", r"is not valid TOML"),
    ],
)
def test_a_file_that_is_wrong_says_where_and_what(tmp_path: Path, old: str, new: str, message: str) -> None:
    """The file, the table or claim, the value and what was expected."""
    assert old in SMALL

    with pytest.raises(StudyError, match=message) as caught:
        made(tmp_path, SMALL.replace(old, new, 1) if old != "t1/B/32/total" else SMALL.replace(old, new))

    assert "small.toml" in str(caught.value)


def test_a_study_stands_in_one_file(tmp_path: Path) -> None:
    """Two files of one study would double its numbers."""
    for name in ("a", "b"):
        (tmp_path / f"{name}.toml").write_text(SMALL, encoding="utf-8")

    with pytest.raises(StudyError, match="'small' stands twice"):
        read_studies(tmp_path)


def test_the_package_brings_the_studies_that_the_project_starts_from() -> None:
    """A file per study; values as printed."""
    rows = published_rows(read_studies())
    values = {(row.place, row.system, row.workload, row.metric): row.value for row in rows}

    assert {row.study for row in rows} == {path.stem for path in FOLDER.glob("*.toml")}
    assert {row.study for row in rows} == {"paper", "repository", "blog", "forum", "deep_learning_benchmarks"}
    assert values["table 1", "Elixir", "CIFAR-10", "training_time"] == 28.5
    assert values["Some results", "Julia", "CNN, MNIST", "cpu_share"] == 18
    place = "README of 26 October 2018, models, Titan 1080Ti 12 GB, batches of 4"
    assert values[place, "Pytorch 0.4.1", "Resnet152", "backward_time"] == 0.05337
    assert sum(row.study == "repository" and row.metric != "claim" for row in rows) == 18 * 5
    assert all(row.value is None for row in rows if row.study == "forum" and row.metric == "claim")
    assert all(row.place and row.metric and isinstance(json.loads(row.conditions), dict) for row in rows)
