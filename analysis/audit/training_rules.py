"""Suspicious cells of published tables, by what training and its monitors can do at all (pure).

Like the rules of `analysis.audit.table_rules`, each takes the numbers of one study and knows none.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Callable, Iterator, Sequence

from analysis.audit.published_numbers import Number, Strength, Suspicion, grouped, lines_of, shown, words

FAR_BELOW_POINTS = 20.0  # of accuracy under the best of the same column: learning failed
MORE_ACCURATE_POINTS = 1.0  # from which a clearly larger loss contradicts the accuracy
LARGER_LOSS = 2.0
RISE_SHARE = 0.03  # of a time against the batch size, beyond which it is no rounding
INFERENCE_SHARE = 0.05  # by which a pass without gradients may exceed one with them
FLAT_SHARE = 0.10  # within which a time does not respond to an axis
WIDE_AXIS = 4.0  # largest over smallest value of an axis that ought to matter
FEWEST_READINGS = 6
CREEP_SHARE = 0.01  # of a monitor's value, from one reading to the next
OTHER_WORK = 3.0  # times the processor time for what is said to be the same work
DEPTH = re.compile(r"^(?P<family>[A-Za-z]+)(?P<depth>\d+)(?P<rest>.*)$")


def losses_ruled_out(numbers: Sequence[Number]) -> Iterator[Suspicion]:
    """Yield losses that an accuracy rules out.

    An example whose class is not the most probable one has a probability of at most 1/2, so a mean cross-entropy is
    at least (1 - accuracy) × ln 2; the best accuracy of several epochs bounds their mean loss all the same.
    """
    for accuracy, loss in _accuracies_and_losses(numbers):
        if loss.value < _least_loss(accuracy):
            yield _about(
                "loss and accuracy",
                Strength.IMPOSSIBLE,
                [loss, accuracy],
                f"{loss.where()}: a mean loss of {shown(loss.value)} cannot go with an accuracy of "
                f"{shown(accuracy.value)} %: what is classified wrongly alone makes it at least "
                f"{_least_loss(accuracy):.3f}",
            )


def losses_out_of_order(numbers: Sequence[Number]) -> Iterator[Suspicion]:
    """Yield rows of a table that are clearly more accurate than another one, with by far the larger loss."""
    rows = [(a, loss) for a, loss in _accuracies_and_losses(numbers) if loss.value >= _least_loss(a)]
    for (accuracy, high), (other, low) in itertools.permutations(rows, 2):
        is_more_accurate = 100 * (_share(accuracy) - _share(other)) > MORE_ACCURATE_POINTS
        if high.column == low.column and is_more_accurate and high.value > LARGER_LOSS * low.value:
            yield _about(
                "loss and accuracy",
                Strength.DOUBTFUL,
                [high, low],
                f"{high.where()}: more accurate ({shown(accuracy.value)} %) than {low.where()} "
                f"({shown(other.value)} %), yet with {high.value / low.value:.0f} times its loss",
            )


def divergence(numbers: Sequence[Number]) -> Iterator[Suspicion]:
    """Yield accuracies far below the best of their column, and losses no better than guessing."""
    accuracies = [n for n in numbers if "accuracy" in n.metric and n.unit in ("%", "1")]
    for column in grouped(accuracies, "study", "workload", "metric").values():
        best = max(column, key=_share)
        for number in column:
            if 100 * (_share(best) - _share(number)) > FAR_BELOW_POINTS:
                yield _about(
                    "divergence",
                    Strength.DOUBTFUL,
                    [number],
                    f"{number.where()}: an accuracy of {shown(number.value)} %, where {best.where()} has "
                    f"{shown(best.value)} %: this training diverged or hardly began, so its time compares with nothing",
                )
    for number in numbers:
        classes = number.conditions.get("classes")
        if "loss" in number.metric and isinstance(classes, int) and number.value >= math.log(classes):
            yield _about(
                "divergence",
                Strength.DOUBTFUL,
                [number],
                f"{number.where()}: a mean loss of {shown(number.value)} is no better than guessing among {classes} "
                f"classes ({math.log(classes):.3f})",
            )


def times_against_batch_size(numbers: Sequence[Number]) -> Iterator[Suspicion]:
    """Yield times for the same examples that rise with the batch size: larger batches take fewer steps."""
    timed = [n for n in numbers if n.is_time and n.axes == ("batch_size",)]
    for column in grouped(timed, "study", "place", "system", "workload", "metric").values():
        ordered = sorted(column, key=lambda n: float(n.key[0]))
        for before, after in itertools.pairwise(ordered):
            if after.value > (1 + RISE_SHARE) * before.value:
                yield _about(
                    "not monotone",
                    Strength.DOUBTFUL,
                    [before, after],
                    f"{after.system}: {words(after.metric)} rises from {shown(before.value)} to {shown(after.value)} "
                    f"{after.unit} between batches of {before.key[0]:g} and {after.key[0]:g}",
                )


def times_against_depth(numbers: Sequence[Number]) -> Iterator[Suspicion]:
    """Yield networks that take no longer than a shallower one of their family (VGG16, VGG19)."""
    found: dict[tuple[str, ...], list[tuple[int, Number]]] = {}
    for number in numbers:
        match = DEPTH.match(number.workload)
        if number.is_time and match:
            group = (number.place, number.system, number.metric, match["family"], match["rest"])
            found.setdefault(group, []).append((int(match["depth"]), number))
    for column in found.values():
        ordered = sorted(column, key=lambda pair: pair[0])
        for (shallow, before), (deep, after) in itertools.pairwise(ordered):
            if deep > shallow and after.value <= before.value:
                how = "exactly as long as" if after.value == before.value else "less than"
                yield _about(
                    "not monotone",
                    Strength.DOUBTFUL,
                    [before, after],
                    f"{after.system}: the {words(after.metric)} of {after.workload} ({shown(after.value)} "
                    f"{after.unit}) is {how} that of {before.workload} ({shown(before.value)} {before.unit})",
                )


def passes(numbers: Sequence[Number]) -> Iterator[Suspicion]:
    """Yield backward passes below their forward pass, and inference that takes longer than a forward pass.

    The backward pass of a convolution or dense layer has two products of the forward pass's size.
    """
    for line in lines_of(numbers).values():
        forward, backward, inference = (line.get(f"{name}_time") for name in ("forward", "backward", "inference"))
        if forward and backward and backward.value < forward.value:
            yield _about(
                "passes",
                Strength.DOUBTFUL,
                [forward, backward],
                f"{forward.where()}: the backward pass ({shown(backward.value)} {backward.unit}) takes less than the "
                f"forward pass ({shown(forward.value)} {forward.unit}), which is half its arithmetic",
            )
        if forward and inference and forward.unit == inference.unit and _exceeds(inference, forward, INFERENCE_SHARE):
            yield _about(
                "passes",
                Strength.DOUBTFUL,
                [forward, inference],
                f"{forward.where()}: inference ({shown(inference.value)} {inference.unit}) takes longer than the "
                f"forward pass of training ({shown(forward.value)} {forward.unit}), which does at least as much",
            )


def ranges_and_peaks(numbers: Sequence[Number]) -> Iterator[Suspicion]:
    """Yield curves that vary by more than their peak: no share of a machine is below zero."""
    for line in lines_of(numbers).values():
        for metric, span in line.items():
            peak = line.get(metric.removesuffix("_variation") + "_peak")
            if metric.endswith("_variation") and peak and peak.unit == span.unit and span.value > peak.value:
                yield _about(
                    "range and peak",
                    Strength.IMPOSSIBLE,
                    [span, peak],
                    f"{span.where()}: {words(metric)} of {shown(span.value)} {span.unit} around a peak of "
                    f"{shown(peak.value)} {peak.unit}: the curve would be below zero",
                )


def monitors_that_never_fall(numbers: Sequence[Number]) -> Iterator[Suspicion]:
    """Yield curves of CPU in use that only creep upward: averages since some start, of counters never differenced."""
    curves = [n for n in numbers if re.search(r"cpu|utili[sz]ation|load", n.metric)]
    for curve in grouped(curves, "study", "place", "system", "metric").values():
        values = [n.value for n in sorted(curve, key=lambda n: float(n.conditions["elapsed_s"]))]
        steps = [after - before for before, after in itertools.pairwise(values)]
        if len(values) < FEWEST_READINGS or min(steps) < 0 or max(values) == min(values):
            continue
        if max(steps) <= CREEP_SHARE * max(values):
            yield _about(
                "never falls",
                Strength.DOUBTFUL,
                curve,
                f"{words(curve[0].metric)} only rises in {len(values)} readings, by at most {max(steps):.2g} points "
                f"({values[0]:g} to {values[-1]:g} {curve[0].unit}): an average since some start, not what was in use",
            )


def axes_without_effect(numbers: Sequence[Number]) -> Iterator[Suspicion]:
    """Yield axes to which no time of a system responds, although they span much."""
    timed = [n for n in numbers if n.is_time and len(n.axes) == 1 and isinstance(n.key[0], (int, float))]
    for table in grouped(timed, "study", "place", "system", "workload", "axes").values():
        values = sorted({n.key[0] for n in table})
        if len(values) < 4 or values[0] <= 0 or values[-1] < WIDE_AXIS * values[0]:
            continue
        columns = grouped(table, "metric").values()
        widest = max(max(n.value for n in c) / min(n.value for n in c) for c in columns if min(n.value for n in c) > 0)
        if widest < 1 + FLAT_SHARE:
            yield _about(
                "no effect",
                Strength.DOUBTFUL,
                table,
                f"{table[0].system}: {words(table[0].axes[0])} from {values[0]:g} to {values[-1]:g} change no time by "
                f"more than {100 * (widest - 1):.0f} %: as if they were never used",
            )


def processor_time(numbers: Sequence[Number]) -> Iterator[Suspicion]:
    """Yield systems whose share of the processor and time say very different work, and speed-ups beyond the cores."""
    lines = [line for line in lines_of(numbers).values() if line]
    busy = []
    for line in lines:
        share = next((n for m, n in line.items() if m.startswith("cpu") and "share" in m and n.unit == "%"), None)
        spent = next((n for n in line.values() if n.is_time and "epoch" in n.metric), None)
        if share and spent:
            busy.append((share, spent))
    for (share, spent), (other_share, other_spent) in itertools.combinations(busy, 2):
        if share.workload != other_share.workload or spent.unit != other_spent.unit:
            continue
        work, other_work = share.value * spent.value, other_share.value * other_spent.value
        if max(work, other_work) > OTHER_WORK * min(work, other_work) > 0:
            most, least = (share, other_share) if work > other_work else (other_share, share)
            yield _about(
                "processor time",
                Strength.DOUBTFUL,
                [share, spent, other_share, other_spent],
                f"share × time: {most.system} used {max(work, other_work) / min(work, other_work):.1f} times the "
                f"processor time of {least.system} for one epoch: it was not the same work, or the share is not that "
                "of the training",
            )
    yield from _speed_ups(numbers)


def _speed_ups(numbers: Sequence[Number]) -> Iterator[Suspicion]:
    timed = [n for n in numbers if n.is_time and isinstance(n.conditions.get("cores"), int)]
    for same in grouped(timed, "study", "system", "workload", "metric").values():
        for one, many in itertools.permutations(same, 2):
            cores = many.conditions["cores"]
            if not many.conditions.get("parallel") or one.conditions.get("parallel") or many.value <= 0:
                continue
            if one.value / many.value > cores:
                yield _about(
                    "processor time",
                    Strength.DOUBTFUL,
                    [one, many],
                    f"{many.system}: {one.value / many.value:.1f} times as fast in parallel ({shown(many.value)} "
                    f"instead of {shown(one.value)} {one.unit}) on a processor of {cores} cores",
                )


def _about(rule: str, strength: Strength, numbers: Sequence[Number], text: str) -> Suspicion:
    first = numbers[0]
    rows = tuple(n.index for n in numbers)
    return Suspicion(rule=rule, strength=strength, study=first.study, place=first.place, text=text, rows=rows)


def _accuracies_and_losses(numbers: Sequence[Number]) -> list[tuple[Number, Number]]:
    return [pair for line in lines_of(numbers).values() if (pair := _accuracy_and_loss(line))]


def _least_loss(accuracy: Number) -> float:
    return (1 - _share(accuracy)) * math.log(2)


def _accuracy_and_loss(line: dict[str, Number]) -> tuple[Number, Number] | None:
    accuracy = next((n for m, n in line.items() if "accuracy" in m and n.unit in ("%", "1")), None)
    loss = next((n for m, n in line.items() if "loss" in m), None)
    is_entropy = loss is not None and loss.conditions.get("loss") == "cross-entropy"
    return (accuracy, loss) if accuracy and loss and is_entropy else None


def _share(accuracy: Number) -> float:
    return accuracy.value / 100 if accuracy.unit == "%" else accuracy.value


def _exceeds(number: Number, other: Number, share: float) -> bool:
    return number.value > (1 + share) * other.value


PHYSICS: tuple[Callable[[Sequence[Number]], Iterator[Suspicion]], ...] = (
    losses_ruled_out,
    losses_out_of_order,
    divergence,
    times_against_batch_size,
    times_against_depth,
    passes,
    ranges_and_peaks,
    axes_without_effect,
    processor_time,
)
