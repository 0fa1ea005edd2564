"""Events become phases, epochs and measurements whose numbers can be checked by hand."""

from __future__ import annotations

import dataclasses
import itertools
import json

import pytest

from collector.protocol.events import decode_events
from collector.run.normalise import (
    clock_fault,
    epoch_rows,
    infer_latencies_s,
    measurement_rows,
    phase_rows,
    target_row,
    timeline_of,
    work_fault,
)
from collector.telemetry import Reading
from store.records import EpochRow, RunRow
from tests.store.rows import row

S = 1_000_000_000


def events(pairs: int = 2):
    """Return a run that starts 0.5 s after the spawn, sets up for 1 s a phase, then trains 2 s and evaluates 1 s."""
    at, lines = 0, [{"kind": "run_start", "at_ns": 0, "unix_ns": 100 * S + S // 2, "pid": 1}]
    for kind in ("import_stop", "load_stop", "preprocess_stop", "build_stop", "compile_stop"):
        at += S
        lines.append({"kind": kind, "at_ns": at, **({"parameters": 7} if kind == "build_stop" else {})})
    for number in range(pairs):
        epoch = (number + 1) / 4
        lines.append({"kind": "epoch_start", "at_ns": at, "epoch": epoch})
        if number == 0:
            lines.append({"kind": "first_step_stop", "at_ns": at + S})
        stop = {"epoch": epoch, "examples": 10, "train_loss": 1.0, "data_wait_s": 0.25}
        lines.append({"kind": "epoch_stop", "at_ns": at + 2 * S, **stop})
        lines.append({"kind": "eval_start", "at_ns": at + 2 * S, "epoch": epoch})
        test = {"epoch": epoch, "examples": 4, "correct": 3, "loss": 0.5}
        at += 3 * S
        lines.append({"kind": "eval_stop", "at_ns": at, **test})
    lines.append({"kind": "run_stop", "at_ns": at})
    return decode_events("".join(json.dumps(line) + "\n" for line in lines))


def timeline(pairs: int = 2):
    return timeline_of(events(pairs), spawned_unix_ns=100 * S, spawned_ns=7 * S, ended_ns=20 * S)


def reading(at_s: float, cpu_s: float) -> Reading:
    ns = round((7 + at_s) * S)
    return Reading(at_ns=ns, source="process_tree", scope="run", quality="sampled", cpu_s=cpu_s, memory_bytes=5)


def test_phases_follow_each_other_from_spawn_to_the_end_of_the_process():
    """Their durations add up to the whole run, without gap or overlap."""
    rows = phase_rows("r", timeline(), [], 7 * S)

    assert [row.phase for row in rows] == [
        "startup", "import", "load", "preprocess", "build", "compile", "train", "eval", "train", "eval", "shutdown",
    ]  # fmt: skip
    assert [row.index for row in rows if row.phase == "train"] == [0, 1]
    assert sum(row.duration_s for row in rows) == pytest.approx(13.0)
    assert all(b.start_s == pytest.approx(a.start_s + a.duration_s) for a, b in itertools.pairwise(rows))


def test_what_a_runtime_finds_out_about_itself_belongs_to_the_end():
    """Between the last evaluation and run_stop no CPU second is nobody's."""
    *found, stop = events()
    late = [*found, stop.model_copy(update={"at_ns": stop.at_ns + S})]
    axis = timeline_of(late, spawned_unix_ns=100 * S, spawned_ns=7 * S, ended_ns=20 * S)
    readings = [dataclasses.replace(reading(i / 10, i / 10), quality="exact") for i in range(130)]

    rows = phase_rows("r", axis, readings, 7 * S, 13.0)

    assert (rows[-1].phase, rows[-1].start_s, rows[-1].duration_s) == ("shutdown", 11.5, 1.5)
    assert sum(row.cpu_s for row in rows) == pytest.approx(13.0)


def test_cpu_of_a_phase_is_read_off_the_curve():
    """One core busy throughout gives each phase its own length; a phase outside the readings has none."""
    readings = [reading(i / 10, i / 10) for i in range(60)]

    rows = {(row.phase, row.index): row.cpu_s for row in phase_rows("r", timeline(), readings, 7 * S)}
    assert rows["import", 0] == pytest.approx(1.0)
    assert phase_rows("r", timeline(), [], 7 * S)[0].cpu_s is None


def test_both_clocks_are_cumulative():
    """The train clock leaves evaluation out, the e2e clock counts everything since the spawn."""
    rows = epoch_rows("r", timeline())

    assert [(r.train_clock_s, r.e2e_clock_s) for r in rows] == [(2.0, 8.5), (4.0, 11.5)]
    assert [(r.epoch, r.test_accuracy, r.eval_s) for r in rows] == [(0.25, 0.75, 1.0), (0.5, 0.75, 1.0)]


def test_the_first_step_counts_from_the_spawn():
    """Startup, set-up and the step itself."""
    assert timeline().first_step_s == pytest.approx(6.5)


@pytest.mark.parametrize("worst_lateness_s", [0.005, 2.0])
def test_a_clock_that_agrees_is_trusted_however_late_some_events_are_seen(worst_lateness_s):
    """An overloaded collector sees some events late; that is not the runner's fault."""
    found = events(pairs=12)
    arrivals = [e.at_ns + (round(worst_lateness_s * S) if i % 3 else 0) for i, e in enumerate(found)]

    assert clock_fault(found, arrivals, 100 * S, -S // 2) == ""


@pytest.mark.parametrize(
    ("rate", "jump_s", "message"),
    [
        (1.0, 5.0, "the runner's clock left out 5.000 s"),
        (1.0, -0.5, "the runner's clock invented 0.500 s"),
        (1.005, 0.0, "clock runs 0.99"),
        (0.998, 0.0, "clock runs 1.00"),
    ],
)
def test_a_clock_that_lies_is_refused(rate, jump_s, message):
    """Time left out, time invented and a wrong rate are all seen, through lateness."""
    found = events(pairs=12)
    arrivals = [round(e.at_ns * rate + (jump_s * S if i > 20 else 0) + 0.01 * S * (i % 3)) for i, e in enumerate(found)]

    assert message in clock_fault(found, arrivals, 100 * S, -S // 2)


def test_a_first_event_that_a_busy_machine_saw_late_is_no_wrong_rate():
    """A slow import leaves it alone in the first third of the run: one lateness is no rate."""
    start, *others = events(pairs=1)
    found = [start, *(event.model_copy(update={"at_ns": event.at_ns + 8 * S}) for event in others)]
    arrivals = [event.at_ns + (S // 10 if number == 0 else 0) for number, event in enumerate(found)]

    assert clock_fault(found, arrivals, 100 * S, -S // 2) == ""


@pytest.mark.parametrize("told_s", [-2.0, 0.0, 3600.0])
def test_a_wall_clock_that_lies_is_refused(told_s):
    """The end-to-end clock rests on run_start's wall clock, so it is held against the collector's own."""
    found = events(pairs=12)
    start = found[0].model_copy(update={"unix_ns": round((100 + told_s) * S)})

    assert "run_start.unix_ns" in clock_fault([start, *found[1:]], [e.at_ns for e in found], 100 * S, -S // 2)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("examples", 21, "training examples: got 20; expected 21"),
        ("epochs", [0.25, 0.5, 0.75], "epoch pairs: got 2; expected 3"),
        (
            "epochs",
            [0.5, 1.0],
            "positions of the epoch pairs: got [0.25, 0.25, 0.5, 0.5]; expected [0.5",
        ),
        ("evaluations", 4, "evaluations: got 2; expected 4"),
        ("parameters", 8, "trainable parameters: got 7; expected 8"),
        ("test_examples", 5, "examples of an evaluation: got 4; expected 5"),
    ],
)
def test_other_work_than_planned_is_refused(field, value, message):
    """A runner that does less cannot be fast."""
    planned = {"examples": 20, "epochs": [0.25, 0.5], "evaluations": 2, "parameters": 7, "test_examples": 4}

    assert work_fault(events(), **planned) == ""
    assert message in work_fault(events(), **{**planned, field: value})


def test_the_target_is_met_at_the_first_of_two_evaluations_in_a_row():
    """One lucky evaluation is not enough, and the last one has nothing to confirm it."""

    def rows(*accuracies: float) -> list[EpochRow]:
        fields = {"run_id": "r", "train_s": 1.0, "data_wait_s": 0.0, "eval_s": 1.0, "train_loss": 1.0, "test_loss": 1.0}
        times = {"train_clock_s": 1.0, "e2e_clock_s": 1.0, "examples": 1}
        return [EpochRow(epoch=i, test_accuracy=a, **fields, **times) for i, a in enumerate(accuracies, start=1)]

    assert target_row(rows(0.9, 0.97, 0.9, 0.96, 0.98), 0.96).epoch == 4
    assert target_row(rows(0.9, 0.97, 0.9, 0.97), 0.96) is None
    assert target_row([], 0.96) is None


def inference(passes: int = 4):
    """Return a run in mode infer: passes of 1, 2, 3 … s one by one, then all of them in 2 s."""
    at, lines = 0, [{"kind": "run_start", "at_ns": 0, "unix_ns": 100 * S, "pid": 1}]
    lines += [{"kind": kind, "at_ns": 0} for kind in ("import_stop", "load_stop", "preprocess_stop")]
    lines += [{"kind": "build_stop", "at_ns": 0, "parameters": 7}, {"kind": "compile_stop", "at_ns": 0}]
    lines.append({"kind": "epoch_start", "at_ns": 0, "epoch": 1.0})
    for number in range(1, passes + 1):
        at += number * S
        lines += [{"kind": "first_step_stop", "at_ns": at}] * (number == 1)
        lines.append({"kind": "chunk_stop", "at_ns": at, "steps": number})
    told = {"examples": 8 * passes, "data_wait_s": 0.0}
    lines.append({"kind": "epoch_stop", "at_ns": at, "epoch": 1.0, **told})
    lines.append({"kind": "epoch_start", "at_ns": at, "epoch": 2.0})
    lines.append({"kind": "chunk_stop", "at_ns": at + 2 * S, "steps": passes})
    lines.append({"kind": "epoch_stop", "at_ns": at + 2 * S, "epoch": 2.0, **told})
    lines.append({"kind": "run_stop", "at_ns": at + 2 * S})
    return decode_events("".join(json.dumps(line) + "\n" for line in lines))


def test_latencies_are_the_passes_of_the_first_pair():
    """The first pass counts too; the second pair is no latency."""
    assert infer_latencies_s(inference()) == [1.0, 2.0, 3.0, 4.0]
    assert infer_latencies_s(inference()[:6]) == []


def test_inference_becomes_latencies_and_throughput():
    """The median of 1, 2, 3, 4 s, and 32 examples in 2 s; nothing of training."""
    line = timeline_of(inference(), spawned_unix_ns=100 * S, spawned_ns=0, ended_ns=20 * S)
    epochs = epoch_rows("r", line)
    rows = measurement_rows(row(RunRow, mode="infer"), [], epochs, latencies_s=infer_latencies_s(line.events))
    values = {r.metric: r.value for r in rows}

    assert values["infer_latency_p50_s"] == 2.5
    assert values["infer_latency_p95_s"] == pytest.approx(3.85)
    assert values["infer_examples_per_s"] == 16.0
    assert [epoch.train_loss for epoch in epochs] == [None, None]
    assert not {"examples_per_s", "limit_ratio", "final_test_accuracy"} & set(values)


PREDICTING = {"examples": 64, "epochs": (1.0, 2.0), "evaluations": 0, "parameters": 7, "test_examples": 4}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"latencies": 4}, ""),
        ({"latencies": 5}, "synchronised forward passes: got 4; expected 5"),
        ({"latencies": 4, "examples": 32}, "training examples: got 64; expected 32"),
        ({}, "training losses: got 0; expected 2"),
    ],
)
def test_inference_must_be_what_was_planned(changes, message):
    """Every pass synchronised once, no loss, every example twice."""
    found = work_fault(inference(), **{**PREDICTING, **changes})

    assert found == "" if not message else message in found


def test_the_window_that_a_study_timed_is_the_sum_of_its_phases():
    """Compilation and training, say; only of a run that completed."""
    phases = phase_rows("r", timeline(), [], 7 * S)
    window = {"published_phases": ("compile", "train")}
    complete, crashed = (
        {r.metric: r.value for r in measurement_rows(row(RunRow, status=status), phases, [], **window)}
        for status in ("completed", "crashed")
    )

    assert complete["published_window_s"] == pytest.approx(1 + 2 + 2)
    assert "published_window_s" not in crashed


def test_the_share_of_the_machine_s_limit():
    """600 operations in 2 s on a machine that does 1000 a second: 30 %."""
    epochs = epoch_rows("r", timeline(1))
    run = row(RunRow, mode="train", loader="stream", train_flops=600.0, train_clock_s=2.0, machine_flops_per_s=1000.0)
    values = {r.metric: r.value for r in measurement_rows(run, [], epochs)}

    assert values["limit_ratio"] == pytest.approx(0.3)
    assert values["data_wait_s"] == 0.25
