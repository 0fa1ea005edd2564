"""Language or library: who is compared with whom, and that the ratios are the true ones."""

from __future__ import annotations

import dataclasses
import doctest

import pytest

from analysis.findings import decomposition
from analysis.findings.decomposition import FRONT_END, LIBRARY, break_even_epochs, decompose
from tests.analysis.builders import JAX, NUMPY, PYTORCH, Campaign, frame, frames_of

ELIXIR = dataclasses.replace(
    PYTORCH, runner="elixir_torchx", variant="default", language="Elixir", framework="Axon", train_s_per_epoch=1.2
)
EXLA = dataclasses.replace(
    JAX, runner="elixir_exla", variant="default", language="Elixir", framework="Axon", train_s_per_epoch=1.61
)
COMPILED = dataclasses.replace(PYTORCH, variant="compile", headline=False, train_s_per_epoch=0.5)
FOUR = (PYTORCH, JAX, ELIXIR, EXLA)


def parts_of(*racers, heats=12, **changes):
    """Return the differences of a quiet campaign, by kind and entry."""
    rows = Campaign(racers=racers, heats=heats, changes=changes).rows()
    return {(part.kind, part.entry, part.reference): part for part in decompose(frames_of(rows).runs)}


def test_the_examples_are_true():
    """What the docstring shows is what the function returns."""
    assert doctest.testmod(decomposition).failed == 0


def test_front_ends_differ_in_language_alone_and_libraries_in_kernels_alone():
    """Two families in two languages are four differences; none crosses both."""
    found = parts_of(*FOUR)

    assert set(found) == {
        (FRONT_END, ELIXIR.entry, PYTORCH.entry),
        (FRONT_END, EXLA.entry, JAX.entry),
        (LIBRARY, JAX.entry, PYTORCH.entry),
        (LIBRARY, EXLA.entry, ELIXIR.entry),
    }


def test_the_ratios_are_the_true_ones_and_multiply():
    """20 % for the front end, 34.2 % for the library; and intervals that hold them."""
    found = parts_of(*FOUR)
    front, library = found[FRONT_END, ELIXIR.entry, PYTORCH.entry], found[LIBRARY, JAX.entry, PYTORCH.entry]

    assert front.ratio == pytest.approx(1.2, rel=0.01)
    assert library.ratio == pytest.approx(1.342, rel=0.01)
    assert not front.interval.excludes(1.2)
    assert not library.interval.excludes(1.342)
    both = found[FRONT_END, EXLA.entry, JAX.entry].ratio * library.ratio
    assert both == pytest.approx(found[LIBRARY, EXLA.entry, ELIXIR.entry].ratio * front.ratio)


def test_variants_that_are_no_headline_take_no_part():
    """The fastest of several variants would be a winner's curse."""
    assert set(parts_of(PYTORCH, COMPILED, ELIXIR)) == {(FRONT_END, ELIXIR.entry, PYTORCH.entry)}


def test_few_heats_have_a_ratio_and_no_interval():
    """Five are one too few."""
    part = parts_of(*FOUR, heats=5)[FRONT_END, ELIXIR.entry, PYTORCH.entry]

    assert part.heats == 5
    assert part.interval is None


def test_where_nothing_is_shared_there_is_nothing_to_say():
    """One runner, none at all, and runs that never completed."""
    assert decompose(frame([], "runs")) == []
    assert parts_of(PYTORCH) == {}
    assert parts_of(*FOUR, status="crashed") == {}
    assert (LIBRARY, NUMPY.entry, PYTORCH.entry) not in parts_of(PYTORCH, ELIXIR)


def test_break_even_is_symmetric_and_only_where_the_lines_cross():
    """Whoever is named first; equal speeds never meet, and who is slower and dearer never catches up."""
    assert break_even_epochs(2.0, 3.0, 12.0, 1.0) == break_even_epochs(12.0, 1.0, 2.0, 3.0) == 5.0
    assert break_even_epochs(1.0, 1.0, 2.0, 1.0) is None
    assert break_even_epochs(1.0, 1.0, 1.0, 2.0) is None
    assert break_even_epochs(1.0, 1.0, 5.0, 2.0) is None
