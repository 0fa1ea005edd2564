"""The peers of benchmarks/analysis.py: benchopt's result pages and asv's publish, fed from the same store.

Each is installed in an exact version into an environment of its own, which is thrown away with everything else.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

CLOCKS = ("train_clock_s", "e2e_clock_s")
HEAT = ("campaign_id", "repetition")
EPOCH, DAY_S = 1_767_225_600, 86_400  # 1 January 2026
PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
MACHINE = {"machine": "bench", "os": "Linux", "arch": "x86_64", "cpu": "any", "num_cpu": "2", "ram": "8"}
GIT = ("git", "-c", "user.name=bench", "-c", "user.email=bench@localhost", "-c", "commit.gpgsign=false")
OBJECTIVE = """\
from benchopt import BaseObjective


class Objective(BaseObjective):
    name = "training"
    url = "https://localhost/training"

    def set_data(self):
        pass

    def get_objective(self):
        return {}

    def evaluate_result(self):
        return 0.0
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """Another tool that makes pages of results."""

    name: str
    packages: tuple[str, ...]
    command: tuple[str, ...]
    feeds: Mapping[str, Callable[[pd.DataFrame, pd.DataFrame, Path], None]]  # runs and epochs as its files; in words

    def install(self, folder: Path) -> Path:
        """Install it into an environment of its own; return where its programs are."""
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        subprocess.run([folder / "bin" / "pip", "install", "-qq", *self.packages], check=True)
        return folder / "bin"


def who(runs: pd.DataFrame) -> pd.Series:
    """Return whose run each is; the control, which both peers know nothing of, is somebody of its own."""
    return runs["entry"].str.cat(runs["control"].map({True: " again", False: ""}))


def feed_benchopt(runs: pd.DataFrame, epochs: pd.DataFrame, folder: Path) -> None:
    """Write one result file per campaign: a row per evaluation, a solver per entry, a data set per batch size."""
    (folder / "outputs").mkdir(parents=True)
    (folder / "objective.py").write_text(OBJECTIVE)
    about = pd.DataFrame(
        {
            "run_id": runs["run_id"],
            "campaign_id": runs["campaign_id"],
            "objective_name": "training",
            "obj_description": "",
            "dataset_name": runs["workload"] + "[batch_size=" + runs["batch_size"].astype(str) + "]",
            "solver_name": who(runs),
            "solver_description": "",
            "idx_rep": runs["repetition"],
            "run_date": "2026-01-02",
        }
    )
    measured = pd.DataFrame(
        {
            "run_id": epochs["run_id"],
            "stop_val": (4 * epochs["epoch"]).round().astype(int),
            "time": epochs["e2e_clock_s"],
            "objective_value": epochs["test_loss"],
        }
    )
    rows = measured.merge(about, on="run_id").drop(columns="run_id")
    for campaign_id, mine in rows.groupby("campaign_id"):
        path = folder / "outputs" / f"benchopt_run_{campaign_id}.parquet"
        mine.drop(columns="campaign_id").reset_index(drop=True).to_parquet(path)


def feed_asv(runs: pd.DataFrame, folder: Path, commit: Sequence[str]) -> None:
    """Write one result file per commit: both clocks of each entry and batch size, every run as a sample.

    `commit` names the columns whose values make a commit. asv has no place for epochs; a result is the median of its
    samples, which is noted when they are measured.
    """
    machine = folder / "results" / MACHINE["machine"]
    machine.mkdir(parents=True)
    settings = {"version": 1, "project": "bench", "repo": str(folder / "code"), "branches": ["main"]}
    (folder / "asv.conf.json").write_text(json.dumps(settings))
    (machine / "machine.json").write_text(json.dumps(MACHINE | {"version": 1}))
    named = runs.assign(who=who(runs))
    params = [sorted(named["who"].unique()), [str(size) for size in sorted(named["batch_size"].unique())]]
    benchmarks = {clock: asv_benchmark(clock, params) for clock in CLOCKS}
    (folder / "results" / "benchmarks.json").write_text(json.dumps({"version": 2} | benchmarks))
    parts = [mine for _, mine in named.groupby(list(commit), sort=False)]
    for date, (mine, name) in enumerate(zip(parts, asv_commits(folder / "code", len(parts)), strict=True)):
        samples = mine.groupby(["who", "batch_size"])
        written = {
            "commit_hash": name,
            "env_name": "none",
            "date": 1000 * (EPOCH + DAY_S * date),
            "params": MACHINE | {"python": PYTHON},
            "python": PYTHON,
            "requirements": {},
            "env_vars": {},
            "result_columns": ["result", "params", "version", "stats_ci_99_a", "stats_ci_99_b", "samples"],
            "results": {clock: asv_result(samples[clock].apply(sorted).tolist(), params) for clock in CLOCKS},
            "durations": {},
            "version": 2,
        }
        (machine / f"{name[:8]}-none.json").write_text(json.dumps(written))


def asv_benchmark(clock: str, params: list[list[str]]) -> dict[str, object]:
    """Return the description of a benchmark as `asv run` would note it."""
    described = {"name": clock, "pretty_name": clock, "code": "", "type": "time", "unit": "seconds", "version": "1"}
    return described | {"params": params, "param_names": ["entry", "batch_size"], "timeout": 60.0}


def asv_result(samples: list[list[float]], params: list[list[str]]) -> list[object]:
    """Return the result of a benchmark in the columns of a file: one per combination, from its sorted samples."""
    medians = [(some[(len(some) - 1) // 2] + some[len(some) // 2]) / 2 for some in samples]
    # The 99 % interval of a median of ten has the lowest and the highest as its ends; a single sample has none.
    ends = [[some[end] if len(some) > 1 else None for some in samples] for end in (0, -1)]
    return [medians, params, "1", *ends, samples]


def asv_commits(folder: Path, number: int) -> list[str]:
    """Make a repository with as many commits, and return their names from the oldest on."""
    subprocess.run([*GIT, "init", "--quiet", "--initial-branch=main", folder], check=True)
    for at in range(number):
        date = f"{EPOCH + DAY_S * at} +0000"
        command = [*GIT, "-C", folder, "commit", "--quiet", "--allow-empty", "--message", f"Commit {at}"]
        subprocess.run(command, check=True, env=os.environ | {"GIT_AUTHOR_DATE": date, "GIT_COMMITTER_DATE": date})
    listed = subprocess.run([*GIT, "-C", folder, "rev-list", "--reverse", "main"], check=True, capture_output=True)
    return listed.stdout.decode().split()


PEERS = (
    Peer(
        name="benchopt",
        packages=("benchopt==1.10.0", "pandas==3.1.1", "numpy==2.4.6", "pyarrow==26.0.1"),
        command=("benchopt", "generate-results", "--benchmark", ".", "--no-display"),
        feeds={"a file per campaign, a row per evaluation": feed_benchopt},
    ),
    Peer(
        name="asv",
        packages=("asv==0.6.6",),
        command=("asv", "publish", "--no-pull"),
        feeds={
            "a commit per campaign, every run a sample": lambda runs, _, folder: feed_asv(
                runs, folder, ["campaign_id"]
            ),
            "a commit per heat, every run a result": lambda runs, _, folder: feed_asv(runs, folder, HEAT),
        },
    ),
)
