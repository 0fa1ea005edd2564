"""Figures that a study derives, computed again from the numbers in its own tables (pure).

The bases of a percentage are told apart: "A takes 34.2 % longer than B" is "B takes 25.5 % less than A".
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import pandas as pd

from analysis.audit.published_numbers import Number, decimals, half_units, numbers_of, shown, words
from store.study import Claim, Study

ABOUT = 2.0  # units of the last digit by which a number may differ where the study says "about"
RELATIONS = ("greater", "smaller")


class Judgement(StrEnum):
    """Whether a figure follows from the study's own numbers."""

    AGREES = "agrees"
    ROUNDING = "rounding"
    WRONG = "wrong"
    NOT_COMPARABLE = "not comparable"
    IN_WORDS = "in words"


ORDER = (Judgement.AGREES, Judgement.ROUNDING, Judgement.WRONG, Judgement.NOT_COMPARABLE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """One way in which a figure can be made of the study's numbers."""

    operands: Sequence[Number]
    exact: float | None  # none: it cannot be computed
    base: str  # the system that is 100 %; empty where nothing is
    judgement: Judgement
    text: str  # the computation with its result, or why there is none
    other_base: float | None = None  # the same two numbers, the other one as 100 %


@dataclass(frozen=True, slots=True, kw_only=True)
class Audited:
    """A claim with what its study's own numbers say of it."""

    claim: Claim
    judgement: Judgement
    ways: Sequence[Way]
    sentence: str

    @property
    def base(self) -> str:
        """The system whose number makes the figure true; empty where none does or none is needed."""
        best = self.ways[0] if self.ways else None
        return best.base if best and best.judgement in (Judgement.AGREES, Judgement.ROUNDING) else ""


def audited(study: Study) -> list[Audited]:
    """Return every claim of a study with its judgement, in the study's order."""
    by_ref = study.numbers()
    rows = pd.DataFrame([dataclasses.asdict(row) for row in by_ref.values()])
    places = dict(enumerate(by_ref))
    numbers = {places[number.index]: number for number in numbers_of(rows)} if len(rows) else {}
    half = half_units(list(numbers.values()))
    return [_audited(claim, numbers, half) for claim in study.claim]


def percent_more(value: float, base: float) -> float:
    """Return by how many percent of `base` a value is above it.

    >>> round(percent_more(20.4, 15.2), 2)
    34.21
    """
    return 100 * (value - base) / base


def percent_less(value: float, base: float) -> float:
    """Return by how many percent of `base` a value is below it.

    >>> round(percent_less(15.2, 20.4), 2)
    25.49
    """
    return 100 * (base - value) / base


def judged(claimed: float, exact: float, low: float, high: float, *, approximate: bool = False) -> Judgement:
    """Return whether a claimed figure is an exact one: rounded, cut off, within its operands' own rounding, or not.

    Parameters
    ----------
    claimed
        The figure as printed; its digits after the point say how far it was rounded.
    exact
        The same from the study's numbers as printed.
    low, high
        The least and the most it can be, each of those numbers being rounded itself.
    approximate
        Whether the study says "about": two units of the last digit are allowed then.

    Examples
    --------
    >>> judged(34.21, 34.2105, 33.6, 34.8)
    <Judgement.AGREES: 'agrees'>
    >>> judged(42.4, 42.492, 42.0, 42.9), judged(42.4, 43.1, 43.0, 43.2)
    (<Judgement.ROUNDING: 'rounding'>, <Judgement.WRONG: 'wrong'>)
    """
    unit = 10.0 ** -decimals(claimed)
    error = abs(claimed - exact)
    if error <= unit / 2 + 1e-9 * max(1.0, abs(claimed)):
        return Judgement.AGREES
    is_cut_off = abs(claimed) <= abs(exact) and error < unit
    is_within = low - unit / 2 <= claimed <= high + unit / 2
    is_about = approximate and error < ABOUT * unit
    return Judgement.ROUNDING if is_cut_off or is_within or is_about else Judgement.WRONG


def _audited(claim: Claim, numbers: Mapping[str, Number], half: Mapping[tuple[str, str, str], float]) -> Audited:
    if claim.how == "words" or not claim.of:
        return Audited(claim=claim, judgement=Judgement.IN_WORDS, ways=(), sentence=_in_words(claim))
    ways = [_way(claim, [numbers[ref] for ref in refs], half) for refs in claim.of]
    ways.sort(key=lambda way: ORDER.index(way.judgement))
    judgement = ways[0].judgement
    return Audited(claim=claim, judgement=judgement, ways=ways, sentence=_sentence(claim, ways))


def _way(claim: Claim, operands: Sequence[Number], half: Mapping[tuple[str, str, str], float]) -> Way:
    units = {number.unit for number in operands}
    metrics_need_units = claim.how not in ("product", "fact")
    if metrics_need_units and len(units) > 1:
        return _without(operands, f"units differ ({', '.join(sorted(units))}): not compared")
    if claim.how == "fact":
        return _fact(claim, operands)
    if claim.how in RELATIONS:
        return _relation(claim, operands)
    values = [number.value for number in operands]
    if claim.how in ("more_than", "less_than", "ratio") and values[1] == 0:
        return _without(operands, "the base is 0: there is no percentage of it")
    if claim.value is None:
        return _without(operands, "the claim has no value")
    exact = _computed(claim.how, values)
    corners = _corners(claim.how, values, [half[number.column] for number in operands])
    base = operands[1].system if claim.how in ("more_than", "less_than") else ""
    judgement = judged(claim.value, exact, min(corners), max(corners), approximate=claim.approximate)
    other = _on_the_other_base(claim.how, values)
    if judgement is not Judgement.WRONG and claim.base and base and claim.base != base:
        judgement = Judgement.WRONG
    return Way(
        operands=operands,
        exact=exact,
        base=base,
        judgement=judgement,
        text=f"{_formula(claim.how, operands)} = {exact:.4g} {_unit(claim)}".rstrip(),
        other_base=other,
    )


def _computed(how: str, values: Sequence[float]) -> float:
    if how == "sum":
        return math.fsum(values)
    if how == "product":
        return math.prod(values)
    value, base = values
    return {
        "more_than": lambda: percent_more(value, base),
        "less_than": lambda: percent_less(value, base),
        "ratio": lambda: value / base,
        "difference": lambda: value - base,
    }[how]()


def _corners(how: str, values: Sequence[float], halves: Sequence[float]) -> list[float]:
    """Return the figure with each number at the ends of what it may have been before it was rounded."""
    corners: list[list[float]] = [[]]
    for value, half in zip(values, halves, strict=True):
        corners = [[*corner, end] for corner in corners for end in (value - half, value + half)]
    is_quotient = how in ("more_than", "less_than", "ratio")
    return [_computed(how, corner) for corner in corners if not (is_quotient and corner[1] <= 0)] or [math.nan]


def _on_the_other_base(how: str, values: Sequence[float]) -> float | None:
    if how not in ("more_than", "less_than") or values[0] == 0:
        return None
    value, base = values
    return percent_less(base, value) if how == "more_than" else percent_more(base, value)


def _relation(claim: Claim, operands: Sequence[Number]) -> Way:
    one, other = operands
    holds = one.value > other.value if claim.how == "greater" else one.value < other.value
    sign = ">" if one.value > other.value else "<" if one.value < other.value else "="
    return Way(
        operands=operands,
        exact=one.value - other.value,
        base="",
        judgement=Judgement.AGREES if holds else Judgement.WRONG,
        text=f"{_named(one)} {sign} {_named(other)}",
    )


def _fact(claim: Claim, operands: Sequence[Number]) -> Way:
    (number,) = operands
    known = claim.known
    if known is None:
        return _without(operands, "the established value is not given")
    return Way(
        operands=operands,
        exact=known,
        base="",
        judgement=Judgement.AGREES if number.value == known else Judgement.WRONG,
        text=f"{shown(number.value)} here, {shown(known)} by {claim.source}",
    )


def _without(operands: Sequence[Number], why: str) -> Way:
    return Way(operands=operands, exact=None, base="", judgement=Judgement.NOT_COMPARABLE, text=why)


def _formula(how: str, operands: Sequence[Number]) -> str:
    names = [shown(number.value) for number in operands]
    if how == "more_than":
        return f"({names[0]} − {names[1]}) / {names[1]}"
    if how == "less_than":
        return f"({names[1]} − {names[0]}) / {names[1]}"
    return {"ratio": " / ", "difference": " − ", "sum": " + ", "product": " × "}[how].join(names)


def _unit(claim: Claim) -> str:
    return "" if claim.unit == "1" else claim.unit


def _named(number: Number) -> str:
    return f"{number.system} {shown(number.value)} {'' if number.unit == '1' else number.unit}".rstrip()


def _sentence(claim: Claim, ways: Sequence[Way]) -> str:
    """Return what the study's own numbers say of a claim."""
    best = ways[0]
    where = f" ({best.operands[0].place})"
    parts = [_verdict(claim, best) + where + "."]
    if best.base and best.other_base is not None and best.judgement is not Judgement.WRONG:
        parts.append(_both_directions(claim, best))
    parts += [
        f"By {way.operands[0].place} it is another: {way.text}."
        for way in ways[1:]
        if way.judgement not in (Judgement.AGREES, Judgement.ROUNDING) and best.judgement is not way.judgement
    ]
    if claim.names:
        measured = words(best.operands[0].metric)
        parts.append(f"The words name {claim.names}; the numbers are of something else, {measured}.")
    if claim.note:
        parts.append(f"{claim.note[:1].upper()}{claim.note[1:]}.")
    return " ".join(parts)


def _verdict(claim: Claim, way: Way) -> str:
    if way.judgement is Judgement.NOT_COMPARABLE:
        return f"It cannot be computed: {way.text}"
    if claim.how == "fact":
        return f"{'Right' if way.judgement is Judgement.AGREES else 'Wrong'}: {way.text}"
    if claim.how in RELATIONS:
        verdict = "agree" if way.judgement is Judgement.AGREES else "say otherwise"
        return f"Its numbers {verdict}: {way.text}"
    base = f", {way.base} being 100 %" if way.base else ""
    if way.judgement is not Judgement.WRONG:
        rounding = ", but for rounding" if way.judgement is Judgement.ROUNDING else ""
        return f"It comes out of {way.text}{base}{rounding}"
    if way.base and claim.base and way.base != claim.base:
        return f"It is true only of another base: {way.text}{base}"
    return f"It does not come out: {way.text}{base}"


def _both_directions(claim: Claim, way: Way) -> str:
    one, base = way.operands
    is_time = one.unit in ("s", "ms", "min", "h")
    up, down = ("% longer", "% less") if is_time else ("% more", "% less")
    first, second = (up, down) if claim.how == "more_than" else (down, up)
    takes = "takes" if is_time else "has"
    return (
        f"{one.system} {takes} {way.exact:.2f} {first} than {base.system}; "
        f"{base.system} {takes} {way.other_base:.2f} {second} than {one.system}."
    )


def _in_words(claim: Claim) -> str:
    value = f"No number of the study makes its {shown(claim.value)}." if claim.value is not None else ""
    note = f"{claim.note[:1].upper()}{claim.note[1:]}." if claim.note else ""
    return " ".join(filter(None, (value, note))) or "The study gives no number for it."
