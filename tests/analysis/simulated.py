"""Simulated campaigns, thousands at once, and the rules of the verdict applied to all of them together.

The rules here are written a second time, over arrays; `test_simulations` holds them against `findings.comparison`
campaign by campaign, and `benchmarks/simulations.py` writes the tables of docs/explanation/simulations.md with them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import stats

from analysis.findings.heats_needed import MOST_HEATS
from analysis.statistics.paired import Floats
from collector.plan.repetition import heats_after_pilot
from store.repetition import LOOKS
from store.repetition import PILOT_HEATS as PILOT

MARGIN = math.log(1.03)
LONGER, SHORTER, DEAD_HEAT, NOTHING = 1, -1, 2, 0
Noise = Callable[[np.random.Generator, tuple[int, ...]], Floats]


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What a machine adds to the log seconds of a run.

    `wander` is the deviation of a slow random drift whose correlation falls to 1 / e over `memory_runs` runs;
    `trend` is a change over the whole campaign in one direction; `noise` is each run's own.
    `spike_share` of the candidates' runs, and of nobody else's, take e^`spike` times as long.
    """

    noise: Noise
    wander: float = 0.0
    memory_runs: float = 20.0
    trend: float = 0.0
    spike_share: float = 0.0
    spike: float = 0.0

    @property
    def mean_spike(self) -> float:
        """What the spikes add to the mean log seconds of a candidate."""
        return self.spike_share * self.spike


def normal(deviation: float) -> Noise:
    """Return normal noise of that deviation."""
    return lambda generator, shape: generator.normal(0, deviation, shape)


def heavy(deviation: float) -> Noise:
    """Return noise of Student's t with 3 degrees of freedom, scaled to that deviation."""
    return lambda generator, shape: generator.standard_t(3, shape) * deviation / math.sqrt(3)


def skewed(deviation: float) -> Noise:
    """Return noise that only ever makes a run longer: exponential, its mean taken off."""
    return lambda generator, shape: generator.exponential(deviation, shape) - deviation


def spiky(deviation: float, share: float, spike: float) -> Noise:
    """Return normal noise with spikes that hit every entry alike."""

    def noise(generator: np.random.Generator, shape: tuple[int, ...]) -> Floats:
        hit = generator.random(shape) < share
        return np.asarray(generator.normal(0, deviation, shape) + hit * spike)

    return noise


MACHINES = {
    "normal, 1 %": Machine(noise=normal(0.01)),
    "drift of 10 % that wanders, normal 1 %": Machine(noise=normal(0.01), wander=0.10),
    "drift of 20 % over the campaign, normal 1 %": Machine(noise=normal(0.01), trend=0.20),
    "heavy tails (t with 3 degrees of freedom), 3 %": Machine(noise=heavy(0.03), wander=0.03),
    "skewed (exponential), 3 %": Machine(noise=skewed(0.03), wander=0.03),
    "spikes of 30 % in a tenth of all runs": Machine(noise=spiky(0.01, 0.1, 0.3), wander=0.03),
    "spikes of 10 % in a fifth of the candidate's runs alone": Machine(
        noise=normal(0.03), wander=0.03, spike_share=0.2, spike=0.1
    ),
    "spikes of 30 % in a tenth of the candidate's runs alone": Machine(
        noise=normal(0.02), wander=0.03, spike_share=0.1, spike=0.3
    ),
}


def log_seconds(
    generator: np.random.Generator,
    machine: Machine,
    campaigns: int,
    heats: int,
    entries: int,
    *,
    by_runner: bool = False,
) -> Floats:
    """Return log seconds of identical programs, shape (campaigns, heats, entries).

    Entry 0 is the baseline, 1 its control, the rest are candidates. Inside a heat the order is random; `by_runner`
    measures all repetitions of one entry before those of the next, as most published comparisons do.
    """
    runs = heats * entries
    at = _drift(generator, machine, campaigns, runs)
    if by_runner:
        seconds = at.reshape(campaigns, entries, heats).swapaxes(1, 2).copy()
    else:
        seconds = generator.permuted(at.reshape(campaigns, heats, entries), axis=2)
    seconds += machine.noise(generator, seconds.shape)
    if machine.spike_share:
        seconds[:, :, 2:] += (generator.random(seconds[:, :, 2:].shape) < machine.spike_share) * machine.spike
    return seconds


def _drift(generator: np.random.Generator, machine: Machine, campaigns: int, runs: int) -> Floats:
    """Return the machine's own course in the order of time, shape (campaigns, runs)."""
    course = np.linspace(0, machine.trend, runs) * np.ones((campaigns, 1))
    if machine.wander:
        memory = math.exp(-1 / machine.memory_runs)
        steps = generator.normal(0, machine.wander, (campaigns, runs))
        steps[:, 1:] *= math.sqrt(1 - memory**2)
        for run in range(1, runs):
            steps[:, run] += memory * steps[:, run - 1]
        course += steps
    return course


@dataclass(frozen=True, slots=True)
class Means:
    """Mean, standard error and p of differences over the last axis but one of many campaigns."""

    mean: Floats
    error: Floats
    heats: int

    @classmethod
    def of(cls, differences: Floats) -> Means:
        """Return those of `differences`, heats along axis 1."""
        heats = differences.shape[1]
        return cls(differences.mean(axis=1), differences.std(axis=1, ddof=1) / math.sqrt(heats), heats)

    @property
    def p(self) -> Floats:
        """The two-sided p of "no difference"."""
        return np.asarray(2 * stats.t.sf(np.abs(self.mean) / self.error, self.heats - 1))

    def half(self, level: float) -> Floats:
        """Return half the width of the t interval."""
        return np.asarray(stats.t.ppf(0.5 + level / 2, self.heats - 1) * self.error)

    def covers(self, truth: float, level: float = 0.95) -> np.ndarray:
        """Return in which campaigns the interval holds `truth`."""
        return np.asarray(np.abs(self.mean - truth) <= self.half(level))


def ranks(differences: Floats, level: float) -> tuple[Floats, Floats, Floats]:
    """Return the Hodges–Lehmann estimates and the ends of the signed-rank intervals, heats along axis 1."""
    heats = differences.shape[1]
    first, second = np.triu_indices(heats)
    averages = np.sort((differences[:, first] + differences[:, second]) / 2, axis=1)
    sums = np.zeros(heats * (heats + 1) // 2 + 1)
    sums[0] = 1.0
    for rank in range(1, heats + 1):
        sums[rank:] = (sums[rank:] + sums[: sums.size - rank]) / 2 if rank else sums[rank:]
        sums[:rank] /= 2
    cut = int(np.searchsorted(sums.cumsum(), (1 - level) / 2 * (1 + 1e-9), side="right"))
    return np.median(averages, axis=1), averages[:, cut - 1], averages[:, -cut]


def holm(p: Floats) -> Floats:
    """Return Holm's adjusted p of families along the last axis."""
    order = np.argsort(p, axis=-1)
    steps = np.take_along_axis(p, order, -1) * np.arange(p.shape[-1], 0, -1)
    adjusted = np.minimum(1.0, np.maximum.accumulate(steps, axis=-1))
    found = np.empty_like(p)
    np.put_along_axis(found, order, adjusted, -1)
    return found


def verdicts(candidate: Floats, control: Floats, p: Floats | None = None, alpha: float = 0.05) -> np.ndarray:
    """Return the verdict of each campaign by the rules of docs/explanation/statistics.md.

    Parameters
    ----------
    candidate, control
        Differences of logs, shape (campaigns, heats).
    p
        Adjusted; none: each campaign has one candidate.
    """
    ours, theirs = Means.of(candidate), Means.of(control)
    p = ours.p if p is None else p
    floor = np.abs(theirs.mean) + theirs.half(0.95)
    resolved, sign = floor < MARGIN, np.where(ours.mean < 0, SHORTER, LONGER)
    rejected = p < alpha
    dead = np.abs(ours.mean) + ours.half(1 - 2 * alpha) < MARGIN
    shown = np.where(dead, DEAD_HEAT, np.where(rejected & (np.abs(ours.mean) > floor), sign, NOTHING))
    beyond = rejected & (np.abs(ours.mean) - ours.half(0.95) > floor)
    verdict = np.where(resolved, shown, np.where(beyond, sign, NOTHING))
    by_ranks = _by_ranks(candidate, floor)
    return np.where((verdict != by_ranks) & (by_ranks != NOTHING), NOTHING, verdict)


def _by_ranks(candidate: Floats, floor: Floats) -> np.ndarray:
    middle, low, high = ranks(candidate, 0.95)
    _, low90, high90 = ranks(candidate, 0.90)
    differs = ((low > 0) | (high < 0)) & (np.abs(middle) > floor)
    dead = (low90 > -MARGIN) & (high90 < MARGIN)
    return np.where(dead, DEAD_HEAT, np.where(differs, np.where(middle < 0, SHORTER, LONGER), NOTHING))


def is_different(found: np.ndarray) -> np.ndarray:
    """Return where a verdict says faster or slower."""
    return (found == LONGER) | (found == SHORTER)


def coverage(machine: Machine, heats: int, campaigns: int, seed: int) -> tuple[float, float]:
    """Return how often the 95 % t interval holds the mean log ratio, and the signed-rank one the pseudomedian."""
    generator = np.random.default_rng(seed)
    seconds = log_seconds(generator, machine, campaigns, heats, 3)
    differences = seconds[:, :, 2] - seconds[:, :, 0]
    _, low, high = ranks(differences, 0.95)
    middle = pseudomedian(machine) if machine.spike_share else 0.0
    return float(Means.of(differences).covers(machine.mean_spike).mean()), float(
        ((low <= middle) & (middle <= high)).mean()
    )


def pseudomedian(machine: Machine) -> float:
    """Return what the Hodges–Lehmann estimate tends to: the median of the mean of two differences."""
    seconds = log_seconds(np.random.default_rng(99), machine, 40_000, 2, 3)
    differences = (seconds[:, :, 2] - seconds[:, :, 0]).ravel()
    half = differences.size // 2
    return float(np.median((differences[:half] + differences[half:]) / 2))


def false_verdicts(machine: Machine, pages: int, family: int, seed: int, *, heats: int = 10) -> dict[str, float]:
    """Return how often identical programs are told apart on pages of `family` candidates each.

    `comparison` is the share of comparisons before Holm, `page` that of pages with any after it, `test` that of
    comparisons whose bare t test rejects; `by runner` and `by runner, test` are the same runs measured one runner
    after another; `wider` is how many times as wide the unpaired interval is, in the median.
    """
    generator = np.random.default_rng(seed)
    found: dict[str, float] = {}
    for by_runner in (False, True):
        seconds = log_seconds(generator, machine, pages, heats, family + 2, by_runner=by_runner)
        control = seconds[:, :, 1] - seconds[:, :, 0]
        candidates = seconds[:, :, 2:] - seconds[:, :, :1]
        p = Means.of(candidates).p
        each = [verdicts(candidates[:, :, k], control) for k in range(family)]
        after = [verdicts(candidates[:, :, k], control, holm(p)[:, k]) for k in range(family)]
        name = "by runner, " if by_runner else ""
        found[f"{name}comparison"] = float(np.mean([is_different(v).mean() for v in each]))
        found[f"{name}page"] = float(np.any([is_different(v) for v in after], axis=0).mean())
        found[f"{name}test"] = float((p < 0.05).mean())
        if not by_runner:
            found["wider"] = float(np.median(welch_half(seconds) / Means.of(candidates[:, :, 0]).half(0.95)))
    return found


def welch_half(seconds: Floats) -> Floats:
    """Return half the width of Welch's unpaired 95 % interval of the first candidate against the baseline."""
    heats = seconds.shape[1]
    variances = seconds[:, :, [0, 2]].var(axis=1, ddof=1) / heats
    total = variances.sum(axis=1)
    freedom = total**2 / (variances**2 / (heats - 1)).sum(axis=1)
    return np.asarray(stats.t.ppf(0.975, freedom) * np.sqrt(total))


def stopped_early(campaigns: int, seed: int, *, most: int = 30) -> dict[str, float]:
    """Return how often identical programs are told apart by the t test under each rule of repetition.

    `until decided` tests after every heat from the sixth on and stops at the first p below 0.05; `looks` tests at
    the numbers of heats and thresholds of `LOOKS`; `fixed` once, at the end; `stein` at the number that the
    variance of a pilot of six fixed.
    """
    generator = np.random.default_rng(seed)
    seconds = log_seconds(generator, Machine(noise=normal(0.015)), campaigns, most, 3)
    differences = seconds[:, :, 2] - seconds[:, :, 0]
    p = {heats: Means.of(differences[:, :heats]).p for heats in range(6, most + 1)}
    looks = np.any([p[heats] < threshold for heats, threshold in LOOKS], axis=0)
    return {
        "fixed": float((p[most] < 0.05).mean()),
        "looks": float(looks.mean()),
        "until decided, by 10 heats": float(np.any([p[h] < 0.05 for h in range(6, 11)], axis=0).mean()),
        "until decided, by 30 heats": float(np.any([p[h] < 0.05 for h in range(6, most + 1)], axis=0).mean()),
    }


def heats_wanted(estimate: float, floor_estimate: float, deviation: float) -> float:
    """Return the fewest heats, above 10, at which the rules decide if these are the true differences; or infinity."""
    heats = np.arange(11, MOST_HEATS + 1)
    error, freedom = deviation / np.sqrt(heats), heats - 1
    floor = abs(floor_estimate) + stats.t.ppf(0.975, freedom) * error
    size, half = abs(estimate), stats.t.ppf(0.975, freedom) * error
    dead = size + stats.t.ppf(0.95, freedom) * error < MARGIN
    resolved = (floor < MARGIN) & (dead | ((size > half) & (size > floor)))
    decided = resolved | (size - half > floor)
    return float(heats[decided.argmax()]) if decided.any() else math.inf


def decided_after_pilot(campaigns: int, seed: int, *, deviation: float) -> dict[str, float]:
    """Return how identical programs fare where the variance of a pilot fixes the number of heats (Stein 1945)."""
    generator, most = np.random.default_rng(seed), 200
    seconds = log_seconds(generator, Machine(noise=normal(deviation)), campaigns, most, 3)
    control, candidate = seconds[:, :, 1] - seconds[:, :, 0], seconds[:, :, 2] - seconds[:, :, 0]
    spread = np.maximum(control[:, :PILOT].std(axis=1, ddof=1), candidate[:, :PILOT].std(axis=1, ddof=1))
    planned = np.array([heats_after_pilot(float(s), 0.03, most) for s in spread])
    false, dead = np.zeros(campaigns, dtype=bool), np.zeros(campaigns, dtype=bool)
    for heats in np.unique(planned):
        mine = planned == heats
        false[mine] = Means.of(candidate[mine, :heats]).p < 0.05
        dead[mine] = verdicts(candidate[mine, :heats], control[mine, :heats]) == DEAD_HEAT
    return {"false": float(false.mean()), "dead heat": float(dead.mean()), "median heats": float(np.median(planned))}
