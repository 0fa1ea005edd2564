"""The command as a person runs it: a suite to the end, interruptions, wrong input, what the store then holds."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import duckdb
import pytest

from store.database import Store

DEADHEAT = [str(Path(sys.executable).parent / "deadheat")]
FAKES = ["--runner", "fake,fake:slow", "--workload", "mnist_mlp", "--heats", "3"]


class Here:
    """Runs the command with a store, a lock and a working folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = folder / "results"  # the default, relative to where the command is run
        self.environment = {**os.environ, "DEADHEAT_LOCK": str(folder / "lock")}
        self.environment.pop("DEADHEAT_STORE", None)

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [*DEADHEAT, *arguments],
            env=self.environment,
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str) -> tuple[int, str, str]:
        process = self.start(*arguments)
        out, err = process.communicate(timeout=240)
        return process.returncode, out, err

    def completed_trials(self) -> set[str]:
        frame = Store(self.store).query("select trial_id from counted_runs where status = 'completed'")
        return set(frame["trial_id"])


@pytest.fixture
def here(tmp_path: Path) -> Here:
    """Return a place to run the command in."""
    return Here(tmp_path)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Here:
    """Return a place where the fakes have run to the end, three heats of three runs."""
    place = Here(tmp_path_factory.mktemp("undisturbed"))
    code, out, err = place.run("run", *FAKES)
    assert (code, err) == (0, ""), out + err
    return place


def test_a_suite_runs_to_the_end_and_says_what_comes_next(undisturbed):
    """Every run is in the store, and running it once more with --once does nothing."""
    code, out, _ = undisturbed.run("run", *FAKES, "--once")

    assert code == 0
    assert "already measured in this environment" in out
    assert len(undisturbed.completed_trials()) == 9


def test_sql_and_duckdb_agree(undisturbed):
    """The same question to the command and to DuckDB on the same files."""
    question = "select runner, variant, count(*) as n from runs group by 1, 2 order by 1, 2"
    code, out, _ = undisturbed.run("sql", question, "--format", "json")
    rows = [tuple(row.values()) for row in json.loads(out)]

    files = f"{undisturbed.store}/records/runs/*/*.parquet"
    direct = duckdb.connect().execute(question.replace("from runs", f"from read_parquet('{files}')")).fetchall()
    assert code == 0
    assert rows == direct == [("fake", "exact", 6), ("fake", "slow", 3)]


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_ctrl_c_is_clean_and_the_same_command_goes_on(here, undisturbed, sign):
    """Exit code 130, one sentence, no traceback; then the missing heats and nothing else. So is a request to end."""
    process = here.start("run", *FAKES)
    wait_for_runs(here, 4)
    process.send_signal(sign)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert err.startswith("interrupted; what was complete is stored")
    assert "Traceback" not in err

    code, out, err = here.run("run", *FAKES)
    assert code == 0, out + err
    assert "2 of 3 heats to run" in out
    assert here.completed_trials() == undisturbed.completed_trials()


@pytest.mark.parametrize("delay_s", [0.0, 0.1, 0.25, 0.4])
def test_ctrl_c_while_gating_is_as_clean(here, delay_s):
    """Wherever it strikes, also between two processes: one sentence, no gate result that was not measured."""
    process = here.start("run", *FAKES)
    wait_for((here.store / "gates").exists)
    time.sleep(delay_s)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)

    assert (process.returncode, err.startswith("interrupted;")) == (130, True), err
    assert Store(here.store).query("select * from gates where not passed").empty


@pytest.mark.parametrize("seed", range(3))
def test_kill_9_at_any_moment_loses_nothing(here, undisturbed, seed):
    """Killed again and again at random moments, it ends with the same completed trials and no half-written file."""
    generator = random.Random(seed)
    for _ in range(3):
        process = here.start("run", *FAKES)
        time.sleep(generator.uniform(0.5, 5.0))
        process.kill()
        process.communicate()
        Store(here.store).query("select count(*) from runs join epochs using (run_id)")
    code, out, err = here.run("run", *FAKES, "--once")

    assert code == 0, out + err
    assert here.completed_trials() == undisturbed.completed_trials()
    assert Store(here.store).check() == []


def test_two_collections_never_disturb_each_other(here):
    """The second is told who is at work, and ends with 2."""
    first = here.start("run", *FAKES[:-1], "200")  # longer than the second takes to start on a busy machine
    wait_for_runs(here, 1)
    code, _, err = here.run("run", *FAKES)
    first.kill()
    first.communicate()

    assert code == 2
    assert "is held by process" in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "demmo"], "'demmo' is not a known suite; known: blog, demo"),
        (["run"], "no suite was named"),
        (["run", "demo", "--batch-size", "32"], "suite demo: --batch-size cannot be given too"),
        (["run", *FAKES, "--batch-size", "32,many"], "axes.batch_size.1: got 'many'"),
        (["run", *FAKES, "--dtype", "bf16"], "fake:exact does not support the dtype 'bf16'"),
        (["run", *FAKES, "--loader-workers", "2"], "the resident loader has no workers; 2 were asked for"),
        (["run", "--runner", "python_pytroch", "--workload", "mnist_mlp"], "Did you mean 'python_pytorch'?"),
        (["run", "--runner", "fake:fast", "--workload", "mnist_mlp"], "'fast' is not a known variant of fake"),
        (["run", "--runner", "fake", "--workload", "imagenet"], "'imagenet' is not a known workload"),
        (["gate"], "nothing was chosen"),
        (["data", "fetch", "mnits"], "'mnits'"),
        (["show", "absent"], "absent"),
        (["sql", "drop table runs"], "SELECT"),
        (["sql", "select nothing from runs"], "nothing"),
    ],
)
def test_wrong_input_is_one_clear_message(here, arguments, message):
    """Exit code 2, what was wrong, no traceback, nothing made."""
    code, out, err = here.run(*arguments)

    assert code == 2, out + err
    assert message in err
    assert "Traceback" not in out + err


def test_a_missing_data_set_says_how_to_get_it(here):
    """The command that repairs it is in the message."""
    here.environment["DEADHEAT_CACHE"] = str(here.folder / "empty")
    code, _, err = here.run("run", *FAKES)

    assert code == 2
    assert "deadheat data fetch mnist" in err


def test_a_store_of_a_newer_version_is_refused_and_untouched(here):
    """Nothing is read wrongly and nothing is overwritten."""
    here.store.mkdir()
    text = '{"schema_version": 999}\n'
    (here.store / "store.json").write_text(text)
    for arguments in (["run", *FAKES], ["runs"], ["sql", "select 1"], ["site"]):
        code, _, err = here.run(*arguments)
        assert code == 2, arguments
        assert "999" in err

    assert (here.store / "store.json").read_text() == text
    assert [path.name for path in here.store.iterdir()] == ["store.json"]


def test_a_full_disk_ends_with_a_sentence_and_loses_nothing(here):
    """What was complete before the disk was full is there afterwards, and the same command goes on."""
    if os.geteuid() != 0 or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=9m", "none", mount_point(here)],
                                           check=False, capture_output=True).returncode != 0:  # fmt: skip
        pytest.skip("mounting a small tmpfs is not permitted here")
    try:
        code, out, err = here.run("run", *FAKES)
        assert code == 2, out + err
        assert "Traceback" not in err
        assert "disk is full" in err or "could not be stored" in err
        subprocess.run(["mount", "-o", "remount,size=200m", str(here.store)], check=True)
        code, out, err = here.run("run", *FAKES)
        assert code == 0, out + err
        assert len(here.completed_trials()) == 9
    finally:
        subprocess.run(["umount", str(here.store)], check=True)


def mount_point(here: Here) -> str:
    here.store.mkdir()
    return str(here.store)


def wait_for_runs(here: Here, count: int) -> None:
    wait_for(lambda: len(list((here.store / "records" / "runs").glob("*/*.parquet"))) >= count)


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail("what was waited for did not come in two minutes")
        time.sleep(0.02)
