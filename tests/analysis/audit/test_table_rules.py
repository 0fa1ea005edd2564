"""Suspicious cells: each rule finds what it is for in a small table, and nothing in a sound one."""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Callable
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.audit.published_numbers import Strength, Suspicion, decimals, numbers_of
from analysis.audit.table_rules import suspicions, texts_by_row
from store import view
from store.study import published_rows, read_studies
from tests.analysis.claims_tables import at, cell, table

SPREAD = cell("epoch_time_sd", 0.1)  # so that a table is sound


def rules(*cells: dict[str, Any]) -> dict[str, list[Suspicion]]:
    """Return what is found, by rule."""
    found: dict[str, list[Suspicion]] = {}
    for one in suspicions(table(*cells, SPREAD)):
        found.setdefault(one.rule, []).append(one)
    return found


def texts(*cells: dict[str, Any]) -> list[str]:
    """Return what is found, in words."""
    return [one.text for one in suspicions(table(*cells, SPREAD))]


def training(system: str, batch_size: int, accuracy: float, load: float, total: float, **changes: Any) -> list[Any]:
    """Return a row of three numbers."""
    given = {"system": system, **changes}
    return [
        at("batch_size", batch_size, "accuracy", accuracy, "%", **given),
        at("batch_size", batch_size, "load_time", load, **given),
        at("batch_size", batch_size, "total_time", total, parts=["load_time"], **given),
    ]


def test_a_sound_table_raises_no_suspicion() -> None:
    """Two systems, times that fall with the batch size, totals a little above their parts."""
    sound = [
        *training("A", 32, 98.111, 9.1234, 9.3111),
        *training("A", 128, 98.222, 5.1234, 5.3222),
        *training("B", 32, 98.333, 8.1234, 8.3333),
        *training("B", 128, 98.444, 4.1234, 4.2444),
    ]

    assert texts(*sound) == []


def test_rows_of_two_systems_that_are_equal_to_the_last_digit() -> None:
    """Few digits, or one number alone, may be equal by chance."""
    copied = [*training("A", 128, 99.37, 16.939, 17.111), *training("B", 128, 99.37, 16.939, 17.222)]
    short = [*training("A", 128, 99.0, 1.2, 1.21), *training("B", 128, 99.0, 1.2, 1.22)]

    (found,) = rules(*copied)["equal rows"]
    assert "4 numbers" not in found.text
    assert "2 numbers of A are those of B (table 1)" in found.text
    assert "accuracy 99.37" in found.text
    assert found.rows == (0, 1, 3, 4)
    assert "equal rows" not in rules(*short)
    assert "equal rows" not in rules(*training("A", 128, 99.37, 16.939, 17.1), *training("A", 64, 99.37, 16.939, 17.1))


def test_a_long_number_that_stands_twice_in_a_column() -> None:
    """Four digits and more."""
    assert "repeated number" in rules(at("size", 1, "rate", 0.5375, "1"), at("size", 2, "rate", 0.5375, "1"))
    assert "repeated number" not in rules(at("size", 1, "rate", 0.537, "1"), at("size", 2, "rate", 0.537, "1"))


@pytest.mark.parametrize(
    ("total", "text", "strength"),
    [
        (2.206, "Resnet: the total is smaller than its parts (0.4778 + 1.7582 = 2.236, total time 2.206 s)", 2),
        (2.266, "Resnet: its parts do not add up, as those of other rows do", 1),
        (2.236, "", 0),
        (2.235, "", 0),  # cut off, not rounded
    ],
)
def test_a_sum_that_fails_where_others_hold(total: float, text: str, strength: int) -> None:
    """Beyond what rounding each number can do."""

    def row(workload: str, forward: float, backward: float, total: float) -> list[dict[str, Any]]:
        return [
            cell("forward_time", forward, workload=workload),
            cell("backward_time", backward, workload=workload),
            cell("total_time", total, workload=workload, parts=["forward_time", "backward_time"]),
        ]

    others = [*row("one", 0.0245, 0.0606, 0.0852), *row("two", 0.0271, 0.0672, 0.0943)]
    found = rules(*others, *row("Resnet", 0.4778, 1.7582, total)).get("parts and totals", [])

    assert [one.strength for one in found] == [Strength.DOUBTFUL, Strength.IMPOSSIBLE][strength - 1 : strength]
    assert all(text in one.text for one in found)


def test_time_that_is_in_no_part() -> None:
    """A twentieth of the total may be missing."""
    assert "54 % of the total is in none of its parts (14.532 = 14.532, total time 31.824 s)" in "".join(
        texts(cell("load_time", 14.532), cell("total_time", 31.824, parts=["load_time"]))
    )
    assert texts(cell("load_time", 18.137), cell("total_time", 18.624, parts=["load_time"])) == []
    assert texts(cell("total_time", 18.624, parts=["absent_time"])) == []


@pytest.mark.parametrize(
    ("cells", "text"),
    [
        ([cell("mean_loss", 0.1, "s")], "mean loss in s: a loss is no time"),
        ([cell("best_accuracy", 98.0, "s")], "best accuracy in s: an accuracy is a share"),
        ([cell("best_accuracy", 198.0, "%")], "A, net: best accuracy of 198 %"),
        ([cell("cpu_share", -1.0, "%")], "A, net: cpu share of -1 %"),
        ([cell("epoch_time", -2.0)], "A, net: epoch time of -2 s"),
        (
            [at("n", 1, "speed_time", 0.09), at("n", 2, "speed_time", 0.097551, "")],
            "speed time without a unit, where others are in s (A, net, n 2: 0.097551)",
        ),
    ],
)
def test_units_and_values_that_cannot_be(cells: list[dict[str, Any]], text: str) -> None:
    """What a quantity is measured in, and how large a share can be."""
    assert [one.text for one in rules(*cells)["unit"]] == [text]
    assert rules(*cells)["unit"][0].strength is Strength.IMPOSSIBLE


def test_differences_and_ranges_may_be_any_percentage() -> None:
    """54 % more is no share of a machine."""
    assert texts(cell("gpu_difference", 154.0, "%"), cell("accuracy_difference", -3.0, "%")) == []


def test_a_heading_that_names_something_else() -> None:
    """Said once per table."""
    assert texts(at("batch_size", 32, "rate", 9.0, "1", header="workers"), cell("mean_rate", 1, "1")) == [
        "the column headed 'workers' holds the batch size"
    ]


def test_one_value_that_breaks_the_steps_of_an_axis() -> None:
    """8196 is no power of two; a really different step is a choice."""

    def axis(*sizes: int) -> list[str]:
        return texts(*(at("batch_size", size, "rate", 7.0 + size, "1/s") for size in sizes))

    assert "batch size 8196 breaks the steps of × 4: 8192 would go on" in axis(32, 128, 512, 2048, 8196)[0]
    assert axis(32, 128, 512, 2048, 8192) == axis(32, 128, 512, 4096) == axis(1, 2, 3, 4, 5) == []


def test_the_same_conditions_with_other_numbers() -> None:
    """In two tables of one study; other conditions may have other numbers."""
    first = at("workers", 2, "total_time", 31.824, place="table 1", batch_size=128)
    second = at("batch_size", 128, "total_time", 18.624, place="table 2", workers=2)
    third = at("batch_size", 128, "total_time", 18.624, place="table 2", workers=4)

    (found,) = rules(first, second)["same conditions"]
    assert found.text == (
        "A at workers 2, batch size 128 has other numbers than in table 2: total time 31.824 and 18.624"
    )
    assert "same conditions" not in rules(first, third)
    assert "same conditions" not in rules(first, second | {"system": "B"})


@pytest.mark.parametrize(("runs", "words"), [(5, "5 runs"), (1, "one run"), (None, "a number of runs not stated")])
def test_figures_without_spread(runs: int | None, words: str) -> None:
    """Said once of the whole study; any measure of spread will do."""
    timed = cell("epoch_time", 3.5, **({"runs": runs} if runs else {}))

    (found,) = suspicions(table(timed))
    assert (found.rule, found.rows) == ("no spread", ())
    assert found.text.startswith(f"each figure stands for {words}, without any spread")
    assert suspicions(table(timed, cell("epoch_time_interval", 0.2))) == []


def test_a_loss_that_the_accuracy_rules_out() -> None:
    """Whatever is classified wrongly costs ln 2 at least."""

    def pair(accuracy: float, loss: float, kind: str = "cross-entropy") -> list[dict[str, Any]]:
        return [cell("accuracy", accuracy, "%", loss=kind), cell("mean_loss", loss, "1", loss=kind)]

    (found,) = rules(*pair(68.638, 0.027))["loss and accuracy"]
    assert found.strength is Strength.IMPOSSIBLE
    assert "at least 0.217" in found.text
    assert texts(*pair(68.638, 0.22)) == texts(*pair(68.638, 0.027, "squared error")) == []


@given(st.lists(st.floats(0.001, 0.999), min_size=2, max_size=30), st.randoms())
def test_no_real_classifier_is_below_the_bound(probabilities: list[float], chance: Any) -> None:
    """The mean cross-entropy of any predictions over three classes, against the accuracy of the same predictions."""
    losses, correct = [], 0
    for mine in probabilities:
        share = chance.random()
        others = [(1 - mine) * share, (1 - mine) * (1 - share)]
        correct += mine > max(others)
        losses.append(-math.log(mine))
    accuracy = 100 * correct / len(losses)

    found = rules(
        cell("accuracy", accuracy, "%", loss="cross-entropy"),
        cell("mean_loss", sum(losses) / len(losses), "1", loss="cross-entropy"),
    )
    assert "loss and accuracy" not in found


def test_a_more_accurate_row_with_many_times_the_loss() -> None:
    """Of one table; rows about equally accurate may differ."""

    def rows(*pairs: tuple[float, float]) -> list[dict[str, Any]]:
        same: dict[str, Any] = {"loss": "cross-entropy"}
        return [
            one
            for n, (accuracy, loss) in enumerate(pairs)
            for one in (at("n", n, "accuracy", accuracy, "%", **same), at("n", n, "loss", loss, "1", **same))
        ]

    assert "more accurate (99.37 %) than A, net, n 1 (98.032 %), yet with 6 times its loss" in "".join(
        texts(*rows((99.37, 1.511), (98.032, 0.247)))
    )
    assert texts(*rows((99.37, 0.04), (98.032, 0.247))) == texts(*rows((98.9, 1.511), (98.1, 0.247))) == []


def test_accuracies_and_losses_that_signal_divergence() -> None:
    """Far below the best of the column, or no better than guessing."""
    found = rules(
        at("n", 1, "accuracy", 99.5, "%"),
        at("n", 2, "accuracy", 40.4, "%"),
        at("n", 3, "accuracy", 90.5, "%"),
        at("n", 2, "loss", 2.326, "1", classes=10),
        at("n", 3, "loss", 2.2, "1", classes=10),
    )

    assert [one.rows for one in found["divergence"]] == [(1,), (3,)]
    assert "no better than guessing among 10 classes (2.303)" in found["divergence"][1].text


def test_a_time_that_rises_with_the_batch_size() -> None:
    """By more than a few hundredths; throughput may."""
    rising = [at("batch_size", 2048, "epoch_time", 4.455), at("batch_size", 8192, "epoch_time", 4.714)]

    assert "A: epoch time rises from 4.455 to 4.714 s between batches of 2048 and 8192" in texts(*rising)
    assert texts(*(one | {"metric": "rate", "unit": "1/s"} for one in rising)) == []
    assert texts(*(one | {"value": 4.4, "system": name} for one, name in zip(rising, "AB", strict=True))) == []


def test_a_deeper_network_of_a_family_that_takes_no_longer() -> None:
    """VGG19 has three layers more than VGG16; other families and other places are not compared."""

    def of(workload: str, value: float, **changes: Any) -> dict[str, Any]:
        return cell("forward_time", value, workload=workload, **changes)

    assert "is less than that of VGG16 BN" in "".join(texts(of("VGG16 BN", 29.6), of("VGG19 BN", 28.5)))
    assert "is exactly as long as that of VGG16" in "".join(texts(of("VGG16", 0.53), of("VGG19", 0.53)))
    assert texts(of("VGG16", 2.0), of("Resnet18", 1.0), of("VGG19", 1.9, place="table 2"), of("VGG19 BN", 1.8)) == []


def test_passes_out_of_proportion() -> None:
    """Backward has twice the arithmetic of forward; inference at most forward's."""

    def passes(forward: float, backward: float, inference: float) -> list[str]:
        return texts(cell("forward_time", forward), cell("backward_time", backward), cell("inference_time", inference))

    assert "the backward pass (18.6 s) takes less than the forward pass (29.6 s)" in passes(29.6, 18.6, 29.6)[0]
    assert "inference (0.0202 s) takes longer than the forward pass" in passes(0.0131, 0.05, 0.0202)[0]
    assert passes(1.0, 2.0, 1.04) == []


def test_a_curve_that_varies_by_more_than_its_peak() -> None:
    """No share of a machine is negative."""
    peak = cell("gpu_peak", 16.0, "%")

    assert "gpu variation of 19 % around a peak of 16 %" in texts(peak, cell("gpu_variation", 19.0, "%"))[0]
    assert texts(peak, cell("gpu_variation", 16.0, "%")) == []


def curve(values: list[float], metric: str = "cpu") -> list[dict[str, Any]]:
    """Return readings ten times a second."""
    return [cell(metric, value, "%", elapsed_s=n / 10) for n, value in enumerate(values)]


CREEPING = [4.31735, 4.32227, 4.32606, 4.33013, 4.33366, 4.33773, 4.34125]


def test_a_monitor_whose_cpu_never_falls() -> None:
    """It creeps; what jumps, falls once, stands still or is memory may be in use."""
    (found,) = rules(*curve(CREEPING))["never falls"]
    assert "only rises in 7 readings" in found.text
    assert len(found.rows) == 7
    sound = ([*CREEPING, 4.30], CREEPING[:5], [4.3] * 9, [1.0, 5.0, 20.0, 40.0, 60.0, 80.0, 99.0])
    assert [texts(*curve(values)) for values in sound] == [[], [], [], []]
    assert texts(*curve(CREEPING, "ram")) == []


def test_an_axis_that_changes_nothing() -> None:
    """Eight times the workers; a few more workers prove nothing."""

    def times(axis: str, *values: float) -> list[str]:
        return texts(*(at(axis, 2**n, "epoch_time", value) for n, value in enumerate(values, start=1)))

    assert "workers from 2 to 16 change no time by more than 6 %" in times("workers", 16.94, 18.04, 17.41, 17.95)[0]
    assert times("workers", 16.9, 18.0, 17.4, 13.0) == times("workers", 16.9, 18.0, 17.4) == []


def test_processor_times_that_are_not_the_same_work() -> None:
    """Share × time, and more speed than cores."""
    python = [cell("cpu_share", 87.0, "%", system="P"), cell("epoch_time", 20.0, system="P")]
    julia = [cell("cpu_share", 18.0, "%", system="J"), cell("epoch_time", 16.0, system="J")]
    four: dict[str, Any] = {"system": "J", "cores": 4}
    parallel = [cell("epoch_time", 4.5, **four), cell("epoch_time", 1.0, parallel=True, **four)]

    assert "P used 6.0 times the processor time of J" in texts(*python, *julia)[0]
    assert texts(*python, *(one | {"value": 40.0} for one in julia)) == []
    assert "4.5 times as fast in parallel (1 instead of 4.5 s) on a processor of 4 cores" in texts(*parallel)[0]
    assert texts(parallel[0], cell("epoch_time", 1.2, system="J", cores=4, parallel=True)) == []


def test_numbers_that_cannot_be_read_are_left_out() -> None:
    """Conditions that are no JSON object, values that are none or not finite, and what was derived."""
    broken = cell("epoch_time", 1.0) | {"conditions": "["}
    listed = cell("epoch_time", 2.0) | {"conditions": "[1]"}
    absent = [cell("epoch_time", None), cell("epoch_time", math.nan), cell("epoch_time", math.inf)]

    assert [number.value for number in numbers_of(table(broken, listed, *absent, cell(says="x")))] == [1.0, 2.0]
    assert suspicions(table()) == []


RULE_TABLES: list[Callable[[float], list[dict[str, Any]]]] = [
    lambda k: [*training("A", 128, 99.37, 16.939 * k, 31.8 * k), *training("B", 128, 99.37, 16.939 * k, 15.1 * k)],
    lambda k: [at("batch_size", 2048, "epoch_time", 4.5 * k), at("batch_size", 8192, "epoch_time", 4.8 * k)],
    lambda k: [at("workers", 2**n, "epoch_time", (8 + n / 10) * k) for n in range(4)],
    lambda k: [cell("forward_time", 2.0 * k, workload="VGG16"), cell("forward_time", 1.0 * k, workload="VGG19")],
]


@given(st.sampled_from(RULE_TABLES), st.sampled_from([0.0078125, 0.5, 2.0, 1024.0]))
def test_a_change_of_unit_changes_no_suspicion(made: Callable[[float], list[dict[str, Any]]], factor: float) -> None:
    """Powers of two keep every digit's relation; rules compare, they do not measure."""
    plain, scaled = (suspicions(table(*made(k), SPREAD)) for k in (1.0, factor))
    enough = [one for one in plain if one.rule not in ("equal rows", "repeated number")]

    assert {(one.rule, one.rows) for one in enough} <= {(one.rule, one.rows) for one in scaled}


@given(st.permutations(range(len(CREEPING))))
def test_the_order_of_rows_changes_no_suspicion(order: list[int]) -> None:
    """A table in a store has none."""
    rows = curve(CREEPING)
    plain = suspicions(table(*rows))
    mixed = suspicions(table(*(rows[n] for n in order)))

    assert [(one.rule, one.text) for one in plain] == [(one.rule, one.text) for one in mixed]
    assert sorted(order[row] for row in mixed[0].rows) == list(range(len(rows)))


@given(st.floats(1e-6, 1e6), st.integers(0, 6))
def test_decimals_are_those_of_the_shortest_form(value: float, digits: int) -> None:
    """A number rounded to so many digits shows no more of them."""
    assert decimals(round(value, digits)) <= digits


def packaged() -> pd.DataFrame:
    """Return the numbers of the studies as the package brings them, without their suspicions."""
    return pd.DataFrame([dataclasses.asdict(row) for row in published_rows(read_studies())])


def test_the_package_brings_the_numbers_with_what_is_suspicious_about_each() -> None:
    """The file that the store reads is made of the studies' files by the rules."""
    rows = published_rows(read_studies())
    found = texts_by_row(suspicions(packaged()))
    made = [dataclasses.replace(row, suspicion=found.get(index, "")) for index, row in enumerate(rows)]
    text = view.text_of("published", made)
    if os.environ.get("DEADHEAT_SNAPSHOTS") == "write":
        view.PUBLISHED.write_text(text, encoding="utf-8")

    assert text == view.PUBLISHED.read_text(encoding="utf-8"), "look, then DEADHEAT_SNAPSHOTS=write pytest"


@pytest.mark.parametrize(
    ("study", "rule", "text"),
    [
        ("repository", "equal rows", "4 numbers of Julia are those of Python (README, batch size, Python)"),
        ("repository", "loss and accuracy", "mean loss of 0.027 cannot go with an accuracy of 68.638 %"),
        ("repository", "unit", "average training loss in s: a loss is no time"),
        ("repository", "progression", "batch size 8196"),
        ("repository", "heading", "the column headed 'workers' holds the batch size"),
        ("repository", "same conditions", "Python at batch size 128, workers 2 has other numbers"),
        ("repository", "parts and totals", "92 % of the total is in none of its parts"),
        ("repository", "divergence", "an accuracy of 40.37 %"),
        ("repository", "no effect", "Julia: workers from 2 to 16 change no time"),
        ("repository", "no spread", "one run, without any spread"),
        ("paper", "never falls", "cpu only rises in 7 readings"),
        ("paper", "range and peak", "gpu variation of 19 % around a peak of 16 %"),
        ("paper", "no spread", "5 runs, without any spread"),
        ("blog", "processor time", "Python used 6.0 times the processor time of Julia"),
        ("blog", "processor time", "4.4 times as fast in parallel"),
        ("deep_learning_benchmarks", "parts and totals", "2.236, total time 2.206 s"),
        ("deep_learning_benchmarks", "parts and totals", "48.282, total time 49.282 s"),
        ("deep_learning_benchmarks", "equal rows", "21 numbers of Pytorch 0.4 are those of Pytorch 0.4.1"),
        ("deep_learning_benchmarks", "passes", "Flux 0.6.8+, VGG16: the backward pass"),
        ("deep_learning_benchmarks", "unit", "inference time without a unit"),
    ],
)
def test_what_is_wrong_in_the_studies_is_found(study: str, rule: str, text: str) -> None:
    """By rules that know none of them."""
    found = [one.text for one in suspicions(packaged()) if (one.study, one.rule) == (study, rule)]

    assert any(text in one for one in found), found
