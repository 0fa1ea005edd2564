"""Does a correct runner always pass the gate? One entry gated with many seeds, and how close it came to failing.

    python benchmarks/gate_seeds.py --entry python_numpy --workload mnist_mlp --seeds 100

Each seed draws other weights, another order, other given gradients and other dropout masks; images are the data set's
own. The entry works on `--together` seeds in one process. Per part, the largest error and the share of the tolerance
that it is are printed. The checkpoint of part F is trained for `--checkpoint-steps` steps, fewer than in the gate
itself, where it is computed once; any weights will do there. Exit code 1: some seed failed.
"""

# ruff: noqa: E402 -- threads are set before NumPy is imported
from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

for threads in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):  # of the reference
    os.environ.setdefault(threads, "1")

from collector.cli.gate_matrix import alone
from collector.cli.main import verified_data
from collector.datasets.files import DataFiles
from collector.gate import inputs as gate_inputs
from collector.gate.inputs import gate_trial, read_evidence, write_gate_inputs
from collector.gate.judge import Check, judge
from collector.plan.runner import Entry, read_entry, read_runner, resolve_command, runner_environment
from collector.plan.workload import OPTIMIZERS, Workload, read_workload
from collector.protocol.events import BuildStop, of_kind, read_events
from collector.protocol.trial import write_trial


@dataclass(slots=True)
class Record:
    """What was seen of one entry on one workload."""

    passed: int = 0
    worst: dict[str, Check] = field(default_factory=dict)  # by part and quantity
    failures: list[str] = field(default_factory=list)

    def add(self, seed: int, checks: Sequence[Check]) -> None:
        """Count one seed."""
        failed = [check for check in checks if not check.passed]
        self.passed += not failed
        self.failures += [f"seed {seed}: part {c.part}: {c.quantity}: error {c.error:.3g}. {c.cause}" for c in failed]
        for check in checks:
            quantity = f"{check.part} {check.quantity.partition(' (')[0]}"
            if quantity not in self.worst or check.strain > self.worst[quantity].strain:
                self.worst[quantity] = check


def main() -> None:
    """Gate every seed and print what was seen."""
    options = read_options()
    gate_inputs.SMALL = replace(gate_inputs.SMALL, checkpoint_steps=options.checkpoint_steps)
    entry, records = read_entry(options.entry), defaultdict[str, Record](Record)
    for name in options.workload:
        workload = read_workload(name)
        if options.optimizer:
            workload = workload.model_copy(update={"optimizer": OPTIMIZERS[options.optimizer]})
        data = verified_data(workload.dataset)
        for seeds in batches(options.first, options.seeds, options.together):
            for seed, checks in gate_seeds(entry, workload, data, seeds):
                records[name].add(seed, checks)
            done = seeds[-1] - options.first + 1
            print(f"{entry} on {name}: {records[name].passed} of {done} seeds passed", flush=True)
        print_record(records[name])
    sys.exit(any(record.failures for record in records.values()))


def read_options() -> argparse.Namespace:
    """Return the command line's options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--entry", default="python_numpy", help="runner or runner:variant (python_numpy)")
    parser.add_argument("--workload", nargs="+", default=["mnist_mlp", "mnist_lenet", "cifar10_cnn"])
    parser.add_argument("--optimizer", choices=OPTIMIZERS, help="in place of the workload's own")
    parser.add_argument("--seeds", type=int, default=100, help="the last seed (100)")
    parser.add_argument("--first", type=int, default=1, help="the first seed (1): goes on where a run was interrupted")
    parser.add_argument("--together", type=int, default=10, help="seeds of one process (10)")
    parser.add_argument("--checkpoint-steps", type=int, default=20, help="training steps of part F's weights (20)")
    return parser.parse_args()


def batches(first: int, last: int, size: int) -> Iterator[range]:
    """Yield the seeds from the first to the last, so many at once."""
    for start in range(first, last + 1, size):
        yield range(start, min(start + size, last + 1))


def gate_seeds(
    entry: Entry, workload: Workload, data: DataFiles, seeds: Sequence[int]
) -> Iterator[tuple[int, list[Check]]]:
    """Run one process on several seeds and yield the checks of each."""
    runner = read_runner(entry.runner)
    with tempfile.TemporaryDirectory() as name:
        inputs = {seed: Path(name) / f"inputs-{seed}" for seed in seeds}
        outputs = {seed: Path(name) / f"output-{seed}" for seed in seeds}
        for seed in seeds:
            write_gate_inputs(workload, data, inputs[seed], seed)
            outputs[seed].mkdir()
            trial = gate_trial(entry, alone(entry, workload), data, inputs[seed], outputs[seed], seed=seed)
            write_trial(trial, outputs[seed] / "trial.json")
        pairs = [str(outputs[seed] / file) for seed in seeds for file in ("trial.json", "events.jsonl")]
        command = [*resolve_command(runner, threads=1), *pairs]
        subprocess.run(command, env=runner_environment(runner, threads=1), check=True)
        for seed in seeds:
            (build,) = of_kind(read_events(outputs[seed] / "events.jsonl"), BuildStop)
            evidence = read_evidence(workload, data, inputs[seed], outputs[seed])
            exceptions = runner.exceptions_of(entry.variant)
            yield seed, judge(evidence, parameters=build.parameters, exceptions=exceptions)


def print_record(record: Record) -> None:
    """Print the largest error of each quantity, and every failure."""
    for quantity, check in record.worst.items():
        print(f"  {quantity:24} error {check.error:8.2g}  tolerance {check.tolerance:8.2g}  share {check.strain:6.1%}")
    for failure in record.failures:
        print(f"  FAILED {failure}")


if __name__ == "__main__":
    main()
