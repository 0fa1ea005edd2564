"""From rows to findings: who is ranked, on what, and why not."""

from __future__ import annotations

import dataclasses
import math
import random

import pytest

from analysis.findings.comparison import Verdict
from analysis.findings.find import find_all
from analysis.findings.finding import CLOCKS, Finding
from analysis.rendering.wording import sentence
from analysis.statistics.paired import holm, log_ratios, mean_effect
from store.metrics import METRICS
from store.records import RunRow
from tests.analysis.builders import (
    JAX,
    JULIA,
    NUMPY,
    PYTORCH,
    START,
    Campaign,
    Racer,
    frames_of,
    gate_row,
    run_row,
)

QUIET = {"heat_deviation": 0.02, "run_deviation": 0.002}


def found(rows) -> dict[tuple[str, str], Finding]:
    """Return the findings of one cell by candidate and clock."""
    frames = frames_of(rows)
    findings = find_all(frames.runs, frames.epochs, frames.unavailable, frames.gates)
    by_name = {(f.candidate, f.clock): f for f in findings}
    assert len(by_name) == len(findings)
    return by_name


def altered(rows, run_id, **changes):
    """Return `rows` with the runs whose id begins so changed."""
    return [
        dataclasses.replace(row, **changes) if isinstance(row, RunRow) and row.run_id.startswith(run_id) else row
        for row in rows
    ]


def test_each_candidate_has_a_finding_on_both_clocks():
    """The baseline and its control have none."""
    findings = found(Campaign(racers=(PYTORCH, JAX, NUMPY)).rows())

    assert set(findings) == {(r.entry, clock) for r in (JAX, NUMPY) for clock in CLOCKS}


def test_a_slower_candidate_is_slower_by_its_true_ratio():
    """34.2 % longer per epoch is 34.2 % on the train clock, and less on the e2e clock with equal fixed costs."""
    findings = found(Campaign(**QUIET).rows())
    train, e2e = findings[JAX.entry, "train"], findings[JAX.entry, "e2e"]

    assert train.verdict is e2e.verdict is Verdict.SLOWER
    assert train.ratio_low < 1.342 < train.ratio_high
    assert train.ratio == pytest.approx(1.342, rel=0.005)
    assert e2e.ratio_low < (2 + 1.2 * 1.342 * e2e.epochs_to_target) / (2 + 1.2 * e2e.epochs_to_target) < e2e.ratio_high
    assert e2e.floor_ratio > 1


def test_absolute_values_stand_beside_the_ratio_and_divide_to_it():
    """Seconds to the pooled target: costs per epoch times the epochs."""
    finding = found(Campaign(**QUIET).rows())[JAX.entry, "train"]

    assert finding.candidate_value / finding.baseline_value == pytest.approx(finding.ratio)
    assert finding.baseline_value == pytest.approx(finding.epochs_to_target * 1.0, rel=0.05)
    assert finding.unit == METRICS[finding.metric].unit


def test_the_candidates_own_luck_with_the_target_does_not_make_it_faster():
    """Who crosses two quarters earlier by chance is compared on everyone's epochs."""
    rows = Campaign(**QUIET).rows()
    lucky = [
        dataclasses.replace(row, test_accuracy=min(0.99, row.test_accuracy + 0.02))
        if getattr(row, "test_accuracy", None) and row.run_id.startswith("python_jax")
        else row
        for row in rows
    ]

    assert found(lucky)[JAX.entry, "train"].ratio == pytest.approx(found(rows)[JAX.entry, "train"].ratio)
    assert found(lucky)[JAX.entry, "train"].epochs_to_target < found(rows)[JAX.entry, "train"].epochs_to_target


def test_entries_that_failed_the_gate_do_not_enter_the_pool():
    """Other mathematics has other epochs."""
    wrong = dataclasses.replace(JAX, gate_passed=False)
    alone = found(Campaign(racers=(PYTORCH, NUMPY), **QUIET).rows())[NUMPY.entry, "train"]
    rows = [*Campaign(racers=(PYTORCH, NUMPY), **QUIET).rows()]
    extra = [
        dataclasses.replace(row, test_accuracy=0.99) if hasattr(row, "test_accuracy") else row
        for row in Campaign(racers=(PYTORCH, wrong), **QUIET).rows()
        if getattr(row, "run_id", "").startswith("python_jax")
    ]

    assert found([*rows, *extra])[NUMPY.entry, "train"].epochs_to_target == alone.epochs_to_target


def test_where_no_run_reaches_the_target_the_whole_timed_work_counts():
    """All planned epochs on the train clock, everything on the e2e clock."""
    rows = Campaign(accuracies=[0.5], **QUIET).rows()
    findings = found(rows)
    runs = {r.run_id: r for r in rows if isinstance(r, RunRow)}
    ratios = log_ratios(
        [runs[f"python_pytorch-eager-{n}"].e2e_clock_s for n in range(1, 11)],
        [runs[f"python_jax-jit-{n}"].e2e_clock_s for n in range(1, 11)],
    )

    assert (findings[JAX.entry, "train"].metric, findings[JAX.entry, "e2e"].metric) == ("train_clock_s", "e2e_clock_s")
    assert findings[JAX.entry, "e2e"].epochs_to_target is None
    assert findings[JAX.entry, "e2e"].ratio == pytest.approx(math.exp(mean_effect(ratios).estimate))
    assert findings[JAX.entry, "train"].baseline_value == pytest.approx(3.0, rel=0.05)


def test_mode_steps_compares_the_clocks_themselves():
    """No epochs, no target: one number per run."""
    finding = found(Campaign(changes={"mode": "steps", "steps": 50, "target_accuracy": None}, **QUIET).rows())[
        JAX.entry, "train"
    ]

    assert finding.metric == "train_clock_s"
    assert finding.ratio == pytest.approx(1.342, rel=0.005)
    assert finding.cell.steps == 50


@pytest.mark.parametrize(
    ("heats", "verdict"), [(1, "insufficient"), (5, "insufficient"), (9, "insufficient"), (10, "slower")]
)
def test_public_verdicts_need_10_heats_and_intervals_6(heats, verdict):
    """Fewer heats show what they can: a ratio, from 6 an interval, from 10 a verdict."""
    finding = found(Campaign(heats=heats, **QUIET).rows())[JAX.entry, "train"]

    assert finding.verdict == verdict
    assert finding.ratio == pytest.approx(1.342, rel=0.02)
    assert (finding.ratio_low is None) == (heats < 6)
    assert (finding.hodges_lehmann_low is None) == (heats < 6)
    assert (finding.adjusted_p is None) == (heats < 6)


def test_holm_adjusts_over_the_headline_entries_of_the_cell_and_clock():
    """Three headline candidates are one family; another variant is in a family of its own."""
    other = dataclasses.replace(PYTORCH, variant="compile", headline=False, train_s_per_epoch=1.01)
    near = [dataclasses.replace(JAX, runner=f"python_{n}", train_s_per_epoch=1.0 + n / 1000) for n in (1, 2, 3)]
    rows = Campaign(racers=(PYTORCH, other, *near), run_deviation=0.01, changes={"mode": "steps"}).rows()
    together = found(rows)
    alone = {r.entry: found(_only(rows, r.entry))[r.entry, "train"].adjusted_p for r in (other, *near)}

    assert [together[r.entry, "train"].adjusted_p for r in near] == holm([alone[r.entry] for r in near])
    assert together[other.entry, "train"].adjusted_p == alone[other.entry]
    assert together[near[0].entry, "train"].adjusted_p > alone[near[0].entry]


def _only(rows, entry):
    """Return `rows` with the runs of the baseline and one candidate."""
    keep = (PYTORCH.entry, entry)
    ids = {r.run_id for r in rows if isinstance(r, RunRow) and f"{r.runner}:{r.variant}" in keep}
    return [row for row in rows if getattr(row, "run_id", None) in ids]


def test_an_entry_that_failed_the_gate_in_its_runs_is_shown_and_not_ranked():
    """Its seconds are there, a ratio of unequal work is not."""
    finding = found(Campaign(racers=(PYTORCH, dataclasses.replace(JAX, gate_passed=False))).rows())[JAX.entry, "train"]

    assert finding.verdict is Verdict.NOT_RANKED
    assert finding.reason == "it failed the gate on mnist_mlp"
    assert finding.candidate_value is not None
    assert (finding.ratio, finding.ratio_low, finding.adjusted_p) == (None, None, None)


def test_an_entry_that_was_not_gated_is_not_ranked():
    """No proof, no rank."""
    finding = found(Campaign(racers=(PYTORCH, dataclasses.replace(JAX, gate_passed=None))).rows())[JAX.entry, "e2e"]

    assert finding.verdict is Verdict.NOT_RANKED
    assert finding.reason == "it was not gated on mnist_mlp"


def test_nobody_is_ranked_against_a_baseline_that_failed_the_gate():
    """The comparison is as wrong as its base."""
    finding = found(Campaign(racers=(dataclasses.replace(PYTORCH, gate_passed=False), JAX)).rows())[JAX.entry, "train"]

    assert finding.verdict is Verdict.NOT_RANKED
    assert finding.reason == "the baseline python_pytorch:eager failed the gate on mnist_mlp"


def test_an_entry_that_the_gate_refused_before_timing_is_a_finding_with_the_quantity():
    """It has no runs at all, only the gate's rows."""
    refused = gate_row(
        runner="julia_flux",
        variant="cpu",
        part="B",
        passed=False,
        quantity="b.gradient.hidden.weight",
        found="128 times the reference",
        expected="relative L2 ≤ 0.005",
        versions='{"language": "Julia", "framework": "Flux"}',
    )
    finding = found([*Campaign().rows(), refused])["julia_flux:cpu", "train"]

    assert finding.verdict is Verdict.NOT_RANKED
    assert finding.reason == (
        "it failed part B of the gate on mnist_mlp: b.gradient.hidden.weight is 128 times the reference, "
        "expected relative L2 ≤ 0.005"
    )
    assert (finding.candidate_language, finding.candidate_framework, finding.heats) == ("Julia", "Flux", 0)


def test_an_entry_whose_trainings_did_not_end_alike_is_shown_and_not_ranked():
    """Part H comes after the runs: its seconds stay, the ratio of unequal work goes."""
    runner, variant = JAX.entry.split(":")
    late = gate_row(runner=runner, variant=variant, part="H", passed=False, quantity="final accuracy", found="97 %")
    finding = found([*Campaign().rows(), late])[JAX.entry, "train"]

    assert finding.verdict is Verdict.NOT_RANKED
    assert finding.reason.startswith("it failed part H of the gate on mnist_mlp: final accuracy is 97 %")
    assert finding.candidate_value is not None
    assert finding.ratio is None


def test_only_the_last_gating_of_the_campaign_and_workload_counts():
    """An older failure, another workload's and another campaign's are no refusal here."""
    rows = Campaign().rows()
    late = START.replace(hour=9)
    failed = gate_row(gate_id="old", runner="julia_flux", variant="cpu", passed=False)
    repaired = gate_row(gate_id="new", runner="julia_flux", variant="cpu", passed=True, gated_at=late)
    elsewhere = gate_row(runner="elixir_axon", variant="exla", passed=False, workload="mnist_lenet")
    earlier = gate_row(runner="elixir_axon", variant="exla", passed=False, campaign_id="demo-0")

    assert set(found([*rows, failed, repaired, elsewhere, earlier])) == set(found(rows))
    assert ("julia_flux:cpu", "train") in found([*rows, failed])


def test_a_repaired_runner_is_not_refused_for_a_part_that_its_last_gating_lacks():
    """A failed part of older code and an unfinished run of the same code are both void."""
    late = START.replace(hour=9)
    facts = {"runner": "julia_flux", "variant": "cpu"}
    older = gate_row(gate_id="old", part="B", passed=False, **facts)
    flaky = gate_row(gate_id="new", part="run", passed=False, **facts)
    repaired = gate_row(gate_id="new", part="A", gated_at=late, **facts)

    assert ("julia_flux:cpu", "train") not in found([*Campaign(heats=1).rows(), older, flaky, repaired])
    assert ("julia_flux:cpu", "train") in found([*Campaign(heats=1).rows(), older, flaky])


def test_a_gate_whose_run_ended_badly_says_how():
    """The part is 'run', and what was found is its ending."""
    row = gate_row(runner="julia_flux", variant="cpu", part="run", passed=False, found="crashed: no such package.")
    finding = found([*Campaign().rows(), row])["julia_flux:cpu", "train"]

    assert finding.reason == "its gate on mnist_mlp did not end well: crashed: no such package"


def unavailable_row(**changes):
    """Return the row of a runner that could not be started in the builders' cell."""
    facts = {
        "run_id": "unavailable1",
        "heat_id": "",
        "runner": "elixir_axon",
        "variant": "exla",
        "language": "Elixir",
        "framework": "Axon",
        "status": "unavailable",
        "message": "no elixir was found. Install: make setup.\nlong detail",
        "gate_passed": None,
    }
    return run_row(**(facts | changes))


def test_an_unavailable_runner_is_a_finding_with_its_reason():
    """One line of why, in the cell it would have run in."""
    finding = found([*Campaign().rows(), unavailable_row()])["elixir_axon:exla", "e2e"]

    assert finding.verdict is Verdict.NOT_RANKED
    assert finding.reason == "it is unavailable: no elixir was found. Install: make setup"
    assert sentence(finding) == f"elixir_axon is not ranked on the e2e clock: {finding.reason}."


def test_an_entry_that_cannot_do_the_work_is_a_finding_with_its_reason():
    """It was never started; the reason is the collector's."""
    row = unavailable_row(status="unsupported", message="it lacks the loader")
    finding = found([*Campaign().rows(), row])["elixir_axon:exla", "train"]

    assert (finding.verdict, finding.reason) == (Verdict.NOT_RANKED, "it is unsupported: it lacks the loader")


def test_another_optimizer_is_another_cell():
    """Runs with different hyperparameters are never paired or pooled."""
    rows = [*Campaign().rows(), *Campaign(changes={"optimizer": "sgd", "learning_rate": 0.05}).rows()]
    frames = frames_of(rows)
    findings = find_all(frames.runs, frames.epochs, frames.unavailable, frames.gates)

    assert {(f.cell.optimizer, f.cell.learning_rate) for f in findings} == {("adam", 0.001), ("sgd", 0.05)}


def test_a_failure_with_one_optimizer_says_nothing_of_another():
    """The gate's rows name the optimizer and the loader; those of old records fit all."""
    for gate, is_refused in (({"optimizer": "sgd"}, False), ({"optimizer": "adam"}, True), ({"optimizer": None}, True)):
        failed = gate_row(runner="julia_stdlib", variant="default", passed=False, **gate)
        assert (("julia_stdlib:default", "train") in found([*Campaign().rows(), failed])) == is_refused, gate


def test_a_runner_unavailable_elsewhere_is_not_missing_here():
    """Another workload's or campaign's absence is no finding of this cell."""
    rows = [
        *Campaign().rows(),
        unavailable_row(workload="mnist_lenet"),
        unavailable_row(campaign_id="demo-0"),
        unavailable_row(batch_size=32),
    ]

    assert {f.candidate for f in found(rows).values()} == {JAX.entry}


@pytest.mark.parametrize("status", ["crashed", "timed_out", "out_of_memory", "diverged", "bad_events", "unsupported"])
def test_an_entry_that_never_completed_says_how_it_ended(status):
    """The ending is counted and the first message told."""
    broken = dataclasses.replace(JAX, status=status, message="line 41: went wrong.")
    finding = found(Campaign(racers=(PYTORCH, broken), heats=3).rows())[JAX.entry, "train"]

    assert finding.verdict is Verdict.NOT_RANKED
    assert finding.reason == f"it never completed (3 {status}): line 41: went wrong"
    assert finding.candidate_value is None


def test_a_baseline_that_never_completed_leaves_nothing_to_compare_with():
    """The candidate ran; there is no ratio, and no crash of ours."""
    broken = dataclasses.replace(PYTORCH, status="crashed")
    finding = found(Campaign(racers=(broken, JAX), heats=3).rows())[JAX.entry, "train"]

    assert finding.verdict is Verdict.NOT_RANKED
    assert finding.reason == "the baseline python_pytorch:eager never completed (6 crashed)"


def test_a_campaign_whose_baseline_has_no_runs_is_no_error():
    """Rows of a candidate alone."""
    rows = [row for row in Campaign(heats=2).rows() if not getattr(row, "run_id", "").startswith("python_pytorch")]
    finding = found(rows)[JAX.entry, "train"]

    assert finding.reason == "the baseline python_pytorch:eager never completed (no runs)"
    assert finding.baseline_class == ""


def test_heats_that_never_overlap_are_said_so():
    """Both completed, never in the same heat."""
    rows = altered(Campaign(heats=2).rows(), "python_jax-jit-1", status="crashed")
    rows = altered(rows, "python_pytorch-eager-2", contaminated=True)
    finding = found(rows)[JAX.entry, "train"]

    assert finding.reason == "there is no heat in which both completed undisturbed"


def test_a_crash_in_one_heat_costs_that_heat_alone():
    """Eleven heats with one crash are ten."""
    rows = altered(Campaign(heats=11, **QUIET).rows(), "python_jax-jit-4", status="crashed", train_clock_s=None)
    finding = found(rows)[JAX.entry, "train"]

    assert finding.heats == 10
    assert finding.verdict is Verdict.SLOWER


def test_cells_do_not_mix():
    """Two batch sizes and two campaigns are four cells with findings of their own."""
    rows = []
    for campaign in ("demo-1", "demo-2"):
        for batch_size in (32, 128):
            name = f"{campaign}-{batch_size}"
            for row in Campaign(heats=2, changes={"campaign_id": campaign, "batch_size": batch_size}).rows():
                if isinstance(row, RunRow):
                    row = dataclasses.replace(row, heat_id=f"{name}-{row.heat_id}")  # noqa: PLW2901
                if hasattr(row, "run_id"):
                    row = dataclasses.replace(row, run_id=f"{name}-{row.run_id}")  # noqa: PLW2901
                rows.append(row)
    frames = frames_of(rows)
    findings = find_all(frames.runs, frames.epochs, frames.unavailable, frames.gates)

    assert len(findings) == 4 * len(CLOCKS)
    assert {(f.cell.campaign_id, f.cell.batch_size) for f in findings} == {
        (c, b) for c in ("demo-1", "demo-2") for b in (32, 128)
    }
    assert all(f.heats == 2 for f in findings)
    assert all(type(f.cell.batch_size) is int for f in findings)


def test_published_and_open_runs_are_not_compared_here():
    """Only the closed track does equal work."""
    assert found(Campaign(changes={"track": "published"}).rows()) == {}


def test_an_empty_store_has_no_findings():
    """Nothing in, nothing out."""
    assert found([]) == {}


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_order_of_the_rows_does_not_matter(seed):
    """Files come in any order."""
    rows = Campaign(racers=(PYTORCH, JAX, JULIA), heats=6, **QUIET).rows()
    shuffled = random.Random(seed).sample(rows, len(rows))
    ours, theirs = found(rows), found(shuffled)

    assert list(ours) == list(theirs)
    for key, finding in ours.items():
        assert theirs[key].ratio == pytest.approx(finding.ratio)
        assert theirs[key].ratio_low == pytest.approx(finding.ratio_low)
        assert sentence(theirs[key]) == sentence(finding)


def test_exchanging_baseline_and_candidate_exchanges_the_verdict():
    """The same runs seen from the other side: inverse ratio, mirrored interval."""
    rows = Campaign(changes={"mode": "steps"}, **QUIET).rows()
    swapped = [
        dataclasses.replace(row, baseline=JAX.entry, control=False)
        for row in rows
        if isinstance(row, RunRow) and not row.control
    ]
    there, back = found(rows)[JAX.entry, "train"], found(swapped)[PYTORCH.entry, "train"]

    assert back.ratio == pytest.approx(1 / there.ratio)
    assert (back.ratio_low, back.ratio_high) == pytest.approx((1 / there.ratio_high, 1 / there.ratio_low))
    assert back.baseline_value == pytest.approx(there.candidate_value)


def test_against_another_baseline_the_same_control_tells_about_the_machine():
    """Nobody ran JAX twice; what the machine can resolve is known all the same."""
    rows = Campaign(racers=(PYTORCH, JAX, NUMPY), **QUIET).rows()
    asked = [dataclasses.replace(row, baseline=JAX.entry) if isinstance(row, RunRow) else row for row in rows]
    finding = found(asked)[NUMPY.entry, "train"]

    assert finding.verdict is Verdict.SLOWER
    assert finding.floor_ratio == pytest.approx(found(rows)[NUMPY.entry, "train"].floor_ratio)


def test_two_baselines_of_one_cell_are_two_comparisons():
    """A suite may compare the same cell from two sides."""
    first = Campaign(heats=2).rows()
    second = [
        dataclasses.replace(
            row,
            run_id=f"other-{row.run_id}",
            **({"heat_id": f"other-{row.heat_id}"} if isinstance(row, RunRow) else {}),
        )
        for row in Campaign(racers=(JAX, NUMPY), heats=2).rows()
        if hasattr(row, "run_id")
    ]
    frames = frames_of([*first, *second])
    findings = find_all(frames.runs, frames.epochs, frames.unavailable, frames.gates)

    assert [(f.candidate, f.baseline) for f in findings if f.clock == "train"] == [
        (JAX.entry, PYTORCH.entry),
        (NUMPY.entry, JAX.entry),
    ]


def test_a_racer_with_the_truth_of_its_baseline_is_a_dead_heat():
    """Equal programs on a quiet machine."""
    twin = Racer(runner="python_twin", framework="Twin")
    finding = found(Campaign(racers=(PYTORCH, twin), **QUIET).rows())[twin.entry, "train"]

    assert finding.verdict is Verdict.DEAD_HEAT
    assert finding.reason == ""


def test_a_noisy_machine_is_told_it_cannot_resolve_the_margin():
    """15 % noise per run: a twin is undecided, never a dead heat."""
    twin = Racer(runner="python_twin", framework="Twin")
    finding = found(Campaign(racers=(PYTORCH, twin), run_deviation=0.15).rows())[twin.entry, "train"]

    assert finding.verdict is Verdict.UNDECIDED
    assert finding.reason.startswith("this machine cannot resolve 3 %")
    assert finding.floor_ratio > 1.03
