"""What telemetry costs: a reading against those of other tools, training with the sampler against without, lateness.

    python benchmarks/telemetry.py

measures three things, each beside its peer in the same run:

- *cost*: reading CPU seconds and memory of a run of 16 processes from its control group, against what psrecord does
  per reading (psutil walks the tree) and what UnixStats does (it starts programs). Bars: 1/20 and 1/100.
- *slowdown*: one PyTorch training process, all cores, with the runner's own environment, whose sampler is stopped and
  let go on in blocks of a second in the order ABBA; a 95 % t interval over the log ratios of the pairs. Bars: 1 % at
  10 Hz, 2 % at 100 Hz.
- *lateness*: the sampler at 10 Hz beside a bare loop of sleeps. Bar: 99 % within the larger of 2 ms and 1.5 times the
  bare loop's; the end of the schedule no later than its beginning by more than 1 ms.

Exit code 1: a bar is missed, or cannot be judged with so few pairs or on a machine without control groups.
"""

from __future__ import annotations

import argparse
import contextlib
import math
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import psutil
from scipy import stats

from collector.plan.runner import read_runner, runner_environment
from collector.telemetry.cgroup import CgroupSource, RunGroup, run_group
from collector.telemetry.choice import RunTarget
from collector.telemetry.process import ProcessTreeSource
from collector.telemetry.sampler import read_readings
from collector.telemetry.watcher import Watcher

MOST_OF_RESCAN, MOST_OF_STARTING = 1 / 20, 1 / 100
MOST_SLOWDOWN = {10: 0.01, 100: 0.02}  # by readings per second
LEAST_PAIRS, LATE_S, LATE_RATIO, DRIFT_S = 60, 0.002, 1.5, 0.001
SETTLE_S = 0.05

TREE = "import os, sys\nfor _ in range({children}):\n    if os.fork() == 0: break\nprint(flush=True); sys.stdin.read()"
TRAINING = """
import sys, time
import torch
torch.manual_seed(0)
model = torch.nn.Sequential(torch.nn.Linear(784, 256), torch.nn.ReLU(), torch.nn.Linear(256, 10))
optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
images, labels = torch.rand(128, 784), torch.randint(0, 10, (128,))
def step():
    optimizer.zero_grad()
    torch.nn.functional.cross_entropy(model(images), labels).backward()
    optimizer.step()
for _ in range(200): step()
print("ready", flush=True)
for line in sys.stdin:
    steps, start, end = 0, time.perf_counter(), float(line)
    while (now := time.perf_counter() - start) < end: step(); steps += 1
    print(now / steps, flush=True)
"""
BARE_LOOP = """
import sys, time
period, count = 0.1, int(sys.argv[1])
start, late = time.monotonic(), []
for number in range(1, count + 1):
    time.sleep(max(0.0, start + number * period - time.monotonic()))
    late.append(time.monotonic() - start - number * period)
print(*late)
"""


def main() -> None:
    """Measure what was asked for, and say whether every bar was met."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=("cost", "slowdown", "lateness"))
    parser.add_argument("--rounds", type=int, default=200, help="readings of each kind in the cost figures")
    parser.add_argument("--processes", type=int, default=16)
    parser.add_argument("--rate", type=int, choices=MOST_SLOWDOWN, help="of the slowdown figures; both when not given")
    parser.add_argument("--pairs", type=int, default=LEAST_PAIRS)
    parser.add_argument("--block-s", type=float, default=1.0)
    parser.add_argument("--minutes", type=float, default=10.0, help="of the lateness figures")
    asked = parser.parse_args()
    met = []
    if asked.only in (None, "cost"):
        met.append(measure_cost(asked.rounds, asked.processes))
    if asked.only in (None, "slowdown"):
        met += [
            measure_slowdown(rate, asked.pairs, asked.block_s) for rate in MOST_SLOWDOWN if asked.rate in (None, rate)
        ]
    if asked.only in (None, "lateness"):
        met.append(measure_lateness(round(asked.minutes * 600)))
    raise SystemExit(0 if all(met) else 1)


def measure_cost(rounds: int, processes: int) -> bool:
    """Print the cost of each kind of reading and its ratios; return whether both bars are met."""
    with run_group() as group, started(group, TREE.format(children=processes - 1)) as process:
        source, tree = CgroupSource(group), ProcessTreeSource(process.pid)
        if not (group.cpu_source and source.has_memory):
            print(f"cost: no control group with CPU and memory: {group.reason}")
            return False
        ways: dict[str, Callable[[], object]] = {
            "control group": lambda: list(source.read()),
            "own walk of the tree": tree.read,
            "psutil rescan": lambda: rescan(process.pid),
            **{f"starting {command[0]}": starting(command) for command in programs()},
        }
        seconds: dict[str, list[float]] = {name: [] for name in ways}
        for number in range(rounds):
            for name, way in ways.items():
                if name.startswith("starting") and number % 10:
                    continue  # slow, and steady enough
                began_s = time.perf_counter()
                way()
                seconds[name].append(time.perf_counter() - began_s)
        source.close()
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    own_s = medians["control group"]
    for name, value in medians.items():
        print(f"cost: {name}: {value * 1e6:.1f} us, control group / this = 1/{value / own_s:.1f}")
    started_s = sum(value for name, value in medians.items() if name.startswith("starting"))
    print(
        f"cost: starting all of them, as UnixStats does for a reading: control group / this = 1/{started_s / own_s:.1f}"
    )
    return own_s <= MOST_OF_RESCAN * medians["psutil rescan"] and own_s <= MOST_OF_STARTING * started_s


def programs() -> list[list[str]]:
    """Return what UnixStats starts for a reading, as far as it is installed."""
    commands = [["ps", "aux"], ["free"], ["nvidia-smi"]]
    return [command for command in commands if shutil.which(command[0])]


def starting(command: Sequence[str]) -> Callable[[], object]:
    """Return a function that runs `command` and throws its output away."""
    return lambda: subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)


def rescan(pid: int) -> tuple[float, int]:
    """Do what psrecord does for a reading: find the children anew and ask each for CPU and memory."""
    root = psutil.Process(pid)
    cpu_s, memory_bytes = 0.0, 0
    for process in (root, *root.children(recursive=True)):
        with contextlib.suppress(psutil.Error):
            times = process.cpu_times()
            cpu_s += times.user + times.system
            memory_bytes += process.memory_info().rss
    return cpu_s, memory_bytes


def measure_slowdown(rate: int, pairs: int, block_s: float) -> bool:
    """Print by how much the sampler slows training; return whether the interval lies below the bar."""
    seconds: dict[bool, list[float]] = {True: [], False: []}
    with tempfile.TemporaryDirectory() as folder, run_group() as group:
        watcher = Watcher(Path(folder) / "telemetry.jsonl", os.sched_getaffinity(0), 1 / rate)
        environment = runner_environment(read_runner("python_pytorch"), threads=len(os.sched_getaffinity(0)))
        with watcher, started(group, TRAINING, environment) as training:
            watcher.watch(RunTarget(pid=training.pid, group=group))
            assert watcher.pid is not None
            for sampled in (True, False, False, True) * math.ceil(pairs / 2):
                os.kill(watcher.pid, signal.SIGCONT if sampled else signal.SIGSTOP)
                time.sleep(SETTLE_S)
                seconds[sampled].append(float(ask(training, str(block_s))))
            os.kill(watcher.pid, signal.SIGCONT)
            watcher.stop()
        count = len([r for r in read_readings(Path(folder) / "telemetry.jsonl") if r.late_s is not None])
    logs = np.log(np.array(seconds[True]) / np.array(seconds[False]))
    half = stats.t.ppf(0.975, len(logs) - 1) * logs.std(ddof=1) / math.sqrt(len(logs))
    low, middle, high = (math.expm1(value) for value in (logs.mean() - half, logs.mean(), logs.mean() + half))
    print(
        f"slowdown at {rate} Hz: {middle:+.2%}, 95 % interval {low:+.2%} to {high:+.2%}, bar {MOST_SLOWDOWN[rate]:.0%}"
    )
    print(f"slowdown at {rate} Hz: {len(logs)} pairs of {block_s:g} s, {count} readings {watcher.fault}")
    return high < MOST_SLOWDOWN[rate] and len(logs) >= LEAST_PAIRS and count > 0


def measure_lateness(count: int) -> bool:
    """Print how late the sampler and a bare loop are over `count` periods; return whether the bars are met."""
    with tempfile.TemporaryDirectory() as folder, run_group() as group:
        file = Path(folder) / "telemetry.jsonl"
        with Watcher(file) as watcher, started(group, "import sys; print(flush=True); sys.stdin.read()") as process:
            watcher.watch(RunTarget(pid=process.pid, group=group))
            bare = subprocess.run([sys.executable, "-c", BARE_LOOP, str(count)], capture_output=True, check=True)
        moments = {r.at_ns: r.late_s for r in read_readings(file) if r.late_s is not None and r.scope == "run"}
    sampler_s, bare_s = np.array(list(moments.values())), np.array(bare.stdout.split(), dtype=float)
    ours, theirs = (float(np.quantile(late_s, 0.99)) for late_s in (sampler_s, bare_s))
    tenth = max(1, len(sampler_s) // 10)
    drift_s = float(np.median(sampler_s[-tenth:]) - np.median(sampler_s[:tenth]))
    print(f"lateness: 99 % within {ours * 1e3:.2f} ms, bare loop {theirs * 1e3:.2f} ms, over {len(bare_s)} periods")
    print(f"lateness: drift from the first to the last tenth: {drift_s * 1e3:+.3f} ms")
    return ours <= max(LATE_S, LATE_RATIO * theirs) and abs(drift_s) <= DRIFT_S


@contextlib.contextmanager
def started(
    group: RunGroup, code: str, environment: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[str]]:
    """Start a Python program in `group` and wait until it says something; it ends when its input does."""
    command = group.enclose([sys.executable, "-c", code])
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=environment) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process


def ask(process: subprocess.Popen[str], question: str) -> str:
    """Write a line to a process and return the line that it answers."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(question + "\n")
    process.stdin.flush()
    return process.stdout.readline()


if __name__ == "__main__":
    main()
