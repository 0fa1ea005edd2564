"""Whether a runner is as fast as a script that one writes by hand: its train clock against the same loop written bare.

    python benchmarks/train_clock.py --entry python_pytorch,python_jax --workload mnist_lenet

One side is a run as a campaign does it: the launcher with its telemetry, and the runner with events, chunks and the
shared loop. The other is a script of `benchmarks/bare/` in the same framework, with two clock readings per chunk and
nobody watching. Same weights, order, cores and threads; a fresh process per run; pairs in the order ABBA. The interval
of the ratio is a 95 % t interval over the log ratios of the pairs. Bar: at most 1.1 times the bare script, and 1.02
for entries whose script is the runner's own loop without the runner (`BARS`).

    python benchmarks/train_clock.py --entry julia_stdlib --workload mnist_mlp --batch-size 128

holds a runner in another language against a script in that language. `--steps 300` is enough for a slow one.

    python benchmarks/train_clock.py --study

holds PyTorch's resident LeNet-5 against the loop of the 2022 PyTorch/Flux repository, for one epoch each, and gives
both of them all cores. Bar: at least 3 times as fast.

Exit code 1: a bar is missed, or cannot be judged with so few pairs.
"""

from __future__ import annotations

import argparse
import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import stats

from collector.datasets.dataset import probe_dataset, read_dataset
from collector.machine.host_lock import host_lock, lock_path
from collector.plan.axes import Axes
from collector.plan.heat_order import plan_heats
from collector.plan.matrix import Group, Suite, expand_suite
from collector.plan.runner import read_runner, resolve_command, runner_environment
from collector.protocol.events import EpochStart, EpochStop, of_kind, read_events
from collector.protocol.trial import write_trial
from collector.run.inputs import trial_file, write_heat_inputs
from collector.run.launch import Launch
from collector.run.local_executor import LocalExecutor

BARE = Path(__file__).parent / "bare"
MOST_RATIO, STUDY_RATIO = 1.1, 1 / 3
BARS = {"julia_flux": 1.02, "elixir_axon": 1.02}
ENDINGS = {"julia": "jl", "elixir": "exs"}
TIMEOUT_S = 600.0
STEPS = {"mnist_mlp": 3000, "mnist_lenet": 938, "cifar10_cnn": 150}
BATCH_SIZE = 64
STUDY_BATCH_SIZE, MNIST_IMAGES = 128, 60_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """How both sides of a pair are run: in a folder with trial.json, weights and order."""

    folder: Path
    command: list[str]
    bare: list[str]
    environment: Mapping[str, str]
    cores: tuple[int, ...]


def main() -> None:
    """Measure every entry on every workload, print the pairs' ratio, and judge it against the bar."""
    options = read_options()
    with host_lock(lock_path(), "benchmarks/train_clock.py"):
        if options.study:
            steps = math.ceil(MNIST_IMAGES / STUDY_BATCH_SIZE)
            work = [("python_pytorch", "mnist_lenet", steps, STUDY_BATCH_SIZE, "study.py", STUDY_RATIO)]
        else:
            work = [
                (
                    entry,
                    workload,
                    options.steps or STEPS[workload],
                    options.batch_size,
                    _bare_script(entry),
                    _bar(entry),
                )
                for workload in options.workload.split(",")
                for entry in options.entry.split(",")
            ]
        threads = len(os.sched_getaffinity(0)) if options.study else 1
        missed = 0
        for entry, workload, steps, batch_size, script, bar in work:
            with tempfile.TemporaryDirectory() as folder:
                side = prepare(entry, workload, steps, batch_size, threads, Path(folder), script)
                ratios = [measure_pair(side, number) for number in range(options.pairs)]
            missed += not judge(f"{entry} on {workload} against {script}", ratios, bar)
    sys.exit(missed > 0)


def read_options() -> argparse.Namespace:
    """Return the command line's options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--entry", default="python_pytorch,python_jax,python_tensorflow,python_keras,python_numpy")
    parser.add_argument("--workload", default=",".join(STEPS))
    parser.add_argument("--pairs", type=int, default=10, help="pairs to measure (10; an interval needs 2)")
    parser.add_argument("--steps", type=int, help="steps of each run, instead of the workload's")
    parser.add_argument("--batch-size", type=int, default=BATCH_SIZE, help=f"examples per step ({BATCH_SIZE})")
    parser.add_argument("--study", action="store_true", help="against the repository study's loop")
    return parser.parse_args()


def _bare_script(entry: str) -> str:
    name = entry.partition(":")[0]
    ending = ENDINGS.get(name.partition("_")[0], "py")
    return f"{name.removeprefix('python_')}.{ending}"


def _bar(entry: str) -> float:
    return BARS.get(entry.partition(":")[0], MOST_RATIO)


def prepare(entry: str, workload: str, steps: int, batch_size: int, threads: int, folder: Path, script: str) -> Side:
    """Write weights, order and trial.json as a campaign would, and return what both sides need."""
    group = Group(
        workloads=[workload],
        runners=[entry],
        baseline=entry,
        heats=1,
        mode="steps",
        steps=steps,
        axes=Axes(batch_size=[batch_size], threads=[threads]),
    )
    suite = Suite(name="train_clock", description="", seed=1, timeout_s=TIMEOUT_S, group=[group])
    (heat,) = plan_heats(suite, expand_suite(suite))
    data = probe_dataset(read_dataset(heat.cell.workload.dataset))
    write_heat_inputs(heat, data, folder)
    write_trial(trial_file(heat.trials[0], data, folder, folder), folder / "trial.json")
    runner = read_runner(heat.trials[0].entry.runner)
    cores = tuple(sorted(os.sched_getaffinity(0)))[-threads:]
    command = resolve_command(runner, threads=threads, variant=heat.trials[0].entry.variant)
    interpreter = command[:-1]  # the last part is the runner's own script
    return Side(
        folder=folder,
        command=command,
        bare=["taskset", "--cpu-list", ",".join(map(str, cores)), *interpreter, str(BARE / script), "trial.json"],
        environment=runner_environment(runner, threads=threads),
        cores=cores,
    )


def measure_pair(side: Side, number: int) -> float:
    """Return the runner's train clock over the bare one; every other pair begins with the bare script."""
    if number % 2:
        bare_s, runner_s = measure_bare(side), measure_runner(side)
    else:
        runner_s, bare_s = measure_runner(side), measure_bare(side)
    print(f"  runner {runner_s:.3f} s, bare {bare_s:.3f} s, ratio {runner_s / bare_s:.3f}", flush=True)
    return runner_s / bare_s


def measure_runner(side: Side) -> float:
    """Return the train clock of one launched run [s]."""
    (side.folder / "events.jsonl").unlink(missing_ok=True)  # of the run before: runners append
    launch = Launch(
        command=side.command,
        environment=side.environment,
        folder=side.folder,
        cores=side.cores,
        timeout_s=TIMEOUT_S,
    )
    (ending,) = LocalExecutor().execute([launch])
    if ending.status != "completed":
        raise SystemExit(f"the run ended as {ending.status}: {ending.message}")
    events = read_events(side.folder / "events.jsonl")
    starts, stops = of_kind(events, EpochStart), of_kind(events, EpochStop)
    return sum(stop.at_ns - start.at_ns for start, stop in zip(starts, stops, strict=True)) / 1e9


def measure_bare(side: Side) -> float:
    """Return the seconds of training of one bare run."""
    answer = subprocess.run(side.bare, env=side.environment, cwd=side.folder, capture_output=True, check=False)
    if answer.returncode != 0:
        raise SystemExit(f"{' '.join(side.bare)}: exit code {answer.returncode}: {answer.stderr.decode()[-2000:]}")
    return float(answer.stdout.split()[0])


def judge(name: str, ratios: Sequence[float], bar: float) -> bool:
    """Print the ratio with its interval and return whether all of the interval keeps the bar."""
    logs = np.log(ratios)
    half_width = stats.t.ppf(0.975, len(logs) - 1) * logs.std(ddof=1) / math.sqrt(len(logs))
    ratio, low, high = (math.exp(logs.mean() + side * half_width) for side in (0, -1, 1))
    verdict = "kept" if high <= bar else "missed" if low > bar else "undecided: more pairs or less noise"
    print(
        f"{name}: {ratio:.3f}, 95 % interval {low:.3f} to {high:.3f}, {len(ratios)} pairs; bar {bar:.2f}: {verdict}",
        flush=True,
    )
    return verdict == "kept"


if __name__ == "__main__":
    main()
