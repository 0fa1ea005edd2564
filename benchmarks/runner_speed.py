"""How fast each runner is on each workload, and how near to what the machine can do.

    deadheat run smoke --store FOLDER
    python benchmarks/runner_speed.py FOLDER docs/reference/speed.md

writes a table per workload from the smoke suite's newest campaign in FOLDER.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from collector.datasets.dataset import probe_dataset, read_dataset
from collector.plan.workload import read_workload
from store.database import Store

QUERY = """
SELECT workload, batch_size, steps, runner || ':' || variant AS entry, headline, family, environment_id, threads,
    count(*) AS runs, median(value) FILTER (metric = 'examples_per_s') AS examples_per_s,
    median(value) FILTER (metric = 'limit_ratio') AS limit_ratio,
    median(value) FILTER (metric = 'memory_peak_bytes') AS memory_peak_bytes,
    median(value) FILTER (metric = 'train_clock_s') AS train_clock_s,
    min(machine_flops_per_s) AS least_flops_per_s, max(machine_flops_per_s) AS most_flops_per_s
FROM counted_runs JOIN measurements USING (run_id)
WHERE suite = 'smoke' AND mode = 'steps' AND loader = 'resident'
    AND campaign_id = (SELECT max_by(campaign_id, started_at) FROM runs WHERE suite = 'smoke')
GROUP BY ALL
ORDER BY workload, examples_per_s DESC
"""
ENVIRONMENT = "SELECT * FROM environments WHERE environment_id = ? ORDER BY captured_at DESC LIMIT 1"
COLUMNS = ("entry", "family", "images/s", "s per epoch", "of the limit", "peak memory")


def main() -> None:
    """Write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("store", type=Path)
    parser.add_argument("page", type=Path)
    arguments = parser.parse_args()
    store = Store(arguments.store)
    speeds = store.query(QUERY)
    if speeds.empty:
        raise SystemExit(f"{arguments.store}: no completed run of suite smoke; first: deadheat run smoke")
    environment = store.query(ENVIRONMENT, [speeds["environment_id"][0]]).iloc[0]
    arguments.page.write_text("\n".join(page_lines(speeds, environment)) + "\n", encoding="utf-8")


def page_lines(speeds: pd.DataFrame, environment: pd.Series) -> Iterator[str]:
    """Yield the lines of the page: how it was measured, then a table per workload."""
    least, most = speeds["least_flops_per_s"].min() / 1e9, speeds["most_flops_per_s"].max() / 1e9
    yield "# How fast the runners are"
    yield ""
    yield (
        "Training speed of the entries of the suite `smoke`, each on the workloads that it has there, and how near it "
        "comes to what the machine can do at all. These are single runs of a few seconds: good for finding a slow "
        "program, and no verdict. Verdicts stand on the workloads' pages. Not in the suite are `julia_flux`, "
        "`julia_lux`, `julia_simplechains` and `elixir_axon`, whose packages `make setup` does not bring, and "
        "`elixir_beam:parallel`, which needs more than one core."
    )
    yield ""
    yield (
        f"Measured {environment['captured_at']:%d %B %Y} on {environment['cpu_model']}, {environment['cpu_cores']} "
        f"cores, one of them for training, float32. *The limit* is the machine's best matrix product on the same core, "
        f"measured before each heat ({least:.0f} to {most:.0f} GFLOP/s); an entry's share is the arithmetic of its "
        "convolutions and dense layers per second against it. It may pass 100 %: fast convolutions do fewer "
        "multiplications than are counted, and the machine's speed moves between the two measurements. "
        "*Peak memory* is what the sampler told of all processes of the run, their data included. "
        "The headline variant of each runner is bold. A [baseline](../explanation/fairness.md) has no framework."
    )
    yield ""
    yield "Made by `deadheat run smoke` and `benchmarks/runner_speed.py`."
    for workload, rows in speeds.groupby("workload", sort=False):
        yield from table_lines(str(workload), rows)


def table_lines(workload: str, rows: pd.DataFrame) -> Iterator[str]:
    """Yield heading and table of one workload."""
    examples = probe_dataset(read_dataset(read_workload(workload).dataset)).train_examples
    first = rows.iloc[0]
    yield from ("", f"## {workload}", "", f"{first['steps']} steps of {first['batch_size']} images; "
                f"an epoch has {examples:,} images.", "")  # fmt: skip
    yield "| " + " | ".join(COLUMNS) + " |"
    yield "|---|---|---:|---:|---:|---:|"
    for row in rows.to_dict("records"):
        name = f"**{row['entry']}**" if row["headline"] else row["entry"]
        epoch_s = examples / row["examples_per_s"]
        speed = f"{_figures(row['examples_per_s'])} | {_figures(epoch_s)}"
        memory = f"{row['memory_peak_bytes'] / 1e6:,.0f} MB"
        yield f"| {name} | {row['family']} | {speed} | {_share(row['limit_ratio'])} | {memory} |"


def _figures(number: float) -> str:
    return f"{number:,.0f}" if number >= 100 else f"{number:.3g}"


def _share(ratio: float) -> str:
    return "–" if pd.isna(ratio) else f"{ratio:.1%}"


if __name__ == "__main__":
    main()
