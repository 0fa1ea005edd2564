"""Every folder of runners/ keeps the contract: it describes itself, passes the gate, and trains in a heat."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from collector.collect import collect
from collector.commands import verified_data
from collector.executors.local import LocalExecutor, runner_cores
from collector.gating import gate_keys, launch_gate
from collector.inputs import DataFiles
from collector.matrix import Group, Suite, expand_suite
from collector.runner import RUNNERS, RunnerUnavailableError, known_runners, probe_description, read_runner
from collector.setting import Setting
from collector.workload import known_workloads
from tests.collector.test_collect import Silent

# mnist_mlp_steps is gated with the very same work as mnist_mlp.
PAIRS = [(name, w) for name in known_runners() for w in read_runner(name).workloads if w != "mnist_mlp_steps"]


def suite(*runners: str, workload: str) -> Suite:
    group = Group(workloads=[workload], runners=list(runners), baseline=runners[0], heats=1)
    return Suite(name="contract", description="", seed=5, timeout_s=120.0, heat_attempts=1, group=[group])


def description_or_skip(name: str):
    try:
        return probe_description(read_runner(name))
    except RunnerUnavailableError as reason:
        pytest.skip(str(reason))


@pytest.mark.parametrize("name", known_runners())
def test_a_runner_describes_itself(name):
    """Language, framework, versions and devices are told."""
    told = description_or_skip(name)

    assert {"language", "language_version", "framework", "framework_version"} <= set(told.versions)
    assert set(told.devices) <= {"cpu", "cuda"}
    assert "cpu" in told.devices


@pytest.mark.parametrize("name", known_runners())
def test_a_runner_imports_nothing_of_ours(name):
    """Files are the contract: a runner could live in another repository."""
    sources = [*(RUNNERS / name).rglob("*.py"), *(RUNNERS / "_python").rglob("*.py")]
    ours = ("import collector", "from collector", "import store", "from store", "import analysis", "from analysis")

    guilty = [path for path in sources if any(line.startswith(ours) for line in path.read_text().splitlines())]
    assert guilty == []


@pytest.mark.parametrize("name", known_runners())
def test_a_runner_supports_only_workloads_that_exist(name):
    """A misspelt workload would never be run."""
    assert set(read_runner(name).workloads) <= set(known_workloads())


@pytest.fixture(scope="module")
def gate_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return one folder for all gates, so that the reference computes each workload once."""
    return tmp_path_factory.mktemp("gates")


@pytest.mark.parametrize(("name", "workload"), PAIRS)
def test_a_runner_passes_the_gate_on_real_data(gate_folder, name, workload):
    """Parts A to D and F against the float64 reference."""
    description = description_or_skip(name)
    ((key, cell),) = gate_keys(expand_suite(suite(name, workload=workload))).items()
    result = launch_gate(
        key,
        cell,
        verified_data("mnist"),
        gate_folder,
        description=description,
        executor=LocalExecutor(),
        cores=runner_cores(1, sorted(os.sched_getaffinity(0))),
    )

    assert result.failure == ""
    assert {row.part for row in result.rows} == set("ABCDF")


@pytest.mark.parametrize("name", [n for n in known_runners() if "mnist_mlp" in read_runner(n).workloads])
def test_a_runner_trains_as_the_contract_says(fresh_store, small_data: DataFiles, name):
    """Whole epochs with a smaller last batch, four evaluations each: every event in order, every example counted."""
    description_or_skip(name)
    setting = Setting(executor=LocalExecutor(), data=lambda _: small_data)
    collect(suite("fake", name, workload="mnist_mlp"), fresh_store, setting, Silent())

    run = fresh_store.query("select * from runs where runner = ?", [name]).iloc[0]
    assert (run["status"], run["message"]) == ("completed", "")
    epochs = fresh_store.query("select epoch, examples from epochs where run_id = ? order by epoch", [run["run_id"]])
    assert epochs["epoch"].tolist() == [number / 4 for number in range(1, 13)]
    assert epochs["examples"].sum() == 3 * 700
    phases = fresh_store.query("select distinct phase from phases where run_id = ?", [run["run_id"]])
    assert len(phases) == 9
