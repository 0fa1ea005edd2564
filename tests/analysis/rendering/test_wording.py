"""Findings in words."""

from __future__ import annotations

import dataclasses
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.findings.comparison import Verdict
from analysis.findings.finding import Cell, Finding
from analysis.rendering.wording import difference, interval, seconds, sentence

CELL = Cell(
    campaign_id="demo-1",
    suite="demo",
    environment_id="environment1",
    workload="mnist_mlp",
    workload_version=1,
    mode="train",
    device="cpu",
    dtype="fp32",
    batch_size=128,
    threads=1,
    loader_workers=0,
    epochs=3,
    steps=0,
)
SLOWER = Finding(
    cell=CELL,
    clock="train",
    metric="train_clock_s",
    unit="s",
    baseline="python_pytorch:eager",
    candidate="python_jax:jit",
    candidate_class="framework",
    candidate_language="Python",
    candidate_framework="JAX",
    heats=10,
    baseline_value=3.0,
    candidate_value=4.026,
    ratio=1.342,
    ratio_low=1.31,
    ratio_high=1.374,
    hodges_lehmann_ratio=1.341,
    hodges_lehmann_low=1.30,
    hodges_lehmann_high=1.38,
    adjusted_p=0.001,
    floor_ratio=1.01,
    margin_ratio=0.03,
    verdict=Verdict.SLOWER,
    reason="",
)


def finding(**changes):
    """Return python_jax, 34.2 % longer than python_pytorch, with `changes`."""
    return dataclasses.replace(SLOWER, **changes)


def test_a_slower_entry_takes_longer_with_its_interval_heats_and_seconds():
    """The whole sentence."""
    assert sentence(SLOWER) == (
        "python_jax took 34 % longer than python_pytorch per run on the train clock "
        "(4.03 s against 3.00 s; 95 % interval 31 % to 37 % longer, 10 heats): slower."
    )


def test_a_faster_entry_takes_less_with_the_nearer_end_first():
    """1 / 1.342 is 25 % less, not 34 % less."""
    faster = finding(
        ratio=1 / 1.342, ratio_low=1 / 1.374, ratio_high=1 / 1.31, candidate_value=2.24, verdict=Verdict.FASTER
    )

    assert sentence(faster) == (
        "python_jax took 25 % less than python_pytorch per run on the train clock "
        "(2.24 s against 3.00 s; 95 % interval 24 % to 27 % less, 10 heats): faster."
    )


def test_a_dead_heat_says_its_margin_and_an_interval_around_nothing_both_directions():
    """Neither end is dropped."""
    near = finding(ratio=1.004, ratio_low=0.995, ratio_high=1.013, candidate_value=3.012, verdict=Verdict.DEAD_HEAT)

    assert sentence(near).endswith("95 % interval 0.5 % less to 1.3 % longer, 10 heats): dead heat within 3 %.")
    assert "took 0.4 % longer" in sentence(near)


def test_undecided_and_insufficient_say_why():
    """The reason follows the verdict."""
    few = finding(
        heats=3, ratio_low=None, ratio_high=None, verdict=Verdict.INSUFFICIENT, reason="a public verdict needs 10 heats"
    )

    assert sentence(few) == (
        "python_jax took 34 % longer than python_pytorch per run on the train clock "
        "(4.03 s against 3.00 s; 3 heats): insufficient, a public verdict needs 10 heats."
    )
    assert "1 heat)" in sentence(dataclasses.replace(few, heats=1))


def test_an_entry_that_is_not_ranked_says_why_and_no_ratio():
    """No percentage of unequal work."""
    refused = finding(ratio=None, ratio_low=None, ratio_high=None, verdict=Verdict.NOT_RANKED, reason="it crashed")

    assert sentence(refused) == "python_jax is not ranked on the train clock: it crashed."


def test_a_variant_that_leads_nothing_is_named_in_full():
    """A bare runner name means the headline variant."""
    assert sentence(finding(candidate_headline=False)).startswith("python_jax:jit took")
    assert "than python_pytorch:eager" in sentence(finding(baseline_headline=False))


def test_training_to_a_target_is_said_so():
    """What the seconds are for."""
    assert "to the target accuracy on the e2e clock" in sentence(finding(clock="e2e", epochs_to_target=1.4))


def test_very_different_durations_are_times_as_long_never_times_faster():
    """From three times on, a percentage is no longer read rightly."""
    far = finding(ratio=12.34, ratio_low=11.9, ratio_high=12.7, candidate_value=37.0)

    assert "took 12.3 times as long as python_pytorch" in sentence(far)
    assert "95 % interval 11.9 to 12.7 times," in sentence(far)


@given(st.floats(0.02, 50), st.floats(0.0, 0.5), st.floats(0.0, 0.5))
def test_sentences_never_say_times_faster_and_keep_the_direction(ratio, below, above):
    """Whatever the numbers: longer above 1, less below, times as long from 3."""
    low, high = ratio * (1 - below), ratio * (1 + above)
    text = sentence(finding(ratio=ratio, ratio_low=low, ratio_high=high))

    assert not re.search(r"\dx|times (faster|slower|longer|less)|nan|inf", text)
    assert ("times as long" in text) == (ratio >= 3)
    if ratio < 3:
        word = "longer" if ratio >= 1 else "less"
        assert re.search(rf"took [\d.]+ % {word} than python_pytorch", text)


@given(st.floats(0.05, 2.99), st.floats(0.0, 0.5), st.floats(0.0, 0.5))
def test_the_interval_in_words_holds_its_estimate_in_words(ratio, below, above):
    """Read back, the ends enclose the estimate to the digits shown."""
    low, high = ratio * (1 - below), ratio * (1 + above)
    words = interval(low, high, ratio)
    signs = [word if word in ("less", "longer") else "" for word in re.findall(r"less|longer", words)]
    numbers = [float(number) for number in re.findall(r"[\d.]+(?= %)", words)]
    signs = signs * 2 if len(signs) == 1 else signs
    ends = sorted(n if sign == "longer" else -n for n, sign in zip(numbers, signs, strict=True))
    (shown, word) = re.match(r"([\d.]+) % (less|longer)", difference(ratio, "b", high - low)).groups()
    value = float(shown) if word == "longer" else -float(shown)

    assert ends[0] <= value <= ends[1]
    assert ends == pytest.approx([100 * (low - 1), 100 * (high - 1)], abs=0.51)


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.00001234, "1.23e-05 s"), (0.01234, "0.0123 s"), (1.0, "1.00 s"), (59.94, "59.9 s"), (12345.6, "12,346 s")],
)
def test_seconds_have_three_digits(value, text):
    """Enough to see the ratio, not more than was measured."""
    assert seconds(value) == text
