"""Who stands for a language."""

from __future__ import annotations

import dataclasses

from analysis.findings.find import find_all
from analysis.rendering.headlines import NOT_YET_MEASURED, language_headlines
from analysis.rendering.wording import sentence
from tests.analysis.builders import JAX, JULIA, NUMPY, PYTORCH, Campaign, Racer, frames_of

FLUX = Racer(runner="julia_flux", variant="cpu", language="Julia", framework="Flux", train_s_per_epoch=1.5)
LUX = Racer(runner="julia_lux", variant="cpu", language="Julia", framework="Lux", train_s_per_epoch=0.5)


def headlines(*racers, clock="e2e"):
    """Return the headlines of a campaign of `racers` by language."""
    frames = frames_of(Campaign(racers=racers, run_deviation=0.002).rows())
    findings = find_all(frames.runs, frames.epochs, frames.unavailable, frames.gates)
    return {row.language: row for row in language_headlines([f for f in findings if f.clock == clock])}


def test_a_language_without_a_framework_is_not_yet_measured():
    """Bare Julia does not stand for Julia, nor NumPy for Python."""
    rows = headlines(PYTORCH, NUMPY, JULIA)

    assert list(rows) == ["Julia", "Elixir", "Python"]
    assert rows["Julia"].sentence == rows["Elixir"].sentence == f"{NOT_YET_MEASURED}."
    assert (rows["Julia"].entry, rows["Julia"].value, rows["Julia"].finding) == ("", None, None)


def test_the_baseline_stands_for_its_language_and_others_are_named():
    """PyTorch is what all are compared with."""
    row = headlines(PYTORCH, JAX)["Python"]

    assert (row.entry, row.framework, row.finding) == (PYTORCH.entry, "PyTorch", None)
    assert row.others == (JAX.entry,)
    assert row.sentence.startswith("python_pytorch is the baseline and took ")


def test_a_framework_stands_for_its_language_with_its_finding():
    """The sentence is the finding's own."""
    row = headlines(PYTORCH, FLUX)["Julia"]

    assert row.entry == FLUX.entry
    assert row.sentence == sentence(row.finding)
    assert row.value == row.finding.candidate_value


def test_the_fastest_of_several_is_not_picked():
    """Flux comes first by name although Lux is three times as fast."""
    row = headlines(PYTORCH, LUX, FLUX)["Julia"]

    assert row.entry == FLUX.entry
    assert row.others == (LUX.entry,)


def test_variants_and_entries_that_never_ran_do_not_stand_for_a_language():
    """Only the variant named in advance, and only once measured."""
    variant = dataclasses.replace(FLUX, headline=False)
    broken = dataclasses.replace(LUX, status="crashed")

    assert headlines(PYTORCH, variant, broken)["Julia"].sentence == f"{NOT_YET_MEASURED}."


def test_an_entry_that_failed_the_gate_stands_there_unranked():
    """It was measured; the sentence says that it is not ranked."""
    row = headlines(PYTORCH, dataclasses.replace(FLUX, gate_passed=False))["Julia"]

    assert row.entry == FLUX.entry
    assert "is not ranked on the e2e clock: it failed the gate" in row.sentence


def test_a_fourth_language_has_a_row_too():
    """Rust is not forgotten because nobody planned for it."""
    rust = Racer(runner="rust_burn", variant="ndarray", language="Rust", framework="Burn")

    assert list(headlines(PYTORCH, rust)) == ["Julia", "Elixir", "Python", "Rust"]


def test_nothing_measured_is_three_rows():
    """An empty store still names the languages."""
    assert [row.sentence for row in language_headlines([])] == [f"{NOT_YET_MEASURED}."] * 3
