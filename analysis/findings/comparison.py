"""Candidate against baseline inside heats: pairs, their ratio with its uncertainty, the A/A floor, the verdict."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from analysis.findings.heats_needed import AS_PLANNED, MOST_HEATS, Plan, decides_at, fewest_heats
from analysis.frames.columns import Table
from analysis.statistics.paired import (
    Effect,
    Floats,
    Interval,
    geometric_mean,
    hodges_lehmann,
    is_equivalent,
    log_margin,
    log_ratios,
    mean_effect,
    percent_difference,
    signed_rank_interval,
    standard_deviation_interval,
)
from store.errors import DeadheatError
from store.repetition import HEATS_FOR_A_VERDICT

HEATS_FOR_AN_INTERVAL = 6  # below, the signed-rank test has no 95 % interval at all
OUTLIERS = "outliers"  # how the reason begins when the ranks contradict the mean

COST_COLUMNS = ("fixed_s", "per_epoch_s")


class Verdict(StrEnum):
    """What may be concluded about a candidate against its baseline."""

    FASTER = "faster"
    SLOWER = "slower"
    DEAD_HEAT = "dead heat"
    UNDECIDED = "undecided"
    INSUFFICIENT = "insufficient"  # too few heats for a public verdict
    NOT_RANKED = "not ranked"  # failed the gate, never completed, or was unavailable


class ComparisonError(DeadheatError):
    """Runs that cannot be paired."""


@dataclass(frozen=True, slots=True)
class Pairs:
    """The heats in which both runs completed undisturbed, and what each paid: fixed + per epoch × epochs."""

    heat_ids: tuple[str, ...]
    baseline_fixed_s: Floats
    baseline_per_epoch_s: Floats
    candidate_fixed_s: Floats
    candidate_per_epoch_s: Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """A candidate against the baseline on one clock, over the heats where both completed.

    `effect` and the signed-rank figures are logs of candidate / baseline.
    """

    heats: int
    baseline_value: float  # geometric mean over the heats
    candidate_value: float
    effect: Effect
    hodges_lehmann: float
    signed_rank_95: Interval
    signed_rank_90: Interval

    @property
    def has_interval(self) -> bool:
        """Whether there are enough heats for an interval."""
        return self.heats >= HEATS_FOR_AN_INTERVAL

    @property
    def floor(self) -> float:
        """Of an A/A comparison: the largest difference of log ratios that it cannot rule out."""
        return self.effect.interval(0.95).furthest


def pair_heats(runs: Table | Usable, baseline: str, candidate: str) -> Pairs:
    """Return the runs of `candidate` beside the baseline's first run of the same heat.

    Runs that did not complete, were disturbed, or have no costs are left out with their pair;
    the other pairs of the heat remain.

    Parameters
    ----------
    runs
        Runs of one cell; columns `run_id`, `heat_id`, `entry`, `control`, `status`, `contaminated`, and the run's
        costs on the clock, `fixed_s` and `per_epoch_s` (missing: unknown).

    Raises
    ------
    ComparisonError
        If an entry occurs twice in a heat, or a run that completed cost nothing.
    """
    usable = usable_runs(runs)
    first = ~usable.control
    return _joined(usable, first & (usable.entries == baseline), first & (usable.entries == candidate))


def pair_controls(runs: Table | Usable) -> Pairs:
    """Return the control runs beside the first run of the same entry in the same heat: the A/A pairs.

    They tell about the machine, so they count whoever is compared, and with whom.
    """
    usable = usable_runs(runs)
    repeated = np.isin(usable.entries, list(set(usable.entries[usable.control])))
    return _joined(usable, ~usable.control & repeated, usable.control)


def compare(pairs: Pairs, epochs: Effect | None = None) -> Comparison | None:
    """Return the comparison of `pairs`, or none without any.

    Parameters
    ----------
    pairs
        What `pair_heats` or `pair_controls` returned.
    epochs
        Epochs that a run's value is for, with their uncertainty; none: the fixed costs are the value.

    Notes
    -----
    With costs F + s·E per run and pooled epochs E, the effect is the mean over heats of
    log(F_c + s_c·E) - log(F_b + s_b·E). Its variance is that of the mean over heats plus, by the delta method,
    (slope · standard error of E)², where slope is the derivative of the effect by E. On the train clock F is 0,
    E cancels and the slope is 0.
    """
    if not pairs.heat_ids:
        return None
    planned = epochs.estimate if epochs else 0.0
    baseline = pairs.baseline_fixed_s + pairs.baseline_per_epoch_s * planned
    candidate = pairs.candidate_fixed_s + pairs.candidate_per_epoch_s * planned
    differences = log_ratios(baseline, candidate)
    effect = mean_effect(differences)
    if epochs:
        slope = (pairs.candidate_per_epoch_s / candidate - pairs.baseline_per_epoch_s / baseline).mean()
        if not math.isclose(slope, 0, abs_tol=1e-12):  # infinite uncertainty times 0 is not a number
            effect = effect.widened(abs(float(slope)) * epochs.standard_error, epochs.degrees_of_freedom)
    return Comparison(
        heats=len(pairs.heat_ids),
        baseline_value=geometric_mean(baseline),
        candidate_value=geometric_mean(candidate),
        effect=effect,
        hodges_lehmann=hodges_lehmann(differences),
        signed_rank_95=signed_rank_interval(differences, 0.95),
        signed_rank_90=signed_rank_interval(differences, 0.90),
    )


@dataclass(frozen=True, slots=True)
class Decision:
    """A verdict, why it is none (empty otherwise), and the heats that would decide an undecided one."""

    verdict: Verdict
    reason: str = ""
    heats_low: int | None = None
    heats_high: int | None = None


def decide(
    comparison: Comparison,
    control: Comparison | None,
    adjusted_p: float,
    margin_ratio: float,
    family_size: int,
    plan: Plan = AS_PLANNED,
) -> Decision:
    """Return the verdict of one comparison, by the rules of docs/explanation/statistics.md in their order.

    Parameters
    ----------
    comparison
        The candidate against the baseline.
    control
        The A/A comparison of the same cell and clock; none: the control never completed.
    adjusted_p
        Holm's p of the comparison.
    margin_ratio
        Of a dead heat: 0.03 allows ratios strictly between 1 / 1.03 and 1.03.
    family_size
        How many comparisons the p was adjusted for.
    plan
        The rule of repetition, which fixes the level of the tests.
    """
    if comparison.heats < HEATS_FOR_A_VERDICT:
        return Decision(Verdict.INSUFFICIENT, _too_few(comparison.heats))
    if plan.why_too_early:
        return Decision(Verdict.INSUFFICIENT, plan.why_too_early)
    if control is None or not control.has_interval:
        return Decision(Verdict.UNDECIDED, _no_control(control))
    verdict, reason = _ruling(comparison, control, adjusted_p, margin_ratio, plan.alpha)
    if verdict is not Verdict.UNDECIDED:
        return Decision(verdict)
    if reason.startswith(OUTLIERS):
        return Decision(verdict, reason)
    low, high = heats_to_decide(comparison, control, margin_ratio, family_size, plan.alpha)
    shown = reason or f"neither a difference nor a dead heat within {100 * margin_ratio:g} % is shown"
    return Decision(verdict, f"{shown}{_needed(low, high)}", low, high)


def _ruling(
    comparison: Comparison, control: Comparison, adjusted_p: float, margin_ratio: float, alpha: float
) -> tuple[Verdict, str]:
    """Return the verdict where there are heats enough, and what forbids one."""
    margin = log_margin(margin_ratio)
    if control.effect.interval(0.95).is_inside(margin):
        verdict = _conclusion(comparison, control.floor, margin, is_shown=adjusted_p < alpha, alpha=alpha)
    else:
        verdict = _conclusion_beyond(comparison, control.floor, is_shown=adjusted_p < alpha)
        if verdict is Verdict.UNDECIDED:
            return verdict, _cannot_resolve(control, margin_ratio)
    by_ranks = _signed_rank_conclusion(comparison, control.floor, margin)
    if verdict is not by_ranks and Verdict.UNDECIDED not in (verdict, by_ranks):
        return Verdict.UNDECIDED, f"{OUTLIERS}: the mean says {verdict}, the ranks say {by_ranks}"
    return verdict, ""


def _conclusion_beyond(comparison: Comparison, floor: float, *, is_shown: bool) -> Verdict:
    """Return the verdict where the machine cannot resolve the margin: only of what is clearly beyond its floor.

    A dead heat cannot be shown there, and a difference only if the whole interval lies beyond the floor.
    docs/development/decisions/0005 has the simulation behind this rule.
    """
    interval = comparison.effect.interval(0.95)
    beyond = interval.low > floor or interval.high < -floor
    return _direction(comparison.effect.estimate) if beyond and is_shown else Verdict.UNDECIDED


def _conclusion(comparison: Comparison, floor: float, margin: float, *, is_shown: bool, alpha: float) -> Verdict:
    """Return the verdict of the t interval: a dead heat first, then a difference."""
    estimate = comparison.effect.estimate
    if is_equivalent(comparison.effect, margin, alpha):
        return Verdict.DEAD_HEAT
    return _direction(estimate) if is_shown and abs(estimate) > floor else Verdict.UNDECIDED


def _signed_rank_conclusion(comparison: Comparison, floor: float, margin: float) -> Verdict:
    """Return the verdict of the signed ranks, by the same rules but for Holm: it only ever vetoes."""
    estimate = comparison.hodges_lehmann
    if comparison.signed_rank_90.is_inside(margin):
        return Verdict.DEAD_HEAT
    differs = comparison.signed_rank_95.excludes(0) and abs(estimate) > floor
    return _direction(estimate) if differs else Verdict.UNDECIDED


def _direction(estimate: float) -> Verdict:
    return Verdict.FASTER if estimate < 0 else Verdict.SLOWER


def _too_few(heats: int) -> str:
    if heats < HEATS_FOR_AN_INTERVAL:
        return f"an interval needs {HEATS_FOR_AN_INTERVAL} heats and a public verdict {HEATS_FOR_A_VERDICT}"
    return f"a public verdict needs {HEATS_FOR_A_VERDICT} heats"


def _no_control(control: Comparison | None) -> str:
    completed = control.heats if control else 0
    return (
        f"what this machine can resolve is not known: the A/A control completed in {completed} of the "
        f"{HEATS_FOR_AN_INTERVAL} heats that takes"
    )


def _cannot_resolve(control: Comparison, margin_ratio: float) -> str:
    ends = control.effect.interval(0.95).as_ratio
    low, high = percent_difference(ends.low), percent_difference(ends.high)
    return (
        f"this machine cannot resolve {100 * margin_ratio:g} %: the same program run twice differs by "
        f"{low:+.1f} % to {high:+.1f} % (95 % interval)"
    )


def _needed(low: int | None, high: int | None) -> str:
    if low is None:
        return f", and no number of heats up to {MOST_HEATS} would change that if the differences stay as they are"
    needed = f"{low} to {high}" if high else f"{low} to more than {MOST_HEATS}"
    return f"; {needed} heats in all would decide it if the differences stay as they are"


def heats_to_decide(
    comparison: Comparison, control: Comparison, margin_ratio: float, family_size: int, alpha: float = 0.05
) -> tuple[int | None, int | None]:
    """Return the range of heats that would give a verdict if both differences stay where they are.

    A range, never one number: its ends belong to the ends of the 95 % chi-square intervals of the standard
    deviations. None instead of a number: more than `MOST_HEATS`, or never.
    The test level is Bonferroni's, alpha / family size, the strictest that Holm can ask for.
    """
    low, high = (
        fewest_heats(
            decides_at(
                comparison.effect.estimate,
                _spread(comparison, end),
                control.effect.estimate,
                _spread(control, end),
                log_margin(margin_ratio),
                alpha / family_size,
            ),
            more_than=comparison.heats,
        )
        for end in ("low", "high")
    )
    return low, high


def _spread(comparison: Comparison, end: str) -> float:
    """Return one end of the interval of the standard deviation of a heat's difference."""
    deviation = comparison.effect.standard_error * math.sqrt(comparison.heats)
    interval = standard_deviation_interval(deviation, comparison.heats)
    return interval.low if end == "low" else interval.high


@dataclass(frozen=True, slots=True)
class Usable:
    """The runs that count for pairs, a place in each array per run."""

    heat_ids: npt.NDArray[np.object_]
    entries: npt.NDArray[np.object_]
    control: npt.NDArray[np.bool_]
    fixed_s: Floats
    per_epoch_s: Floats


def usable_runs(runs: Table | Usable) -> Usable:
    """Return the runs that count for pairs, with costs that are known and above 0; given those, themselves."""
    if isinstance(runs, Usable):
        return runs
    status, contaminated, heat_ids, entries = (
        np.asarray(runs[name], dtype=object) for name in ("status", "contaminated", "heat_id", "entry")
    )
    fixed_s, per_epoch_s = (np.asarray(runs[name], dtype=float) for name in COST_COLUMNS)
    # Whether a run was disturbed may not be known.
    known = (status == "completed") & (contaminated != np.True_) & ~np.isnan(fixed_s) & ~np.isnan(per_epoch_s)
    if (free := known & ~(fixed_s + per_epoch_s > 0)).any():
        at = int(free.argmax())
        raise ComparisonError(
            f"run {np.asarray(runs['run_id'])[at]}: completed in {fixed_s[at]:g} s; expected more than 0 s. "
            "Look at the run's events; `deadheat check` lists what else is wrong."
        )
    control = np.asarray(runs["control"], dtype=bool)
    return Usable(*(values[known] for values in (heat_ids, entries, control, fixed_s, per_epoch_s)))


def _joined(usable: Usable, baseline: npt.NDArray[np.bool_], candidate: npt.NDArray[np.bool_]) -> Pairs:
    ours, theirs = (_by_heat(usable, side) for side in (baseline, candidate))
    heats = sorted(ours.keys() & theirs.keys())
    costs = (
        values[np.array([side[heat] for heat in heats], dtype=int)]
        for side in (ours, theirs)
        for values in (usable.fixed_s, usable.per_epoch_s)
    )
    return Pairs(tuple(heats), *costs)


def _by_heat(usable: Usable, side: npt.NDArray[np.bool_]) -> dict[str, int]:
    """Return the place of the one run of each heat."""
    found: dict[str, int] = {}
    for at in np.flatnonzero(side):
        heat = str(usable.heat_ids[at])
        if heat in found:
            raise ComparisonError(
                f"heat {heat}: {usable.entries[at]} occurs twice; expected once, and once more as the control. "
                "Give the runs of each heat's last complete attempt."
            )
        found[heat] = int(at)
    return found
