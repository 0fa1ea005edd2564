"""A campaign from suite to store with the fake runner: exact, resumable, and honest about every failure."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter

import pytest

from collector.campaign import read_campaigns
from collector.collect import CollectError, collect
from collector.executors.local import LocalExecutor
from collector.launch import InterruptedCollectionError, launch_run
from collector.matrix import Group, Suite
from collector.setting import Setting
from store.database import Store


class Silent:
    """A reporter that keeps what it is told."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def tell(self, text: str) -> None:
        self.lines.append(text)

    def begin(self, campaign, due) -> None:
        pass

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


def suite(*variants: str, heats: int = 2, workload: str = "mnist_mlp", **settings: object) -> Suite:
    runners = ["fake", *(f"fake:{variant}" for variant in variants)]
    group = Group(workloads=[workload], runners=runners, baseline="fake", heats=heats)
    return Suite(name="test", description="d", seed=1, timeout_s=20.0, group=[group], **settings)


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
    assert "the loss is summed over the batch instead of averaged" in reason
    assert ("summed_loss", "completed") not in statuses(fresh_store)
    failed = fresh_store.query("select distinct variant from latest_gates where not passed")
    assert failed["variant"].tolist() == ["summed_loss"]


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


def test_the_steps_workload_needs_no_evaluation(fresh_store, fake_setting):
    """One pair covers the timed steps, and there is no accuracy."""
    collect(suite("slow", heats=1, workload="mnist_mlp_steps"), fresh_store, fake_setting, Silent())

    epochs = fresh_store.query("select epoch, examples, test_accuracy from epochs")
    assert set(map(tuple, epochs[["epoch", "examples"]].values)) == {(1.0, 1600.0)}
    assert epochs["test_accuracy"].isna().all()
