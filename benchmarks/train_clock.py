"""Does deadheat slow down what it measures? Its train clock against the same PyTorch loop written bare.

    python benchmarks/train_clock.py --dataset DIR

One side is a run as a campaign does it: the launcher with its telemetry, and collector/runners/python_pytorch with
events, chunks and the shared loop. The other is `train_bare` below: the loop as a plain script has it, with two clock
readings per quarter of an epoch and nobody watching. Same weights, order, core and thread; a fresh process per run;
pairs in the order ABBA. The 95 % interval of the ratio is a t interval over the log ratios of the pairs. Bar: 2 %.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import stats

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module
    from torch.optim import Optimizer

    from collector.data_files import DataFiles

BAR_RATIO = 0.02
TIMEOUT_S = 600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """How one run of a side is done: a folder with trial.json and the environment and core of both sides."""

    folder: Path
    command: list[str]
    environment: Mapping[str, str]
    core: int


def main() -> None:
    """Measure the pairs, print each, and judge; exit 1 where the bar is missed or cannot be judged."""
    options = read_options()
    if options.bare is not None:
        print(train_bare(json.loads(options.bare.read_text(encoding="utf-8"))))
        return
    from collector.lock import host_lock, lock_path

    with host_lock(lock_path(), "benchmarks/train_clock.py"), tempfile.TemporaryDirectory() as folder:
        side = write_trial_files(options.dataset, options.epochs, Path(folder))
        ratios = [measure_pair(side, number) for number in range(1, options.pairs + 1)]
    sys.exit(judge(ratios))


def read_options() -> argparse.Namespace:
    """Return the command line's options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", type=Path, help="folder of MNIST's four IDX files; else the fetched ones")
    parser.add_argument("--pairs", type=int, default=12, help="pairs to measure (12; at least 10 for a judgement)")
    parser.add_argument("--epochs", type=int, default=3, help="epochs per run (3)")
    parser.add_argument("--bare", type=Path, help=argparse.SUPPRESS)  # the other side: TRIAL.JSON
    return parser.parse_args()


def write_trial_files(dataset: Path | None, epochs: int, folder: Path) -> Side:
    """Write weights, order and trial.json of mnist_mlp as a campaign would, and return what both sides need."""
    from collector.axes import Axes
    from collector.inputs import trial_file, write_heat_inputs
    from collector.matrix import Group, Suite, expand_suite
    from collector.plan import plan_heats
    from collector.runner import read_runner, resolve_command, runner_environment
    from collector.trial import write_trial

    data = read_data_files(dataset)
    entry = "python_pytorch"
    group = Group(workloads=["mnist_mlp"], runners=[entry], baseline=entry, heats=1, axes=Axes(epochs=[epochs]))
    suite = Suite(name="train_clock", description="", seed=1, timeout_s=TIMEOUT_S, group=[group])
    (heat,) = plan_heats(suite, expand_suite(suite))
    write_heat_inputs(heat, data, folder)
    write_trial(trial_file(heat.trials[0], data, folder, folder), folder / "trial.json")
    runner = read_runner(entry)
    return Side(
        folder=folder,
        command=resolve_command(runner, threads=1),
        environment=runner_environment(runner, threads=1),
        core=max(os.sched_getaffinity(0)),
    )


def read_data_files(folder: Path | None) -> DataFiles:
    """Return MNIST in `folder`, or as fetched."""
    from collector.dataset import files_in, probe_dataset, read_dataset

    mnist = read_dataset("mnist")
    return files_in(folder.resolve(), mnist) if folder else probe_dataset(mnist)


def measure_pair(side: Side, number: int) -> float:
    """Return deadheat's train clock over the bare one; odd pairs begin with deadheat, even ones with the bare loop."""
    if number % 2:
        deadheat_s, bare_s = measure_deadheat(side), measure_bare(side)
    else:
        bare_s, deadheat_s = measure_bare(side), measure_deadheat(side)
    ratio = deadheat_s / bare_s
    print(f"pair {number:2}: deadheat {deadheat_s:.4f} s, bare {bare_s:.4f} s, ratio {ratio:.4f}", flush=True)
    return ratio


def measure_deadheat(side: Side) -> float:
    """Return the train clock of one launched run [s]."""
    from collector.events import EpochStart, EpochStop, of_kind, read_events
    from collector.executors.local import LocalExecutor
    from collector.launch import Launch

    launch = Launch(
        command=side.command,
        environment=side.environment,
        folder=side.folder,
        cores=(side.core,),
        timeout_s=TIMEOUT_S,
    )
    (ending,) = LocalExecutor().execute([launch])
    if ending.status != "completed":
        raise SystemExit(f"the run ended as {ending.status}: {ending.message}")
    events = read_events(side.folder / "events.jsonl")
    starts, stops = of_kind(events, EpochStart), of_kind(events, EpochStop)
    return sum(stop.at_ns - start.at_ns for start, stop in zip(starts, stops, strict=True)) / 1e9


def measure_bare(side: Side) -> float:
    """Return the train clock of one bare run [s]."""
    command = ["taskset", "--cpu-list", str(side.core), sys.executable, __file__, "--bare", "trial.json"]
    answer = subprocess.run(command, env=side.environment, cwd=side.folder, stdout=subprocess.PIPE, check=True)
    return float(answer.stdout)


def judge(ratios: list[float]) -> int:
    """Print the ratio with its interval and return the exit code."""
    logs = np.log(ratios)
    half_width = stats.t.ppf(0.975, len(logs) - 1) * logs.std(ddof=1) / math.sqrt(len(logs))
    ratio, low, high = (math.exp(logs.mean() + side * half_width) for side in (0, -1, 1))
    within = low >= 1 - BAR_RATIO and high <= 1 + BAR_RATIO
    outside = high < 1 - BAR_RATIO or low > 1 + BAR_RATIO
    verdict = "within the bar" if within else "outside the bar" if outside else "undecided: more pairs or less noise"
    print(
        f"deadheat / bare: {ratio:.4f}, 95 % interval {low:.4f} to {high:.4f}, "
        f"median {statistics.median(ratios):.4f}, {len(ratios)} pairs; bar ±{BAR_RATIO:.0%}: {verdict}"
    )
    return 0 if within else 1


def train_bare(trial: dict[str, Any]) -> float:
    """Return the seconds of training, evaluation left out, of a loop as one would write it for oneself."""
    import torch
    from torch.nn.functional import cross_entropy

    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    images, labels, test_images, test_labels = read_bare_data(trial)
    model, optimizer = build_bare(trial, images, labels)
    order = torch.from_numpy(np.load(trial["order"]))
    torch.manual_seed(trial["seed"])
    elapsed_s = 0.0
    for epoch in range(trial["epochs"]):
        batches = order[epoch].split(trial["batch_size"])
        for first, last in itertools.pairwise(len(batches) * quarter // 4 for quarter in range(5)):
            start_s = time.perf_counter()
            total = torch.zeros(())
            for batch in batches[first:last]:
                optimizer.zero_grad()
                loss = cross_entropy(model(images.index_select(0, batch)), labels.index_select(0, batch))
                loss.backward()
                optimizer.step()
                total += loss.detach() * len(batch)
            total.item()
            elapsed_s += time.perf_counter() - start_s
            model.eval()
            with torch.inference_mode():
                parts = zip(test_images.split(1000), test_labels.split(1000), strict=True)
                correct = sum(int((model(x).argmax(1) == y).sum()) for x, y in parts)
            model.train()
    if correct < 9000:
        raise SystemExit(f"{correct} of 10,000 test images correct; expected 9,000: the bare loop does not train")
    return elapsed_s


def read_bare_data(trial: dict[str, Any]) -> list[Tensor]:
    """Return training images and labels, then test images and labels, as tensors."""
    import torch

    arrays = []
    for part in ("train", "test"):
        pixels = np.fromfile(trial[f"data.{part}_images"], np.uint8)[16:].reshape(-1, 1, 28, 28)
        images = (pixels.astype(np.float32) / 255 - np.float32(trial["data.mean"])) / np.float32(trial["data.std"])
        labels = np.fromfile(trial[f"data.{part}_labels"], np.uint8)[8:]
        arrays += [torch.from_numpy(images), torch.from_numpy(labels.astype(np.int64))]
    return arrays


def build_bare(trial: dict[str, Any], images: Tensor, labels: Tensor) -> tuple[Module, Optimizer]:
    """Return model and optimizer after one step on other weights: the runner is warm too when its clock starts."""
    import torch
    from torch import nn

    model = nn.Sequential(nn.Flatten(), nn.Linear(784, 128), nn.ReLU(), nn.Dropout(0.5), nn.Linear(128, 10))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.001, fused=True)
    nn.functional.cross_entropy(model(images[:128]), labels[:128]).backward()
    optimizer.step()
    names = ("hidden.weight", "hidden.bias", "output.weight", "output.bias")
    with torch.no_grad():
        for name, parameter in zip(names, model.parameters(), strict=True):
            parameter.copy_(torch.from_numpy(np.load(f"{trial['weights']}/{name}.npy")))
    return model, torch.optim.Adam(model.parameters(), lr=0.001, fused=True)


if __name__ == "__main__":
    main()
