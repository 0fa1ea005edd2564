"""Derived figures: they come out of the study's own numbers, on a stated base, or they do not."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from analysis.audit.claims import Audited, Judgement, audited, judged, percent_less, percent_more
from store.study import Study, read_studies, read_study

HEAD = """\
study = "made"
title = "A made study"
year = 2020
source = "nowhere"

[[table]]
id = "t"
place = "table 1"
keys = ["system"]
metrics = { time = "s", other = "ms" }
rows = [["A", 20.4, 1.0], ["B", 15.2, 0]]
"""


def claims_of(name: str) -> dict[str, Audited]:
    """Return the audited claims of one of the package's studies."""
    (study,) = (one for one in read_studies() if one.study == name)
    return {one.claim.id: one for one in audited(study)}


def made(tmp_path: Path, **keys: object) -> Audited:
    """Return one claim about the made table."""
    lines = {"id": "c", "place": "below", "says": "it", "how": "more_than", "value": 34.21, "unit": "%"} | keys
    lines = {"of": [["t/A/time", "t/B/time"]]} | lines
    text = "".join(f"{key} = {_toml(value)}\n" for key, value in lines.items() if value is not None)
    path = tmp_path / "made.toml"
    path.write_text(f"{HEAD}\n[[claim]]\n{text}", encoding="utf-8")
    (found,) = audited(read_study(path))
    return found


def _toml(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else repr(value).replace("'", '"')


@pytest.mark.parametrize(
    ("claim", "value", "judgement", "base", "exact"),
    [
        ("longer_mnist", 34.21, Judgement.AGREES, "Python", 100 * 5.2 / 15.2),
        ("longer_cifar10", 23.91, Judgement.AGREES, "Python", 100 * 5.5 / 23.0),
        ("ram_less_mnist", 42.4, Judgement.ROUNDING, "Python", 100 * (12.52 - 7.2) / 12.52),
        ("ram_less_cifar10", 33.6, Judgement.AGREES, "Python", 100 * (23.95 - 15.9) / 23.95),
        ("faster_in_context", 25, Judgement.AGREES, "Elixir", 100 * 6.0 / 24.1),
    ],
)
def test_the_paper_s_figures_come_out_of_its_own_numbers(
    claim: str, value: float, judgement: Judgement, base: str, exact: float
) -> None:
    """Each on the base that makes it true: the paper mixes them."""
    found = claims_of("paper")[claim]

    assert found.claim.value == value
    assert (found.judgement, found.base) == (judgement, base)
    assert found.ways[0].exact == pytest.approx(exact, rel=1e-12)


def test_a_percentage_is_said_in_both_directions() -> None:
    """34.21 % longer is 25.49 % less, and about 25 % is on the other base."""
    paper = claims_of("paper")

    both = "Elixir takes 34.21 % longer than Python; Python takes 25.49 % less than Elixir."
    assert both in paper["longer_mnist"].sentence
    assert "Elixir being 100 %" in paper["faster_in_context"].sentence
    assert "Python takes 24.90 % less than Elixir" in paper["faster_in_context"].sentence


def test_what_one_place_says_and_another_does_not() -> None:
    """Six seconds by the read-off curve, 5.2 by table 1."""
    found = claims_of("paper")["seconds_faster"]

    assert found.judgement is Judgement.AGREES
    assert [way.judgement for way in found.ways] == [Judgement.AGREES, Judgement.WRONG]
    assert "By table 1 it is another: 20.4 − 15.2 = 5.2 s." in found.sentence


def test_arithmetic_on_another_quantity_is_said() -> None:
    """The paper's less RAM is of ranges, not of averages."""
    sentence = claims_of("paper")["ram_less_mnist"].sentence

    assert "(12.52 − 7.2) / 12.52 = 42.49 %, Python being 100 %, but for rounding" in sentence
    assert "The words name the average of RAM in use; the numbers are of something else, ram variation." in sentence


@pytest.mark.parametrize(
    ("study", "claim", "judgement"),
    [
        ("paper", "ram_conclusion_mnist", Judgement.AGREES),
        ("paper", "ram_conclusion_cifar10", Judgement.ROUNDING),
        ("paper", "video_ram_peaks_mnist", Judgement.WRONG),
        ("paper", "video_ram_peaks_cifar10", Judgement.WRONG),
        ("paper", "gpu_ten_percent", Judgement.AGREES),
        ("paper", "cifar10_images", Judgement.WRONG),
        ("paper", "trainings", Judgement.AGREES),
        ("paper", "cpu_not_relevant", Judgement.IN_WORDS),
        ("repository", "julia_total_workers", Judgement.AGREES),
        ("repository", "julia_total_batch", Judgement.WRONG),
        ("repository", "smaller_batches", Judgement.IN_WORDS),
        ("blog", "cpu", Judgement.AGREES),
        ("blog", "faster", Judgement.AGREES),
        ("forum", "slower_training", Judgement.IN_WORDS),
        ("deep_learning_benchmarks", "bold_resnet152_forward", Judgement.AGREES),
    ],
)
def test_every_kind_of_claim_has_a_judgement(study: str, claim: str, judgement: Judgement) -> None:
    """Totals of Julia and Python at 128 are one and the same number."""
    found = claims_of(study)[claim]

    assert found.judgement is judgement, found.sentence
    assert found.sentence.endswith(".")


def test_a_figure_that_does_not_come_out_says_what_does(tmp_path: Path) -> None:
    """With the computation."""
    found = made(tmp_path, value=44.21)

    assert found.judgement is Judgement.WRONG
    assert found.sentence.startswith("It does not come out: (20.4 − 15.2) / 15.2 = 34.21 %, B being 100 % (table 1).")


def test_a_figure_that_is_true_of_another_base_says_of_which(tmp_path: Path) -> None:
    """The words say of A."""
    found = made(tmp_path, base="A")

    assert (found.judgement, found.base) == (Judgement.WRONG, "")
    assert "true only of another base: (20.4 − 15.2) / 15.2 = 34.21 %, B being 100 %" in found.sentence


def test_what_cannot_be_compared_is_refused(tmp_path: Path) -> None:
    """Seconds with milliseconds, a percentage of nothing, a claim without a value."""
    units = made(tmp_path, of=[["t/A/time", "t/B/other"]])
    nothing = made(tmp_path, of=[["t/A/other", "t/B/other"]])
    valueless = made(tmp_path, value=None)

    assert [one.judgement for one in (units, nothing, valueless)] == [Judgement.NOT_COMPARABLE] * 3
    assert "units differ (ms, s): not compared" in units.sentence
    assert "the base is 0: there is no percentage of it" in nothing.sentence
    assert "the claim has no value" in valueless.sentence


def test_sums_products_ratios_and_facts(tmp_path: Path) -> None:
    """Each with its formula."""
    refs = [["t/A/time", "t/B/time"]]

    assert made(tmp_path, how="sum", value=35.6, unit="s", of=refs).sentence.startswith("It comes out of 20.4 + 15.2")
    assert made(tmp_path, how="ratio", value=1.34, unit="1", of=refs).judgement is Judgement.AGREES
    assert made(tmp_path, how="ratio", value=1.35, unit="1", of=refs).judgement is Judgement.ROUNDING
    assert made(tmp_path, how="ratio", value=1.36, unit="1", of=refs).judgement is Judgement.WRONG
    fact = made(tmp_path, how="fact", value=None, of=[["t/A/time"]], known=20.4, source="a book")
    assert fact.sentence == "Right: 20.4 here, 20.4 by a book (table 1)."


def test_every_claim_of_the_package_is_judged() -> None:
    """No claim that is made of numbers is refused."""
    found: list[Audited] = [one for study in read_studies() for one in audited(study)]

    assert len(found) == sum(len(study.claim) for study in read_studies())
    assert not [one.claim.id for one in found if one.judgement is Judgement.NOT_COMPARABLE]


def test_a_study_without_numbers_has_claims_in_words_only() -> None:
    """And one without claims has none."""
    forum: Study = next(one for one in read_studies() if one.study == "forum")
    empty = forum.model_copy(update={"claim": []})

    assert {one.judgement for one in audited(forum)} == {Judgement.IN_WORDS}
    assert audited(empty) == []


positive = st.floats(1e-2, 1e4)


@given(positive, positive)
def test_more_of_one_base_is_less_of_the_other(value: float, base: float) -> None:
    """(1 + p)(1 - q) = 1: the two percentages say the same."""
    more, less = percent_more(value, base) / 100, percent_less(base, value) / 100

    assert (1 + more) * (1 - less) == pytest.approx(1, rel=1e-6)


@given(positive, positive, st.floats(1e-3, 1e3))
def test_a_percentage_does_not_depend_on_the_unit(value: float, base: float, unit: float) -> None:
    """Seconds or milliseconds."""
    assert percent_more(value * unit, base * unit) == pytest.approx(percent_more(value, base), rel=1e-6, abs=1e-6)


@given(st.floats(-1e4, 1e4), st.integers(0, 4))
def test_a_rounded_figure_agrees_and_a_cut_off_one_is_rounding(exact: float, digits: int) -> None:
    """Whatever the number of digits."""
    rounded = round(exact, digits)
    assert judged(rounded, exact, exact, exact) is Judgement.AGREES

    cut = int(exact * 10**digits) / 10**digits
    assume(len(repr(cut).partition(".")[2]) == max(1, digits) and abs(exact - cut) < 0.99 * 10.0**-digits)
    assert judged(cut, exact, exact, exact) in (Judgement.AGREES, Judgement.ROUNDING)


@given(st.floats(-1e4, 1e4), st.integers(3, 100))
def test_a_figure_off_by_several_digits_is_wrong(exact: float, units: int) -> None:
    """Two units are allowed where the study says about."""
    claimed = round(exact + units * 0.1, 1)
    assume(claimed != round(claimed))

    assert judged(claimed, exact, exact, exact, approximate=True) is Judgement.WRONG
