"""What a store says of a claim: nothing yet, the recipes as published, equal work, and one sentence."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import pytest

from analysis.audit.claims import audited
from analysis.audit.evidence import Evidence, Outcome, evidence, verdict
from analysis.results.cell_results import cell_results
from store.records import MeasurementRow, Row, RunRow
from store.study import Study, read_studies
from tests.analysis.builders import JULIA, PYTORCH, Campaign, Racer
from tests.analysis.sites import of_workload, results_of

FLUX = Racer(runner="julia_flux", variant="default", language="Julia", framework="Flux", train_s_per_epoch=1.5)
LENET: dict[str, Any] = {"workload": "mnist_lenet", "epochs": 3}


def study_of(name: str) -> Study:
    """Return one of the package's studies."""
    return next(one for one in read_studies() if one.study == name)


def measured(claim: str, rows: Sequence[Row], study: str = "repository") -> Evidence:
    """Return the evidence on the first comparison of a claim."""
    found = next(one for one in study_of(study).claim if one.id == claim)
    return evidence(study_of(study), found.here[0], cell_results(results_of(rows)))


def said(claim: str, rows: Sequence[Row], study: str = "repository") -> str:
    """Return the verdict on a claim."""
    found = next(one for one in audited(study_of(study)) if one.claim.id == claim)
    cells = cell_results(results_of(rows))
    return verdict(study_of(study), found, [evidence(study_of(study), here, cells) for here in found.claim.here])


def lenet(*racers: Racer, **changes: Any) -> list[Row]:
    """Return a campaign of equal work on LeNet."""
    return Campaign(racers=racers, changes={**LENET, **changes}).rows()


def recipe(workload: str, *racers: Racer, window_s: float) -> list[Row]:
    """Return runs of a recipe; its study's own seconds grow with the racer's number."""
    changes: dict[str, Any] = {"workload": workload, "track": "published", "gate_passed": None, "target_accuracy": None}
    rows = of_workload(workload, Campaign(racers=racers, heats=5, changes=changes).rows())
    runs = [row for row in rows if isinstance(row, RunRow)]
    seconds = {racer.entry: window_s * (1 + number) for number, racer in enumerate(racers)}
    windows = [
        MeasurementRow(run_id=run.run_id, metric="published_window_s", value=seconds[f"{run.runner}:{run.variant}"])
        for run in runs
    ]
    return [*rows, *windows]


def test_an_empty_store_has_measured_nothing_yet() -> None:
    """Neither recipe nor equal work; the verdict says so and no more."""
    found = measured("julia_total_workers", [])

    assert found.outcome is Outcome.NOT_MEASURED
    assert found.as_published == "Julia: not measured here yet. Python: not measured here yet."
    assert found.as_equal_work == "mnist_lenet: not measured here yet."
    assert said("julia_total_workers", []) == (
        "Its arithmetic holds, for programs that do different work; as equal work it is not measured here yet."
    )


@pytest.mark.parametrize(
    ("claim", "outcome", "words"),
    [
        ("julia_total_workers", Outcome.CONTRADICTED, "equal work here contradicts it"),
        ("julia_epochs_longer", Outcome.SUPPORTED, "equal work here supports it"),
    ],
)
def test_equal_work_supports_or_contradicts_by_its_verdict(claim: str, outcome: Outcome, words: str) -> None:
    """Flux takes half as long again, whichever of the two is the baseline."""
    rows, reverse = lenet(PYTORCH, FLUX), lenet(FLUX, PYTORCH, baseline=FLUX.entry)

    assert measured(claim, rows).outcome is outcome
    assert measured(claim, reverse).outcome is outcome
    assert "julia_flux took" in measured(claim, rows).as_equal_work
    assert said(claim, rows).endswith(f"{words}.")


def test_a_bare_language_stands_for_no_framework() -> None:
    """Named, and not judged."""
    found = measured("julia_epochs_longer", lenet(PYTORCH, JULIA))

    assert found.outcome is Outcome.NOT_MEASURED
    assert "Flux is not measured here yet on mnist_lenet; only the bare language was (julia_stdlib)" in (
        found.as_equal_work
    )


def test_too_few_heats_leave_a_claim_open() -> None:
    """As on every other page."""
    rows = Campaign(racers=(PYTORCH, FLUX), heats=3, changes=LENET).rows()

    assert measured("julia_epochs_longer", rows).outcome is Outcome.OPEN
    assert said("julia_epochs_longer", rows).endswith("equal work here has not decided it.")


def test_entries_that_were_never_compared_leave_it_open() -> None:
    """Both beside a third baseline."""
    third = Racer(runner="python_jax", variant="jit", framework="JAX", family="xla")
    found = measured("julia_epochs_longer", lenet(third, PYTORCH, FLUX, baseline=third.entry))

    assert found.outcome is Outcome.OPEN
    assert "julia_flux and python_pytorch were measured on mnist_lenet, but not compared" in found.as_equal_work


def test_recipes_stand_side_by_side_and_on_one_entry() -> None:
    """Each by its own framework; on one entry the other work alone makes the difference."""
    rows = [
        *recipe("published_repo_julia_lenet", PYTORCH, FLUX, window_s=2.0),
        *recipe("published_repo_pytorch_lenet", PYTORCH, window_s=4.0),
    ]
    found = measured("julia_epochs_longer", rows)

    assert "Julia: julia_flux 4.00 s (5 runs)." in found.as_published
    assert "Python: python_pytorch 4.00 s (5 runs)." in found.as_published
    assert "On one entry, python_pytorch, Julia's recipe takes 50 % less than Python's" in found.as_published
    assert found.outcome is Outcome.NOT_MEASURED


def test_a_recipe_that_others_ran_is_said_to_be_by_others() -> None:
    """No framework of Julia has."""
    found = measured("julia_epochs_longer", recipe("published_repo_julia_lenet", PYTORCH, window_s=2.0))

    assert found.as_published.startswith("Julia (its recipe, by others): python_pytorch 2.00 s (5 runs).")


def test_a_program_that_is_not_known_cannot_be_run() -> None:
    """The blog prints none."""
    assert "Julia: its program cannot be run here, no recipe of it is known." in (
        measured("faster", [], study="blog").as_published
    )


def test_two_programs_that_are_not_known_are_said_once():
    """The forum names frameworks and no program."""
    forum = next(study for study in read_studies() if study.study == "forum")
    here = next(here for claim in forum.claim for here in claim.here)
    candidate, baseline = here.candidate, here.baseline

    found = evidence(forum, here, [])
    assert found.as_published == (
        f"{candidate}, {baseline}: their programs cannot be run here, no recipe of them is known."
    )


def test_memory_and_processor_use_are_medians_without_a_verdict() -> None:
    """Less memory points the same way; as many busy cores are equal."""
    axon = dataclasses.replace(FLUX, runner="elixir_axon", language="Elixir", framework="Axon")
    keras = dataclasses.replace(PYTORCH, runner="python_keras", framework="Keras")
    rows = [
        dataclasses.replace(row, memory_peak_bytes=2**28 if row.runner == "elixir_axon" else 2**29)
        if isinstance(row, RunRow)
        else row
        for row in Campaign(racers=(keras, axon)).rows()
    ]
    less = measured("ram_less_mnist", rows, study="paper")
    busy = measured("cpu_not_relevant", rows, study="paper")

    assert less.outcome is Outcome.SAME_WAY
    assert "Elixir: elixir_axon 256 MiB (10 runs); Python: python_keras 512 MiB (10 runs)" in less.as_equal_work
    assert "no verdict is computed" in less.as_equal_work
    assert busy.outcome in (Outcome.SAME_WAY, Outcome.OTHER_WAY)
    assert "cores busy" in busy.as_equal_work


def test_runs_without_the_number_are_not_measured() -> None:
    """A machine on which memory cannot be read."""
    rows = [
        dataclasses.replace(row, memory_peak_bytes=None) if isinstance(row, RunRow) else row
        for row in Campaign(
            racers=(
                dataclasses.replace(PYTORCH, runner="python_keras", framework="Keras"),
                dataclasses.replace(FLUX, runner="elixir_axon", language="Elixir", framework="Axon"),
            )
        ).rows()
    ]
    found = measured("ram_less_mnist", rows, study="paper")

    assert found.outcome is Outcome.NOT_MEASURED
    assert "elixir_axon without a value" in found.as_equal_work


def test_several_comparisons_are_counted() -> None:
    """The forum's claim is of two libraries and two networks."""
    assert said("slower_training", lenet(PYTORCH, FLUX), study="forum") == (
        "It is said without numbers; of 3 comparisons as equal work: 1 supported, 2 not measured here yet."
    )


def test_every_claim_of_every_study_has_its_sentence() -> None:
    """On an empty store too."""
    for study in read_studies():
        for found in audited(study):
            sentence = verdict(study, found, [evidence(study, here, []) for here in found.claim.here])
            assert sentence.endswith(".")
            assert sentence.count(".") == 1
