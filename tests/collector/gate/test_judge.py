"""The gate passes what is equal and refuses what is not; test_planted_errors.py does the same with a real runner."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from collector.datasets.files import read_split, standardised
from collector.gate.inputs import gate_data, read_evidence, write_gate_inputs
from collector.gate.judge import judge
from collector.plan.workload import OPTIMIZERS, Cnn, read_workload
from collector.run.inputs import architecture_of

GROUPS = {
    "gradient": "b.gradient",
    "given": "c.weights",
    "step1": "d.weights1",
    "step2": "d.weights2",
    "statistics": "e",
}


@pytest.fixture(scope="module")
def workloads():
    """Return workloads that have every part: dropout and Adam, momentum, and batch norm with AdamW."""
    mlp, lenet = read_workload("mnist_mlp"), read_workload("mnist_lenet")
    cnn = mlp.model_copy(
        update={
            "name": "cnn",
            "model": Cnn(name="cnn", batch_norm=True, dropout_rate=0.5),
            "parameters": 121930,
            "optimizer": OPTIMIZERS["adamw"],
        }
    )
    return {"mlp": mlp, "lenet": lenet, "cnn": cnn}


@pytest.fixture(scope="module")
def evidence(workloads, small_data, tmp_path_factory):
    """Return a function: a workload's evidence, with the reference's own results in the output folder."""
    inputs = tmp_path_factory.mktemp("inputs")
    for name, workload in workloads.items():
        write_gate_inputs(workload, small_data, inputs / name)

    def of(name: str):
        output = tmp_path_factory.mktemp("output")
        given = read_evidence(workloads[name], small_data, inputs / name, output)
        write_expected(given, form="")
        return given

    return of


def save(evidence, name, array):
    np.save(evidence.output / f"{name}.npy", np.asarray(array, dtype=np.float32))


def write_expected(evidence, form):
    """Write what a runner would that computes `form` ("" or "@<listed form>") in float64."""
    for group, files in GROUPS.items():
        named = evidence.expected_group(f"{group}{form}") or evidence.expected_group(group)
        for name, array in named.items():
            save(evidence, f"{files}.{name}", array)
    logits = evidence.expected["test_logits"]
    save(evidence, "a.losses", evidence.expected["losses"])
    save(evidence, "a.logits", evidence.expected["logits"])
    save(evidence, "f.logits", logits)
    save(evidence, "f.loss", evidence.expected["test_loss"])
    save(evidence, "f.correct", [(logits.argmax(axis=1) == evidence.expected["test_labels"]).sum()])
    if "dropout.mean" in evidence.expected:
        mean, deviation = evidence.expected["dropout.mean"], np.sqrt(evidence.expected["dropout.variance"])
        noise = np.random.default_rng(3).normal(size=(4096, len(mean)))
        save(evidence, "g.logits", mean + deviation * noise)


def failed(evidence, **options):
    checks = judge(evidence, parameters=evidence.workload.parameters, **options)
    return [check for check in checks if not check.passed]


@pytest.mark.parametrize(("name", "parts"), [("mlp", "ABCDFG"), ("lenet", "ABCDF"), ("cnn", "ABCDEFG")])
def test_the_reference_passes_every_part_that_the_model_has(evidence, name, parts):
    """Rounding the reference to float32 uses less than a tenth of every tolerance but that of chance."""
    mine = evidence(name)
    checks = judge(mine, parameters=mine.workload.parameters)

    assert {check.part for check in checks} == set(parts)
    assert max(check.strain for check in checks if check.part != "G") < 0.1
    assert all(check.passed for check in checks)


@pytest.mark.parametrize("damage", ["missing", "shape", "nan", "garbage"])
def test_an_unusable_file_is_a_failure_and_no_traceback(evidence, damage):
    """A quantity that is absent, misshapen, not finite or no array fails its part."""
    mine = evidence("mlp")
    path = mine.output / "c.weights.hidden.bias.npy"
    if damage == "missing":
        path.unlink()
    elif damage == "garbage":
        path.write_bytes(b"no array")
    else:
        np.save(path, np.full(128, np.nan) if damage == "nan" else np.zeros(3))

    checks = failed(mine)
    assert {check.part for check in checks} == {"C"}
    assert checks[0].error == np.inf


def test_another_parameter_count_is_refused(evidence):
    """The paper's Python side had 118,282 parameters where its Elixir side had 101,770."""
    checks = judge(evidence("mlp"), parameters=118282)

    assert [(c.expected, c.found) for c in checks if not c.passed] == [("101770", "118282")]


@pytest.mark.parametrize(
    ("name", "form", "parts"),
    [
        ("cnn", "biased_running_variance", {"E"}),
        ("mlp", "adam_epsilon_hat", {"C"}),
        ("lenet", "max_pool_near_ties", {"B"}),
        ("cnn", "max_pool_near_ties", {"B"}),
    ],
)
def test_a_listed_form_passes_only_where_it_is_declared(evidence, name, form, parts):
    """Whoever declares nothing is held to the contract's own form; whoever declares is told so."""
    mine = evidence(name)
    write_expected(mine, form=f"@{form}")

    assert parts <= {check.part for check in failed(mine)}
    assert not failed(mine, exceptions=[form])
    checks = judge(mine, parameters=mine.workload.parameters, exceptions=[form])
    assert parts <= {check.part for check in checks if check.exception == form}


def test_one_untrained_tensor_among_many_is_refused(evidence):
    """The optimizer is compared tensor by tensor: a small bias does not hide behind large weights."""
    mine = evidence("mlp")
    save(mine, "c.weights.output.bias", mine.given("weights", "output.bias"))

    assert failed(mine)[0].quantity == "given updates (c.weights.output.bias)"


def test_lower_precision_must_be_seen(evidence):
    """Whoever is asked for bfloat16 and computes float32 has the best marks, and is refused for them."""
    mine = evidence("lenet")
    (check,) = failed(mine, dtype="bf16")
    assert "float32 was computed" in check.cause

    for name, array in mine.expected_group("gradient").items():
        save(mine, f"b.gradient.{name}", array * 1.01)
    assert not failed(mine, dtype="bf16")


def test_masks_seen_before_are_refused(evidence):
    """256 masks used sixteen times have the right moments and are not 4096 masks."""
    mine = evidence("mlp")
    logits = mine.found("g.logits")
    save(mine, "g.logits", np.tile(logits[:256], (16, 1)))

    assert any(check.quantity.startswith("dropout masks") for check in failed(mine))


@pytest.mark.parametrize("fault", ["", "twice", "not standardised"])
def test_the_loader_delivers_every_example_once(evidence, workloads, small_data, fault):
    """In any order, standardised; an example that comes twice stands for one that never comes."""
    mine = evidence("mlp")
    images, labels = read_split(mine.data, "train")
    order = np.random.default_rng(1).permutation(len(images))
    if fault == "twice":
        order[0] = order[1]
    pixels = images[order] / 255 if fault == "not standardised" else standardised(images[order], mine.data)
    save(mine, "l.images", pixels)
    save(mine, "l.labels", labels[order])

    assert bool(failed(mine, parts="L")) == bool(fault)


def test_the_gate_works_on_images_of_any_size(small_data, tmp_path):
    """Large images are cut for residual networks, and the model is that of the cut images."""
    wide = replace(small_data, image_shape=(3, 224, 224), classes=1000)
    workload = read_workload("synthetic_resnet50")

    assert gate_data(workload, wide, tmp_path).image_shape == (3, 64, 64)
    assert architecture_of(workload, wide).parameters == workload.parameters
