"""What a finding is: a candidate against the baseline of its cell on one clock, with its verdict."""

from __future__ import annotations

from dataclasses import dataclass

from analysis.findings.comparison import Verdict

CLOCKS = ("train", "e2e")
COMPARED_TRACKS = ("closed", "open")  # a study's own recipe (track published) is not gated, and never ranked


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One point of the matrix, without repetition and seed: what may be compared at all."""

    campaign_id: str
    suite: str
    environment_id: str
    workload: str
    workload_version: int
    mode: str
    device: str
    dtype: str
    batch_size: int
    threads: int
    loader_workers: int
    epochs: int
    steps: int
    track: str = "closed"
    loader: str = "resident"
    optimizer: str = ""  # empty, and rates of 0, in records made before they were noted
    learning_rate: float = 0.0
    weight_decay: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One candidate against the baseline of its cell on one clock.

    Ratios are candidate / baseline: 1.34 reads "takes 34 % longer than the baseline".
    They are None where there are too few heats for them (see `reason`), or the work was not the same.
    """

    cell: Cell
    clock: str  # "train" or "e2e"
    metric: str  # name in store.metrics; a time to target is each run's costs for the pooled epochs
    unit: str
    baseline: str  # entry, runner:variant
    candidate: str
    candidate_class: str  # framework, baseline or test
    candidate_language: str
    candidate_framework: str
    heats: int  # heats where both completed
    baseline_value: float | None  # geometric mean over those heats, in `unit`
    candidate_value: float | None
    ratio: float | None
    ratio_low: float | None  # 95 % t interval on the log ratios, from 6 heats
    ratio_high: float | None
    hodges_lehmann_ratio: float | None
    hodges_lehmann_low: float | None
    hodges_lehmann_high: float | None
    adjusted_p: float | None  # Holm
    floor_ratio: float | None  # A/A floor as a ratio above 1: what the machine cannot tell apart
    margin_ratio: float  # of a dead heat, fixed in the suite
    verdict: Verdict
    reason: str  # why not decided, insufficient or not ranked; empty otherwise
    candidate_headline: bool = True  # the variant named in runner.toml before the campaign
    baseline_headline: bool = True
    baseline_class: str = ""
    baseline_language: str = ""
    baseline_framework: str = ""
    epochs_to_target: float | None = None  # pooled, that the values are for; none: the whole timed work
    heats_to_decide_low: int | None = None  # of an undecided finding; none: decided, or cannot be told
    heats_to_decide_high: int | None = None  # none beside a low: more than power.MOST_HEATS


def entry_name(entry: str, *, is_headline: bool) -> str:
    """Return an entry as people write it: a bare runner name means its headline variant.

    >>> entry_name("python_pytorch:eager", is_headline=True), entry_name("python_pytorch:compile", is_headline=False)
    ('python_pytorch', 'python_pytorch:compile')
    """
    return entry.partition(":")[0] if is_headline else entry
