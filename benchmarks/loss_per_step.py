"""Do all entries walk the same path? The loss of each of the first 100 steps of LeNet-5 on MNIST, entry by entry.

Every entry trains from the same weights on the same batches. Beside them stand the float64 reference and eight
float32 runs of the same code from weights that differ by one part in 10 million: what rounding alone does.

    python benchmarks/loss_per_step.py docs/assets/loss-per-step

writes the figures as PATH.csv and the chart as PATH-light.svg and PATH-dark.svg.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import altair as alt
import numpy as np
import pandas as pd
import vl_convert
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from collector.cli.gate_matrix import gate_matrix
from collector.datasets.dataset import probe_dataset, read_dataset
from collector.datasets.files import DataFiles, Images, read_split
from collector.plan.matrix import Cell
from collector.plan.runner import (
    RunnerUnavailableError,
    probe_description,
    read_runner,
    resolve_command,
    runner_environment,
)
from collector.protocol.trial import write_trial
from collector.reference.layers import Weights
from collector.reference.reference import initial_weights, train
from collector.run.inputs import architecture_of, base_trial, batch_order, write_arrays
from collector.run.launch import Launch, launch_run
from collector.run.local_executor import runner_cores

WORKLOAD, STEPS, BATCH_SIZE, SEED = "mnist_lenet", 100, 128, 20260101
PERTURBED_RUNS, PERTURBATION = 8, 1e-7
Losses = NDArray[np.float64]


def main() -> None:
    """Run everything and write the figures and the chart."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("path", type=Path)
    path = parser.parse_args().path
    cells = [cell for cell in gate_matrix("", WORKLOAD) if _is_plain(cell)]
    data = probe_dataset(read_dataset(cells[0].workload.dataset))
    with tempfile.TemporaryDirectory() as folder, threadpool_limits(1):
        work = Work(cells[0], data, Path(folder))
        traces = dict(work.reference_traces())
        traces |= {str(cell.baseline): losses for cell in cells if (losses := work.trace(cell)) is not None}
    frame = pd.DataFrame({"step": np.arange(1, STEPS + 1), **traces})
    frame.to_csv(path.with_suffix(".csv"), index=False, float_format="%.9g")
    for theme in ("light", "dark"):
        svg = vl_convert.vegalite_to_svg(build_chart(frame, theme).to_json())
        path.with_name(f"{path.name}-{theme}.svg").write_text(svg, encoding="utf-8")
    print_table(frame)


def _is_plain(cell: Cell) -> bool:
    own = cell.workload.optimizer.label == "momentum"
    return own and cell.dtype == "fp32" and cell.loader == "resident"


class Work:
    """The same 100 steps for everyone."""

    def __init__(self, cell: Cell, data: DataFiles, folder: Path) -> None:
        self._cell, self._data, self._folder = cell, data, folder
        self._architecture = architecture_of(cell.workload, data)
        weights, order = np.random.default_rng(SEED).spawn(2)
        self._weights: Weights = {
            name: array.astype(np.float32)
            for name, array in initial_weights(cell.workload, self._architecture, weights).items()
        }
        self._order = batch_order(cell.workload, data.train_examples, 1, BATCH_SIZE, order)[:, : STEPS * BATCH_SIZE]
        write_arrays(folder / "weights", self._weights)
        write_arrays(folder / "gradients", {name: array[None] for name, array in self._weights.items()})
        np.save(folder / "order.npy", self._order)

    def reference_traces(self) -> Iterator[tuple[str, Losses]]:
        """Yield the float64 reference and the float32 runs from slightly different weights."""
        images, labels = read_split(self._data, "train")
        chosen = self._order[0].reshape(STEPS, BATCH_SIZE)
        for name, dtype, weights in self._beginnings():
            batches = [(self._standardised(images[batch]).astype(dtype), labels[batch]) for batch in chosen]
            start = {key: array.astype(dtype) for key, array in weights.items()}
            losses = train(self._cell.workload, self._architecture, start, batches)[1]
            yield name, np.array(losses, dtype=np.float64)

    def _beginnings(self) -> Iterator[tuple[str, type[np.floating], Weights]]:
        yield "reference", np.float64, self._weights
        generator = np.random.default_rng(SEED + 1)
        for number in range(1, PERTURBED_RUNS + 1):
            changed = {
                key: array * (1 + PERTURBATION * generator.choice([-1.0, 1.0], array.shape))
                for key, array in self._weights.items()
            }
            yield f"perturbed {number}", np.float32, changed

    def _standardised(self, images: Images) -> NDArray[np.float32]:
        """Return the images as the runners have them: standardised in float32."""
        mean, std = (np.array(values, np.float32)[:, None, None] for values in (self._data.mean, self._data.std))
        return (images.astype(np.float32) / np.float32(255) - mean) / std

    def trace(self, cell: Cell) -> Losses | None:
        """Return the losses of one entry; None where it is not available here."""
        runner, folder = read_runner(cell.baseline.runner), self._folder / str(cell.baseline).replace(":", "-")
        try:
            probe_description(runner)
        except RunnerUnavailableError as reason:
            print(f"left out: {reason}", file=sys.stderr)
            return None
        folder.mkdir()
        trial = base_trial(cell.workload, cell, self._data, self._folder, folder).model_copy(
            update={
                "mode": "gate",
                "runner": runner.name,
                "variant": cell.baseline.variant,
                "batch_size": BATCH_SIZE,
                "steps": 0,
                "evaluations_per_epoch": 1,
                "gate_checkpoint": str(self._folder / "weights"),
                "gate_gradients": str(self._folder / "gradients"),
                "gate_dropout_rate": 0.0,
                "gate_dropout_repeats": 0,
                "gate_frozen_steps": 0,
                "gate_parts": "",
                "gate_traced_steps": STEPS,
            }
        )
        write_trial(trial, folder / "trial.json")
        ending = launch_run(
            Launch(
                command=resolve_command(runner, threads=1),
                environment=runner_environment(runner, threads=1),
                folder=folder,
                cores=runner_cores(1, sorted(os.sched_getaffinity(0))),
                timeout_s=600,
            )
        )
        if ending.status != "completed":
            raise SystemExit(f"{cell.baseline}: {ending.status}: {ending.message}")
        losses: Losses = np.load(folder / "t.losses.npy")
        return losses


def envelope(frame: pd.DataFrame) -> NDArray[np.float64]:
    """Return for each step the largest difference from the reference that rounding has made up to there.

    A loss is a float32 number: one unit in its last place is added.
    """
    runs = frame[[name for name in frame if name.startswith("perturbed")]].to_numpy()
    apart = np.abs(runs - frame[["reference"]].to_numpy()).max(axis=1)
    last_place = np.spacing(frame["reference"].to_numpy(np.float32)).astype(np.float64)
    return np.maximum.accumulate(apart) + last_place


def entries_of(frame: pd.DataFrame) -> list[str]:
    """Return the columns that are entries."""
    return [name for name in frame if ":" in name]


def print_table(frame: pd.DataFrame) -> None:
    """Print how far each entry is from the reference at most, and whether it stays inside the envelope."""
    limit = envelope(frame)
    print(f"envelope after 1, 10, 100 steps: {limit[0]:.2e} {limit[9]:.2e} {limit[-1]:.2e}")
    for name in entries_of(frame):
        apart = np.abs(frame[name] - frame["reference"]).to_numpy()
        print(f"{name:32} at most {apart.max():.2e}, {(apart / limit).max():.2f} of the envelope")


def build_chart(frame: pd.DataFrame, theme: str) -> alt.VConcatChart:
    """Return the losses above, and below how far each entry is from the reference, inside the envelope."""
    entries = entries_of(frame)
    long = frame.melt("step", entries, var_name="entry", value_name="loss")
    long["difference"] = np.maximum(1e-9, np.abs(long["loss"] - np.tile(frame["reference"], len(entries))))
    band = pd.DataFrame({"step": frame["step"], "limit": envelope(frame), "floor": 1e-9})
    ink = "#333333" if theme == "light" else "#dddddd"
    color = alt.Color("entry:N", title=None, scale=alt.Scale(scheme="tableau20"))
    step = alt.X("step:Q", title="training step", scale=alt.Scale(nice=False))
    above = alt.Chart(long).mark_line(strokeWidth=1).encode(step, alt.Y("loss:Q", title="loss"), color)
    scale = alt.Scale(type="log", domain=[1e-9, float(10 ** np.ceil(np.log10(band["limit"].max())))])
    below = alt.Chart(band).mark_area(opacity=0.2, color=ink).encode(
        step, alt.Y("limit:Q", scale=scale, title="difference from float64"), alt.Y2("floor:Q")
    ) + alt.Chart(long).mark_line(strokeWidth=1).encode(step, alt.Y("difference:Q", scale=scale), color)
    chart = alt.vconcat(above.properties(width=560, height=180), below.properties(width=560, height=240))
    return (
        chart.configure(background="transparent")
        .configure_axis(labelColor=ink, titleColor=ink, gridOpacity=0.2)
        .configure_legend(labelColor=ink)
        .configure_view(stroke=None)
    )


if __name__ == "__main__":
    main()
