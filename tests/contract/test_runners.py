"""Every folder of runners/ keeps the contract: it describes itself, passes the gate, and trains in a heat."""

from __future__ import annotations

import pytest

from collector.campaign.collect import collect
from collector.campaign.context import Setting
from collector.cli.main import verified_data
from collector.datasets.files import DataFiles
from collector.gate.proofs import proofs_of
from collector.gate.prove import GateSetting, gate_entries
from collector.plan.axes import Axes
from collector.plan.matrix import Group, Suite, expand_suite
from collector.plan.runner import RUNNERS, RunnerUnavailableError, known_runners, probe_description, read_runner
from collector.plan.workload import known_workloads
from collector.run.local_executor import LocalExecutor
from tests.collector.campaign.test_collect import Silent

# The other workloads are gated by `deadheat gate --all`: too long for a test.
PAIRS = [(n, w) for n in known_runners() for w in ("mnist_mlp", "mnist_lenet") if w in read_runner(n).workloads]
PAIRS += [("elixir_beam:parallel", "mnist_mlp")]  # another program than the default
BACKENDS = ("exla", "torchx", "emlx")  # of elixir_axon: packages of their own, of which a machine may have some


def suite(*runners: str, workload: str) -> Suite:
    group = Group(workloads=[workload], runners=list(runners), baseline=runners[0], heats=1)
    return Suite(name="contract", description="", seed=5, timeout_s=120.0, heat_attempts=1, group=[group])


def description_or_skip(name: str):
    try:
        return probe_description(read_runner(name.partition(":")[0]))
    except RunnerUnavailableError as reason:
        pytest.skip(str(reason))


def entry_or_skip(name: str) -> str:
    """Return the entry to try: the runner's default, of Axon the first backend that is built here."""
    told = description_or_skip(name)
    return next(f"{name}:{b}" for b in BACKENDS if b in told.versions) if name == "elixir_axon" else name


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


@pytest.mark.parametrize(("name", "workload"), PAIRS)
def test_a_runner_passes_the_gate_on_real_data(fresh_store, name, workload):
    """Every part that the model has, against the float64 reference."""
    entry = entry_or_skip(name)
    cells = expand_suite(suite(entry, workload=workload))
    setting = GateSetting(
        store=fresh_store,
        executor=LocalExecutor(),
        data=verified_data,
        descriptions={name.partition(":")[0]: description_or_skip(name)},
    )
    (result,) = gate_entries(proofs_of(cells), setting, print).values()

    assert result.failure == ""
    assert {row.part for row in result.rows} == set("ABCDFG" if workload == "mnist_mlp" else "ABCDF")


@pytest.mark.parametrize("name", [n for n in known_runners() if "mnist_mlp" in read_runner(n).workloads])
def test_a_runner_trains_as_the_contract_says(fresh_store, small_data: DataFiles, name):
    """Whole epochs with a smaller last batch, four evaluations each: every event in order, every example counted."""
    entry = entry_or_skip(name)
    setting = Setting(executor=LocalExecutor(), data=lambda _: small_data)
    collect(suite("fake", entry, workload="mnist_mlp"), fresh_store, setting, Silent())

    run = fresh_store.query("select * from runs where runner = ?", [name]).iloc[0]
    assert (run["status"], run["message"]) == ("completed", "")
    epochs = fresh_store.query("select epoch, examples from epochs where run_id = ? order by epoch", [run["run_id"]])
    assert epochs["epoch"].tolist() == [number / 4 for number in range(1, 13)]
    assert epochs["examples"].sum() == 3 * 700
    phases = fresh_store.query("select distinct phase from phases where run_id = ?", [run["run_id"]])
    assert len(phases) == 9


@pytest.mark.parametrize("name", ["julia_stdlib", "elixir_beam"])
def test_a_bare_language_trains_the_real_mnist_beside_python(fresh_store, name):
    """One epoch in one heat with NumPy, after the gate; nobody learns less from it."""
    description_or_skip(name)
    group = Group(
        workloads=["mnist_mlp"], runners=["python_numpy", name], baseline="python_numpy", heats=1, axes=Axes(epochs=[1])
    )
    plan = Suite(name="real", description="", seed=5, timeout_s=600.0, heat_attempts=1, group=[group])
    collect(plan, fresh_store, Setting(executor=LocalExecutor(), data=verified_data), Silent())

    runs = fresh_store.query("select runner, status, gate_passed from runs where not control")
    learned = fresh_store.query("select value from measurements where metric = 'final_test_accuracy'")
    assert set(runs["runner"]) == {"python_numpy", name}
    assert set(runs["status"]) == {"completed"}
    assert runs["gate_passed"].all()
    assert len(learned) == 3
    assert learned["value"].min() > 0.93
