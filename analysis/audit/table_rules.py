"""Suspicious cells of published tables, by what any table must obey whatever it measures (pure).

Each rule takes the numbers of one study and yields what it finds. No rule knows a study.
The rules and their sources are in docs/explanation/claims.md.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence

import pandas as pd

from analysis.audit.published_numbers import (
    TIME_UNITS,
    Number,
    Strength,
    Suspicion,
    decimals,
    grouped,
    lines_of,
    listed,
    numbers_of,
    shown,
    significant_digits,
    words,
)
from analysis.audit.training_rules import PHYSICS, monitors_that_never_fall

Rule = Callable[[Sequence[Number]], Iterator[Suspicion]]

TELLING_DIGITS = 3  # fewer digits are equal by chance too often
UNCOVERED_SHARE = 0.05  # of a total: what its parts may leave out unnoticed
OTHER_SHARE = 0.10  # between two figures of the same system under the same conditions
PROGRESSION_SHARE = 0.01  # how far a mistyped value lies from the one that was meant
SPREAD_WORDS = ("sd", "deviation", "spread", "interval", "error", "iqr", "variance")
BOUNDED = ("accuracy", "share", "cpu", "ram", "gpu", "utilization")  # shares of a whole, where the unit is %
NOT_SHARES = ("difference", "variation", "_at", "_from", "_until", "speed_up")


def suspicions(published: pd.DataFrame) -> list[Suspicion]:
    """Return everything that the rules find, study by study.

    Parameters
    ----------
    published
        The table `published` (`PublishedRow`); `rows` of the result are positions in it. Their order has no meaning.
    """
    found: list[Suspicion] = []
    for numbers in grouped(numbers_of(published), "study").values():
        ordered = sorted(numbers, key=lambda number: number.order)
        tables = [number for number in ordered if not number.is_reading]
        curves = [number for number in ordered if number.is_reading]
        found += [one for rule in (*RULES, *PHYSICS) for one in rule(tables)]
        found += monitors_that_never_fall(curves)
    return found


def equal_rows(numbers: Sequence[Number]) -> Iterator[Suspicion]:
    """Yield rows of different systems that agree to the last digit in several columns."""
    lines = [line for key, line in lines_of(numbers).items() if key[2]]
    found: dict[tuple[str, str, str, str], list[tuple[Number, Number]]] = {}
    for one, other in itertools.combinations(lines, 2):
        a, b = next(iter(one.values())), next(iter(other.values()))
        same = [(one[m], other[m]) for m in one if m in other and _is_same(one[m], other[m])]
        both = one.keys() & other.keys()
        if a.system != b.system and len(same) >= 2 and 2 * len(same) >= len(both):
            found.setdefault((a.system, a.place, b.system, b.place), []).extend(same)
    for (system, place, other_system, other_place), pairs in found.items():
        cells = listed([f"{words(a.metric)} {shown(a.value)}" for a, _ in pairs])
        yield Suspicion(
            rule="equal rows",
            strength=Strength.DOUBTFUL,
            study=pairs[0][0].study,
            place=place,
            text=(
                f"{len(pairs)} numbers of {system} are those of {other_system} ({other_place}) to the last digit: "
                f"{cells}; at most one of the two was measured"
            ),
            rows=tuple(sorted({n.index for pair in pairs for n in pair})),
        )


def repeated_numbers(numbers: Sequence[Number]) -> Iterator[Suspicion]:
    """Yield long numbers that stand twice in one column of one system."""
    for column in grouped(numbers, "study", "place", "system", "metric", "value").values():
        if len({n.line for n in column}) > 1 and significant_digits(column[0].value) > TELLING_DIGITS:
            yield Suspicion(
                rule="repeated number",
                strength=Strength.DOUBTFUL,
                study=column[0].study,
                place=column[0].place,
                text=(
                    f"{words(column[0].metric)} is {shown(column[0].value)} {column[0].unit} in "
                    f"{len(column)} rows ({'; '.join(n.where() for n in column)}): perhaps chance, perhaps copied"
                ),
                rows=tuple(n.index for n in column),
            )


def parts_and_totals(numbers: Sequence[Number]) -> Iterator[Suspicion]:
    """Yield totals below their parts, sums that fail where others hold, and time that is in no part."""
    lines = lines_of(numbers)
    totals = [
        (total, [lines[total.line][name] for name in total.parts])
        for total in numbers
        if total.parts and all(name in lines[total.line] for name in total.parts)
    ]
    adding_up: dict[str, list[bool]] = {}
    for total, parts in totals:
        adding_up.setdefault(total.place, []).append(abs(_rest(total, parts)) <= _slack(total, parts))
    for total, parts in totals:
        rest, slack = _rest(total, parts), _slack(total, parts)
        held = adding_up[total.place]
        if rest < -slack:
            text, strength = "the total is smaller than its parts", Strength.IMPOSSIBLE
        elif rest > slack and 2 * sum(held) >= len(held):
            text, strength = "its parts do not add up, as those of other rows do", Strength.DOUBTFUL
        elif rest > max(slack, UNCOVERED_SHARE * total.value):
            text = f"{100 * rest / total.value:.0f} % of the total is in none of its parts"
            strength = Strength.DOUBTFUL
        else:
            continue
        summed = " + ".join(shown(part.value) for part in parts)
        yield Suspicion(
            rule="parts and totals",
            strength=strength,
            study=total.study,
            place=total.place,
            text=f"{total.where()}: {text} ({summed} = {sum(p.value for p in parts):.6g}, {words(total.metric)} "
            f"{shown(total.value)} {total.unit})",
            rows=(total.index, *(part.index for part in parts)),
        )


def units_that_cannot_be(numbers: Sequence[Number]) -> Iterator[Suspicion]:
    """Yield units that the quantity cannot have, units that are missing, and values outside the unit's range."""
    for (study, place, metric, unit), column in grouped(numbers, "study", "place", "metric", "unit").items():
        others = {n.unit for n in numbers if n.metric == metric and n.place == place} - {""}
        text = ""
        if "loss" in metric and unit in TIME_UNITS:
            text = f"{words(metric)} in {unit}: a loss is no time"
        elif "accuracy" in metric and unit not in ("%", "1"):
            text = f"{words(metric)} in {unit or 'no unit'}: an accuracy is a share"
        elif not unit and others:
            cells = "; ".join(f"{n.where()}: {shown(n.value)}" for n in column)
            text = f"{words(metric)} without a unit, where others are in {', '.join(sorted(others))} ({cells})"
        if text:
            rows = tuple(n.index for n in column)
            yield Suspicion(rule="unit", strength=Strength.IMPOSSIBLE, study=study, place=place, text=text, rows=rows)
    for number in numbers:
        is_share = number.unit == "%" and any(name in number.metric for name in BOUNDED)
        is_outside = is_share and not any(name in number.metric for name in NOT_SHARES) and not 0 <= number.value <= 100
        if is_outside or (number.unit in TIME_UNITS and number.value < 0):
            yield Suspicion(
                rule="unit",
                strength=Strength.IMPOSSIBLE,
                study=number.study,
                place=number.place,
                text=f"{number.where()}: {words(number.metric)} of {shown(number.value)} {number.unit}",
                rows=(number.index,),
            )


def headers(numbers: Sequence[Number]) -> Iterator[Suspicion]:
    """Yield columns whose heading names something else than what they hold."""
    for (study, place, axes), table in grouped(numbers, "study", "place", "axes").items():
        header = table[0].conditions.get("header", "")
        if header:
            yield Suspicion(
                rule="heading",
                strength=Strength.IMPOSSIBLE,
                study=study,
                place=place,
                text=f"the column headed '{header}' holds the {' and the '.join(words(axis) for axis in axes)}",
            )


def progressions(numbers: Sequence[Number]) -> Iterator[Suspicion]:
    """Yield the one value of an axis that nearly continues a geometric progression."""
    for rows in grouped((n for n in numbers if len(n.axes) == 1), "study", "place", "system", "axes").values():
        values = sorted({n.key[0] for n in rows if isinstance(n.key[0], (int, float)) and n.key[0] > 0})
        ratios = [after / before for before, after in itertools.pairwise(values)]
        for place, ratio in enumerate(ratios):
            rest = {*ratios[:place], *ratios[place + 1 :]}
            if len(ratios) >= 3 and len(rest) == 1 and 0 < abs(ratio / (step := rest.pop()) - 1) < PROGRESSION_SHARE:
                odd, meant = values[place + 1], values[place] * step
                yield Suspicion(
                    rule="progression",
                    strength=Strength.DOUBTFUL,
                    study=rows[0].study,
                    place=rows[0].place,
                    text=f"{words(rows[0].axes[0])} {odd:g} breaks the steps of × {step:g}: {meant:g} would go on",
                    rows=tuple(n.index for n in rows if n.key == (odd,)),
                )


def same_conditions(numbers: Sequence[Number]) -> Iterator[Suspicion]:
    """Yield what a study has twice, in two places and with different numbers."""
    pairs: dict[tuple[str, str, str], list[tuple[Number, Number]]] = {}
    for same in grouped(numbers, "system", "workload", "metric", "unit", "setting").values():
        for a, b in itertools.combinations(same, 2):
            if a.place != b.place and abs(a.value - b.value) > OTHER_SHARE * max(abs(a.value), abs(b.value)):
                pairs.setdefault((a.system, a.place, b.place), []).append((a, b))
    for (system, place, other_place), found in pairs.items():
        first = found[0][0]
        axes = dict.fromkeys((*found[0][0].axes, *found[0][1].axes))
        setting = ", ".join(f"{words(axis)} {first.conditions.get(axis)}" for axis in axes)
        cells = listed([f"{words(a.metric)} {shown(a.value)} and {shown(b.value)}" for a, b in found])
        yield Suspicion(
            rule="same conditions",
            strength=Strength.DOUBTFUL,
            study=first.study,
            place=place,
            text=f"{system} at {setting} has other numbers than in {other_place}: {cells}",
            rows=tuple(n.index for pair in found for n in pair),
        )


def no_spread(numbers: Sequence[Number]) -> Iterator[Suspicion]:
    """Yield that a study gives no measure of how far its runs lie apart."""
    measured = [n for n in numbers if n.is_time]
    if not measured or any(word in n.metric.split("_") for n in numbers for word in SPREAD_WORDS):
        return
    runs = {n.conditions.get("runs") for n in measured}
    known = {run for run in runs if run}
    what = f"{max(known)} runs" if known and max(known) > 1 else "one run" if known else "a number of runs not stated"
    yield Suspicion(
        rule="no spread",
        strength=Strength.DOUBTFUL,
        study=measured[0].study,
        place="everywhere",
        text=f"each figure stands for {what}, without any spread: no difference can be told from noise",
    )


def texts_by_row(found: Sequence[Suspicion]) -> dict[int, str]:
    """Return what is suspicious about each number, by its row."""
    texts: dict[int, list[str]] = {}
    for suspicion in found:
        for row in suspicion.rows:
            texts.setdefault(row, []).append(f"{suspicion.rule}: {suspicion.text}")
    return {row: "; ".join(dict.fromkeys(lines)) for row, lines in sorted(texts.items())}


def _is_same(one: Number, other: Number) -> bool:
    return one.value == other.value and one.unit == other.unit and significant_digits(one.value) >= TELLING_DIGITS


def _rest(total: Number, parts: Sequence[Number]) -> float:
    return total.value - sum(part.value for part in parts)


def _slack(total: Number, parts: Sequence[Number]) -> float:
    """Return what rounding, or cutting off, of each of the numbers can come to."""
    return float(sum(10.0 ** -decimals(number.value) for number in (total, *parts)))


RULES: tuple[Rule, ...] = (
    equal_rows,
    repeated_numbers,
    parts_and_totals,
    units_that_cannot_be,
    headers,
    progressions,
    same_conditions,
    no_spread,
)
