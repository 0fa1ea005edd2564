"""The workloads that are delivered: their parameters, and that a study's recipe says whose it is."""

from __future__ import annotations

import re

import numpy as np
import pytest

from collector.cli.gate_matrix import alone, gate_matrix
from collector.datasets.dataset import files_in, read_dataset
from collector.plan.matrix import MatrixError
from collector.plan.runner import read_entry
from collector.plan.workload import Workload, known_workloads, read_workload
from collector.reference.architecture import build_architecture
from collector.run.inputs import base_trial, batch_order

PUBLISHED = [name for name in known_workloads() if name.startswith("published_")]


@pytest.mark.parametrize("name", known_workloads())
def test_a_workload_counts_its_parameters_right(name):
    """Those of its model on its data set."""
    workload = read_workload(name)
    dataset = read_dataset(workload.dataset)

    architecture = build_architecture(workload.model, dataset.image_shape, dataset.classes)

    assert sum(int(np.prod(shape)) for shape in architecture.shapes.values()) == workload.parameters


@pytest.mark.parametrize("name", known_workloads())
def test_only_the_recipes_of_studies_are_published(name):
    """The name tells the track, and a recipe tells the commit and the file it was read in."""
    workload = read_workload(name)

    assert workload.track == ("published" if name in PUBLISHED else "closed")
    if workload.published:
        assert re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{7} \S+( and \S+)*", workload.published.place)


def test_elixirs_order_is_that_of_the_file_and_fills_up_the_last_batch():
    """The 16 examples that the last batch of 32 lacks are the first ones again."""
    workload = read_workload("published_paper_elixir_cifar10")

    order = batch_order(workload, 50_000, 2, workload.batch_size, np.random.default_rng(1))

    assert order.shape == (2, 50_016)
    assert (order[0, :50_000] == np.arange(50_000)).all()
    assert order[1, 50_000:].tolist() == list(range(16))


def test_a_recipe_as_published_is_never_gated():
    """Neither among all workloads nor by its name."""
    assert not {cell.workload.name for cell in gate_matrix("python_pytorch", "")} & set(PUBLISHED)
    with pytest.raises(MatrixError, match="supports any of published_repo_pytorch_lenet"):
        gate_matrix("python_pytorch", "published_repo_pytorch_lenet")


def test_the_pixels_of_a_study_stay_as_the_study_had_them(tmp_path):
    """Between 0 and 1, where the closed track standardises the same data."""
    files = files_in(tmp_path, read_dataset("cifar10"))
    scales = {
        name: base_trial(workload, cell, files, tmp_path, tmp_path).model_dump(by_alias=True)["data.std"]
        for name in ("published_paper_elixir_cifar10", "cifar10_cnn")
        for workload in [read_workload(name)]
        for cell in [alone(read_entry("python_pytorch"), workload)]
    }

    assert scales["published_paper_elixir_cifar10"] == [1.0, 1.0, 1.0]
    assert scales["cifar10_cnn"] == list(read_dataset("cifar10").std)


def test_only_a_study_may_leave_its_pixels_as_they_are():
    """The gate's own work is standardised."""
    with pytest.raises(ValueError, match="pixels 'unit' is for recipes as published"):
        Workload.model_validate(read_workload("cifar10_cnn").model_dump() | {"pixels": "unit"})
