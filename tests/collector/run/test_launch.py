"""Every way a process can end is an ending with its name."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest

from collector.run.launch import Launch, launch_run, read_ending
from collector.telemetry.sampler import read_readings


def launch(folder: Path, code: str, timeout_s: float = 20.0, cores: tuple[int, ...] = ()) -> Launch:
    return Launch(
        command=[sys.executable, "-c", code],
        environment=os.environ,
        folder=folder,
        cores=cores or sorted(os.sched_getaffinity(0)),
        timeout_s=timeout_s,
    )


@pytest.mark.parametrize(
    ("code", "status", "message"),
    [
        ("raise SystemExit(3)", "crashed", "exit code 3: log.txt is empty"),
        ("import os; os.kill(os.getpid(), 11)", "crashed", "killed by SIGSEGV"),
        ("raise MemoryError('all gone')", "out_of_memory", "MemoryError: all gone"),
        ("print('CUDA out of memory'); raise SystemExit(1)", "out_of_memory", "CUDA out of memory"),
        (
            r"print('ERROR: LoadError: no owl\nStacktrace:\n [1] top-level scope'); raise SystemExit(1)",
            "crashed",
            "1: ERROR: LoadError: no owl",
        ),
        ("pass", "bad_events", "was not written"),
        ("import sys; open(sys.argv[2], 'w').write('{')", "bad_events", "line 1: is cut off"),
    ],
)
def test_failures_are_endings(tmp_path, code, status, message):
    """The message says what the runner itself said last."""
    ending = launch_run(launch(tmp_path, code))

    assert ending.status == status
    assert message in ending.message
    assert read_ending(tmp_path) == ending


def test_a_program_that_does_not_exist_is_a_crash(tmp_path):
    """The reason is in the message."""
    ending = launch_run(Launch(command=["/no/such/program"], environment={"PATH": os.environ["PATH"]},
                               folder=tmp_path, cores=[0], timeout_s=5))  # fmt: skip

    assert ending.status == "crashed"
    assert "/no/such/program" in ending.message


def test_a_timeout_ends_the_whole_tree(tmp_path):
    """A child of the runner does not live on."""
    code = "import subprocess; p = subprocess.Popen(['sleep', '97']); print(p.pid, flush=True); p.wait()"
    ending = launch_run(launch(tmp_path, code, timeout_s=1.0))

    assert ending.status == "timed_out"
    child = int((tmp_path / "log.txt").read_text())
    deadline = time.monotonic() + 5
    while psutil.pid_exists(child) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not psutil.pid_exists(child) or psutil.Process(child).status() == psutil.STATUS_ZOMBIE


def test_ctrl_c_ends_the_runner_and_is_an_ending(tmp_path):
    """The runner is not in the terminal's process group, so the collector ends it."""
    threading.Timer(1.0, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
    ending = launch_run(launch(tmp_path, "import time; time.sleep(60)"))

    assert ending.status == "interrupted"
    assert (ending.ended_ns - ending.spawned_ns) / 1e9 < 10


def test_the_runner_dies_with_a_collector_that_is_killed(tmp_path):
    """An orphan would disturb the next collection."""
    code = (
        "import os, sys; from pathlib import Path; from collector.run.launch import Launch, launch_run\n"
        "sleep = [sys.executable, '-c', 'import time; time.sleep(98)']\n"
        f"launch_run(Launch(command=sleep, environment=os.environ, folder=Path({str(tmp_path)!r}), "
        "cores=[0], timeout_s=90))"
    )
    collector = subprocess.Popen([sys.executable, "-c", code])
    children: list[psutil.Process] = []
    deadline = time.monotonic() + 30
    while not children and time.monotonic() < deadline:
        time.sleep(0.05)
        children = [c for c in psutil.Process(collector.pid).children() if c.cmdline()[0] == sys.executable]
    collector.kill()
    collector.wait()

    gone, alive = psutil.wait_procs(children, timeout=10)
    assert (len(gone), alive) == (1, [])


def test_the_runner_stays_on_its_cores(tmp_path):
    """From the first instruction, and so do its children."""
    core = min(os.sched_getaffinity(0))
    launch_run(launch(tmp_path, "import os; print(os.sched_getaffinity(0))", cores=(core,)))

    assert (tmp_path / "log.txt").read_text().strip() == str({core})


def test_every_run_has_a_folder_for_temporary_files_of_its_own(tmp_path):
    """It is empty at first and goes when the run ends, whatever lies in it."""
    code = "import os; t = os.environ['TMPDIR']; print(t, os.listdir(t)); os.mkdir(t + '/kept')"
    launch_run(launch(tmp_path, code))
    folder, _, content = (tmp_path / "log.txt").read_text().strip().partition(" ")

    assert content == "[]"
    assert not Path(folder).exists()


def test_cpu_time_is_the_kernels_account(tmp_path):
    """Half a second of work, half of it in a child, is half a second; the readings see it coming."""
    burn = "import time\nwhile time.process_time() < {}: pass\n"
    code = f"import subprocess, sys\n{burn.format(0.5)}\nsubprocess.run([sys.executable, '-c', {burn.format(0.5)!r}])"
    ending = launch_run(launch(tmp_path, code))

    assert ending.cpu_s == pytest.approx(1.0, abs=0.15)
    readings = read_readings(tmp_path / "telemetry.jsonl")
    totals = [r.cpu_s for r in readings if r.cpu_s is not None and r.scope == "run"]
    assert totals == sorted(totals)
    assert totals[-1] > 0.4
