"""A campaign from suite to store with the fake runner: exact, resumable, and honest about every failure."""

from __future__ import annotations

import dataclasses
import json
import shutil
import time
from collections import Counter

import pytest

from collector.campaign.campaign import read_campaigns
from collector.campaign.collect import CollectError, collect
from collector.campaign.context import Setting
from collector.plan.axes import Axes
from collector.plan.matrix import Group, Suite
from collector.plan.runner import RUNNERS
from collector.plan.workload import WORKLOADS
from collector.run.launch import InterruptedCollectionError, launch_run
from collector.run.local_executor import LocalExecutor
from collector.telemetry import Reading
from store.database import Store
from tests.conftest import TRAIN_EXAMPLES

STEPS = {"mode": "steps", "steps": 50, "axes": Axes(batch_size=[32])}
PUBLISHED = """
[published]
study = "a study"
place = "its table"
timed_phases = ["train", "eval"]
"""


class Silent:
    """A reporter that keeps what it is told."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def tell(self, text: str) -> None:
        self.lines.append(text)

    def begin(self, campaign, due) -> None:
        pass

    def repeat(self, heat) -> None:
        self.lines.append(f"{heat.name}: again")

    def begin_run(self, heat, trial) -> None:
        pass

    def end_run(self, heat, trial, run) -> None:
        pass


class InterruptingExecutor(LocalExecutor):
    """Behaves as if the user pressed Ctrl-C during the n-th run that is timed."""

    def __init__(self, at: int) -> None:
        super().__init__()
        self.left = at

    def execute(self, launches):
        for launch in launches:
            ending = launch_run(launch)
            if "/gates/" not in str(launch.folder):
                self.left -= 1
            if self.left == 0:
                ending = dataclasses.replace(ending, status="interrupted")
                (launch.folder / "launch.json").write_text(json.dumps(dataclasses.asdict(ending)))
            yield ending


class DisturbedExecutor(LocalExecutor):
    """Behaves as if runs had begun 10 s earlier, and others had used a CPU for 5 s beside the first few of them."""

    def __init__(self, disturbed: int) -> None:
        super().__init__()
        self.left = disturbed

    def execute(self, launches):
        for launch in launches:
            ending = launch_run(launch)
            if "/gates/" not in str(launch.folder):
                ending = dataclasses.replace(
                    ending,
                    spawned_ns=ending.spawned_ns - 10_000_000_000,
                    spawned_unix_ns=ending.spawned_unix_ns - 10_000_000_000,
                )
                (launch.folder / "launch.json").write_text(json.dumps(dataclasses.asdict(ending)))
                plant_readings(launch.folder / "telemetry.jsonl", ending, foreign_s=5.0 if self.left > 0 else 0.0)
                self.left -= 1
            yield ending


def plant_readings(file, ending, foreign_s: float) -> None:
    """Write the first and the last reading of a machine on which the run used half a second."""
    used = {"machine": 0.5 + foreign_s, "run": 0.5, "collector": 0.0}
    readings = [
        Reading(at_ns=at_ns, source="cgroup_v2", scope=scope, quality="exact", cpu_s=part * cpu_s)
        for part, at_ns in enumerate((ending.spawned_ns, ending.ended_ns))
        for scope, cpu_s in used.items()
    ]
    file.write_text("".join(json.dumps(dataclasses.asdict(reading)) + "\n" for reading in readings))


def suite(*variants: str, heats: int = 2, group: dict | None = None, **settings: object) -> Suite:
    runners = ["fake", *(f"fake:{variant}" for variant in variants)]
    asked = {"workloads": ["mnist_mlp"], "runners": runners, "baseline": "fake", "heats": heats} | (group or {})
    return Suite(name="test", description="d", seed=1, timeout_s=20.0, group=[Group(**asked)], **settings)


def statuses(store: Store) -> Counter:
    frame = store.query("select variant, status from runs")
    return Counter(zip(frame["variant"], frame["status"], strict=True))


def completed_trials(store: Store) -> set[str]:
    return set(store.query("select trial_id from counted_runs where status = 'completed'")["trial_id"])


def test_known_durations_come_back_exactly(fresh_store, fake_setting):
    """The suite measures itself: what the fake says it took is what the store says, to the nanosecond."""
    collect(suite("slow"), fresh_store, fake_setting, Silent())

    clocks = fresh_store.query("select distinct variant, train_clock_s from runs order by variant")
    assert clocks.values.tolist() == [
        ["exact", pytest.approx(0.072, abs=1e-12)],
        ["slow", pytest.approx(0.144, abs=1e-12)],
    ]
    phases = fresh_store.query(
        "select phase, sum(duration_s) / count(distinct run_id) as s from phases join runs using (run_id) "
        "where variant = 'exact' and phase not in ('startup', 'shutdown') group by phase"
    )
    assert dict(zip(phases["phase"], phases["s"].round(9), strict=True)) == {
        "import": 0.001, "load": 0.002, "preprocess": 0.003, "build": 0.004, "compile": 0.005,
        "train": 0.072, "eval": 0.024,
    }  # fmt: skip


def test_every_heat_has_the_baseline_twice(fresh_store, fake_setting):
    """The second is the control, and is marked."""
    collect(suite("slow"), fresh_store, fake_setting, Silent())

    frame = fresh_store.query("select heat_id, variant, control, count(*) as n from runs group by all")
    assert set(map(tuple, frame[["variant", "control", "n"]].values)) == {
        ("exact", False, 1), ("exact", True, 1), ("slow", False, 1),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("variant", "status", "message"),
    [
        ("crash", "crashed", "exit code 3"),
        ("killed", "crashed", "killed by SIGSEGV"),
        ("out_of_memory", "out_of_memory", "used up all memory"),
        ("diverge", "diverged", "not finite in epoch 0.25"),
        ("unsupported", "unsupported", "declines"),
        ("silent", "bad_events", "was not written"),
        ("half_line", "bad_events", "is cut off"),
        ("nan", "bad_events", "expected a finite number"),
        ("unknown_kind", "bad_events", "unknown kind"),
        ("out_of_order", "bad_events", "eval_start after compile_stop"),
        ("lying_clock", "bad_events", "by the collector's"),
        ("no_loss", "bad_events", "training losses: got 0; expected 12"),
        ("less_work", "bad_events", "training examples"),
        ("no_evaluation", "bad_events", "evaluations: got 0; expected 12"),
        ("zero_examples", "bad_events", "examples: got 0"),
        ("lying_start", "bad_events", "run_start.unix_ns is 3600"),
    ],
)
def test_a_failed_run_is_a_row_and_the_heat_goes_on(fresh_store, fake_setting, variant, status, message):
    """The others complete; the reason is stored; the raw files are kept."""
    collect(suite(variant, heats=1, heat_attempts=1), fresh_store, fake_setting, Silent())

    assert statuses(fresh_store) == {("exact", "completed"): 2, (variant, status): 1}
    row = fresh_store.query("select * from runs where variant = ?", [variant]).iloc[0]
    assert message in row["message"]
    assert (fresh_store.raw_folder(row["campaign_id"], row["run_id"]) / "log.txt").exists()


def test_a_run_that_hangs_is_timed_out(fresh_store, fake_setting):
    """The suite's limit holds for each run."""
    limited = suite("hang", heats=1, heat_attempts=1).model_copy(update={"timeout_s": 2.0})
    collect(limited, fresh_store, fake_setting, Silent())

    assert statuses(fresh_store)["hang", "timed_out"] == 1


def test_a_voided_heat_is_repeated_whole_and_both_are_kept(fresh_store, fake_setting):
    """A crash voids its heat for pairing; the repetition counts."""
    collect(suite("crash_once", heats=1), fresh_store, fake_setting, Silent())

    assert statuses(fresh_store) == {
        ("exact", "completed"): 4, ("crash_once", "crashed"): 1, ("crash_once", "completed"): 1,
    }  # fmt: skip
    counted = fresh_store.query("select distinct heat_attempt from counted_runs")
    assert counted["heat_attempt"].tolist() == [2]


def test_an_entry_that_fails_the_gate_is_not_timed(fresh_store, fake_setting):
    """The failure names part, quantity, both values and the cause; it is stored as a gate row."""
    summary = collect(suite("slow", "summed_loss"), fresh_store, fake_setting, Silent())

    (reason,) = summary.left_out.values()
    assert "gate part A: losses (a.losses) differs: found" in reason
    assert "loss summed over the batch instead of averaged" in reason
    assert ("summed_loss", "completed") not in statuses(fresh_store)
    failed = fresh_store.query("select distinct variant from latest_gates where not passed")
    assert failed["variant"].tolist() == ["summed_loss"]


def test_what_was_known_runs_once_more_where_nothing_of_it_ran_since_boot(fresh_store, fake_setting, monkeypatch):
    """The run fills the page cache, which the e2e clock takes for granted; its result is discarded."""

    def discarded() -> list[str]:
        reporter = Silent()
        collect(suite("slow", heats=1), fresh_store, fake_setting, reporter)
        return [line for line in reporter.lines if line.startswith("discarded run")]

    assert discarded() == []  # the gate was run just now
    assert discarded() == []  # known, and run since boot
    monkeypatch.setattr("psutil.boot_time", time.time)
    assert [line.partition(":")[0] for line in discarded()] == ["discarded run 1 of 2", "discarded run 2 of 2"]
    assert statuses(fresh_store) == {("exact", "completed"): 6, ("slow", "completed"): 3}


def test_nothing_to_compare_is_refused(fresh_store, fake_setting):
    """A rival that fails the gate leaves the baseline alone."""
    with pytest.raises(CollectError, match=r"nothing can be compared(?s:.*)summed_loss"):
        collect(suite("summed_loss"), fresh_store, fake_setting, Silent())

    assert fresh_store.query("select distinct variant from gates order by 1")["variant"].tolist() == [
        "exact", "summed_loss",
    ]  # fmt: skip


def test_an_unavailable_runner_is_one_row_with_the_remedy(fresh_store, small_data, tmp_path):
    """The heat goes on without it."""
    runners = tmp_path / "runners"
    for name in ("fake", "absent"):
        (runners / name).mkdir(parents=True)
    source = Setting(executor=LocalExecutor(), data=lambda _: small_data).runners / "fake"
    for file in ("run.py", "runner.toml"):
        (runners / "fake" / file).write_text((source / file).read_text())
    text = (source / "runner.toml").read_text().replace('name = "fake"', 'name = "absent"')
    text = text.replace('"{python}"', '"/no/such/interpreter"').replace("nothing is needed", "install it by hand")
    (runners / "absent" / "runner.toml").write_text(text)
    setting = Setting(executor=LocalExecutor(), data=lambda _: small_data, runners=runners)
    group = Group(workloads=["mnist_mlp"], runners=["fake", "fake:slow", "absent"], baseline="fake", heats=1)
    collect(Suite(name="test", description="d", seed=1, group=[group]), fresh_store, setting, Silent())

    rows = fresh_store.query("select runner, message from runs where status = 'unavailable'")
    assert rows["runner"].tolist() == ["absent"]
    assert "To install it: install it by hand" in rows["message"][0]
    assert statuses(fresh_store)["exact", "completed"] == 2


def test_a_finished_campaign_is_followed_by_a_new_one_unless_once(fresh_store, fake_setting):
    """Running the same suite again is a replication, not a continuation."""
    for once, number in ((False, 1), (True, 1), (False, 2)):
        summary = collect(suite("slow", heats=1), fresh_store, fake_setting, Silent(), once=once)
        assert summary.campaign_id.endswith(f"-{number}")

    assert len(read_campaigns(fresh_store)) == 2
    assert fresh_store.query("select count(*) as n from counted_runs")["n"][0] == 6


@pytest.mark.parametrize("at", [1, 2, 3, 4, 6])
def test_an_interrupted_campaign_ends_like_an_undisturbed_one(fresh_store, fake_setting, tmp_path, at):
    """Wherever it is interrupted, the same call completes the same trials in the same campaign."""
    interrupting = dataclasses.replace(fake_setting, executor=InterruptingExecutor(at))
    with pytest.raises(InterruptedCollectionError):
        collect(suite("slow"), fresh_store, interrupting, Silent())
    collect(suite("slow"), fresh_store, fake_setting, Silent())

    undisturbed = Store(tmp_path / "undisturbed")
    collect(suite("slow"), undisturbed, fake_setting, Silent())
    assert completed_trials(fresh_store) == completed_trials(undisturbed)
    assert len(read_campaigns(fresh_store)) == 1
    assert fresh_store.check() == []


def test_the_raw_files_hold_what_the_row_says(fresh_store, fake_setting):
    """Records can always be rebuilt: plan, trial, events, telemetry, ending and log are kept."""
    collect(suite("slow", heats=1), fresh_store, fake_setting, Silent())

    row = fresh_store.query("select * from runs limit 1").iloc[0]
    folder = fresh_store.raw_folder(row["campaign_id"], row["run_id"])
    names = {"run.json", "trial.json", "events.jsonl", "telemetry.jsonl", "launch.json", "log.txt"}
    assert {path.name for path in folder.iterdir()} == names
    assert json.loads((folder / "run.json").read_text())["run_id"] == row["run_id"]


def test_mode_steps_needs_no_evaluation(fresh_store, fake_setting):
    """One pair covers the timed steps, and there is no accuracy."""
    collect(suite("slow", heats=1, group=STEPS), fresh_store, fake_setting, Silent())

    epochs = fresh_store.query("select epoch, examples, test_accuracy from epochs")
    assert set(map(tuple, epochs[["epoch", "examples"]].values)) == {(1.0, 1600.0)}
    assert epochs["test_accuracy"].isna().all()


def test_mode_infer_tells_latency_and_throughput(fresh_store, fake_setting):
    """Twenty passes one by one, 50 microseconds each but for the first, and twenty more in six milliseconds."""
    asked = {"mode": "infer", "steps": 20, "axes": Axes(batch_size=[32])}
    collect(suite("slow", heats=1, group=asked), fresh_store, fake_setting, Silent())

    found = measured(fresh_store, "exact")
    assert found["infer_latency_p50_s"] == pytest.approx(50e-6)
    assert found["infer_latency_p95_s"] == pytest.approx(97.5e-6)
    assert found["infer_examples_per_s"] == pytest.approx(20 * 32 / 0.006)
    assert "limit_ratio" not in found
    epochs = fresh_store.query(
        "select epoch, examples, train_loss from epochs join runs using (run_id) where control order by epoch"
    )
    assert epochs.fillna(-1).values.tolist() == [[1.0, 640.0, -1.0], [2.0, 640.0, -1.0]]
    assert fresh_store.check() == []


def test_the_framework_s_own_loader_makes_a_run_open(fresh_store, fake_setting):
    """What it waited for is a measurement; axes and optimizer are columns."""
    asked = {"axes": Axes(loader=["stream"], loader_workers=[2], optimizer=["sgd"], learning_rate=[0.2], epochs=[1])}
    collect(suite("slow", heats=1, group=asked), fresh_store, fake_setting, Silent())

    run = fresh_store.query("select * from runs where control").iloc[0]
    assert (run["track"], run["loader"], run["loader_workers"], run["epochs"]) == ("open", "stream", 2, 1)
    assert (run["optimizer"], run["learning_rate"], run["weight_decay"]) == ("sgd", 0.2, 0.0)
    assert measured(fresh_store, "slow")["data_wait_s"] == pytest.approx(4 * 0.002)


def test_what_cannot_be_run_is_a_row_with_its_reason(fresh_store, fake_setting):
    """Workers of a resident loader, a loader that an entry lacks: nothing is started, and the rest is run."""
    asked = {"axes": Axes(loader=["resident", "stream"], loader_workers=[0, 2], epochs=[1])}
    summary = collect(suite("resident", heats=1, group=asked), fresh_store, fake_setting, Silent())

    rows = fresh_store.query("select variant, loader, loader_workers, message from runs where status = 'unsupported'")
    assert sorted(map(tuple, rows[["variant", "loader", "loader_workers"]].values)) == [
        ("exact", "resident", 2), ("resident", "resident", 2), ("resident", "stream", 0), ("resident", "stream", 2),
    ]  # fmt: skip
    assert set(rows["message"]) == {
        "the resident loader has no workers; 2 were asked for",
        "fake:resident does not support the loader 'stream'; it supports resident",
    }
    assert (summary.failed, summary.statuses) == (0, {"completed": 3 + 2 + 2})


def test_a_runner_that_declines_in_the_gate_is_a_row_and_no_failure(fresh_store, fake_setting):
    """What is not there on this machine is neither wrong nor crashed; the others go on."""
    summary = collect(suite("slow", "declines_gate", heats=1), fresh_store, fake_setting, Silent())

    assert (summary.refused, summary.failed) == (0, 0)
    assert statuses(fresh_store) == {
        ("exact", "completed"): 2, ("slow", "completed"): 1, ("declines_gate", "unsupported"): 1,
    }  # fmt: skip
    row = fresh_store.query("select message, heat_id from runs where status = 'unsupported'").iloc[0]
    assert tuple(row) == ("the fake lacks the device", "")


def test_a_published_recipe_is_neither_gated_nor_closed(fresh_store, fake_setting, tmp_path):
    """It is timed as the study timed it: here training and evaluation alone."""
    text = (WORKLOADS / "mnist_mlp.toml").read_text()
    (tmp_path / "mnist_mlp.toml").write_text(text + PUBLISHED)
    setting = dataclasses.replace(fake_setting, workloads=tmp_path)
    collect(suite("summed_loss", heats=1), fresh_store, setting, Silent())

    runs = fresh_store.query("select distinct track, gate_passed is null as ungated, status from runs")
    assert runs.values.tolist() == [["published", True, "completed"]]
    assert fresh_store.query("select * from gates").empty
    assert measured(fresh_store, "exact")["published_window_s"] == pytest.approx(0.072 + 0.024)


def test_the_machine_s_limit_stands_beside_every_run_of_a_heat(fresh_store, fake_setting, tmp_path):
    """Operations per second of the run, as a share of what the machine's best matrix product does."""
    runners = tmp_path / "runners"
    shutil.copytree(RUNNERS / "fake", runners / "fake")
    definition = runners / "fake" / "runner.toml"
    definition.write_text(definition.read_text().replace('class = "test"', 'class = "baseline"'))
    asked = []
    setting = dataclasses.replace(fake_setting, runners=runners, limit=lambda *a: asked.append(a) or 1e12)
    collect(suite("slow"), fresh_store, setting, Silent())

    trained = 3 * TRAIN_EXAMPLES * 2 * (3 * (784 * 128 + 128 * 10) - 784 * 128)
    assert [(device, threads, len(cores)) for device, threads, cores in asked] == [("cpu", 1, 1)] * 2
    assert fresh_store.query("select distinct train_flops, machine_flops_per_s from runs").values.tolist() == [
        [trained, 1e12]
    ]
    assert measured(fresh_store, "slow")["limit_ratio"] == pytest.approx(trained / 0.144 / 1e12)


def measured(store: Store, variant: str) -> dict[str, float]:
    frame = store.query("select metric, value from measurements join runs using (run_id) where variant = ?", [variant])
    return dict(zip(frame["metric"], frame["value"], strict=True))


def test_a_contaminated_run_voids_its_heat_which_is_repeated_whole(fresh_store, fake_setting):
    """Both attempts are kept; only the calm one counts."""
    setting, listener = dataclasses.replace(fake_setting, executor=DisturbedExecutor(disturbed=1)), Silent()

    collect(suite("slow", heats=1), fresh_store, setting, listener)

    runs = fresh_store.query("select heat_attempt, contaminated, contamination, status from runs order by started_at")
    assert runs["heat_attempt"].tolist() == [1, 1, 1, 2, 2, 2]
    assert runs["contaminated"].tolist() == [True, False, False, False, False, False]
    assert runs["contamination"][0].startswith("other programs used 5.0 CPU s of ")
    assert set(runs["status"]) == {"completed"}
    assert not fresh_store.query("select contaminated from counted_runs")["contaminated"].any()
    assert sum(line.endswith(": again") for line in listener.lines) == 1


def test_a_machine_that_is_never_calm_finishes_its_campaign(fresh_store, fake_setting):
    """After the last attempt the heat stays as it is, contaminated and shown; the same command does nothing more."""
    setting = dataclasses.replace(fake_setting, executor=DisturbedExecutor(disturbed=99))

    collect(suite("slow", heats=1, heat_attempts=2), fresh_store, setting, Silent())
    again = collect(suite("slow", heats=1, heat_attempts=2), fresh_store, setting, Silent(), once=True)

    counted = fresh_store.query("select heat_attempt, contaminated from counted_runs")
    assert counted.values.tolist() == [[2, True]] * 3
    assert again.already_finished


def test_every_heat_waits_for_what_it_is_told_to_wait_for(fresh_store, fake_setting):
    """Once before each heat, repeated ones included."""
    waits = []
    setting = dataclasses.replace(fake_setting, before_heat=waits.append, executor=DisturbedExecutor(disturbed=1))

    collect(suite("slow", heats=2), fresh_store, setting, Silent())

    assert len(waits) == 3


def test_every_run_is_read_as_often_as_was_asked_for(fresh_store, fake_setting):
    """A hundred times a second instead of ten."""
    seen = []

    class Noting(LocalExecutor):
        def execute(self, launches):
            seen.extend(launch.period_s for launch in launches)
            return super().execute(launches)

    collect(suite(heats=1), fresh_store, dataclasses.replace(fake_setting, period_s=0.01, executor=Noting()), Silent())

    assert seen[-2:] == [0.01, 0.01]
