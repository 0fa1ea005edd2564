"""What is known is not gated again, what changed is, and one trial that fails takes no other with it."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from collector.gate.proofs import proofs_of
from collector.gate.prove import COLLECTOR, GateSetting, gate_entries, read_gate_code
from collector.plan.matrix import Group, Suite, expand_suite
from collector.plan.runner import RUNNERS, Description, probe_description, read_runner
from collector.plan.workload import OPTIMIZERS
from collector.run.local_executor import LocalExecutor


def cells(runner: str, workloads=("mnist_mlp",), runners: Path = RUNNERS):
    group = Group(workloads=list(workloads), runners=[runner], baseline=runner, heats=1, mode="steps", steps=1)
    return expand_suite(Suite(name="some", description="", seed=1, group=[group]), runners=runners)


@pytest.fixture
def setting(fresh_store, small_data):
    """Return a setting in which NumPy and the fake are available."""
    fake = Description(versions={"framework_version": "1"}, devices=("cpu",))
    return GateSetting(
        store=fresh_store,
        executor=LocalExecutor(),
        data=lambda _: small_data,
        descriptions={"fake": fake, "python_numpy": probe_description(read_runner("python_numpy"))},
    )


def gate(setting, *chosen):
    told: list[str] = []
    results = gate_entries(proofs_of([cell for some in chosen for cell in some]), setting, told.append)
    return results, told


def test_a_known_result_is_taken_from_the_store(setting):
    """The second time nothing is run, and the rows are those of the first."""
    (first,) = gate(setting, cells("fake"))[0].values()
    (second,) = gate(setting, cells("fake"))[0].values()

    assert (first.passed, first.is_known, second.is_known) == (True, False, True)
    assert {row.part: row.error for row in second.rows} == {row.part: row.error for row in first.rows}
    assert setting.store.query("select count(*) as n from gates")["n"][0] == len(first.rows)


@pytest.mark.parametrize("change", ["version", "folder", "optimizer"])
def test_what_changed_is_gated_again(setting, tmp_path, change):
    """Another version, another line in the runner's folder, another optimizer: another proof."""
    gate(setting, cells("fake"))
    chosen = cells("fake")
    if change == "version":
        newer = Description(versions={"framework_version": "2"}, devices=("cpu",))
        setting = replace(setting, descriptions={"fake": newer})
    elif change == "folder":
        shutil.copytree(RUNNERS / "fake", tmp_path / "runners" / "fake")
        with (tmp_path / "runners" / "fake" / "run.py").open("a", encoding="utf-8") as file:
            file.write("# another line\n")
        setting = replace(setting, runners=tmp_path / "runners")
    else:
        (cell,) = chosen
        other = cell.workload.model_copy(update={"optimizer": OPTIMIZERS["momentum"]})
        chosen = [replace(cell, workload=other)]

    known = [result.is_known for result in gate(setting, chosen)[0].values()]
    assert known == ([False, True] if change == "optimizer" else [False])  # which builds on the own optimizer's proof


def test_a_failure_is_never_taken_for_known(setting):
    """Whoever failed is run again: the cause may have been the machine."""
    for _ in range(2):
        (result,) = gate(setting, cells("fake:summed_loss"))[0].values()
        assert not result.passed
        assert not result.is_known
        assert "summed" in result.failure
    assert list((setting.store.path / "gates").glob("fake-summed_loss-*/a.losses.npy")), "its output is kept"


def test_trials_of_one_process_are_judged_each_for_itself(setting):
    """NumPy proves two workloads in one process, side by side with the fake; the order of the answer is that asked."""
    results, told = gate(setting, cells("python_numpy", ["mnist_mlp", "mnist_lenet"]), cells("fake"))

    assert [(str(key.entry), key.workload) for key in results] == [
        ("python_numpy:default", "mnist_mlp"),
        ("python_numpy:default", "mnist_lenet"),
        ("fake:exact", "mnist_mlp"),
    ]
    assert all(result.passed for result in results.values()), [result.failure for result in results.values()]
    assert sum(line.startswith("gate ") for line in told) == 3


def test_a_trial_that_takes_its_process_with_it_is_run_alone(setting, tmp_path):
    """The one behind it in the same process gets a process of its own, and passes."""
    shutil.copytree(RUNNERS / "python_numpy", tmp_path / "runners" / "python_numpy")
    shutil.copytree(RUNNERS / "_python", tmp_path / "runners" / "_python")
    program = tmp_path / "runners" / "python_numpy" / "train.py"
    ending = 'import os\n    if trial["model"] == "mlp":\n        os._exit(9)\n    return data'
    broken = program.read_text(encoding="utf-8").replace("return data", ending, 1)
    program.write_text(broken.replace("def place(_: Trial", "def place(trial: Trial"), encoding="utf-8")
    setting = replace(setting, runners=tmp_path / "runners")

    results, _ = gate(setting, cells("python_numpy", ["mnist_mlp", "mnist_lenet"], tmp_path / "runners"))
    outcome = {key.workload: result.failure for key, result in results.items()}
    assert "exit code 9" in outcome["mnist_mlp"]
    assert outcome["mnist_lenet"] == ""


def test_an_unavailable_runner_is_left_out(setting):
    """Its reason is told elsewhere; here it is not gated."""
    setting = replace(setting, descriptions={})

    assert gate(setting, cells("fake"))[0] == {}


@pytest.fixture
def code(tmp_path: Path) -> Path:
    """Return a copy of the collector's code without its runners."""
    return shutil.copytree(COLLECTOR, tmp_path / "collector", ignore=shutil.ignore_patterns("runners", "__pycache__"))


@pytest.mark.parametrize(
    "place",
    [
        "datasets/files.py",  # how data are standardised
        "gate/inputs.py",
        "gate/evidence.py",
        "gate/judge.py",
        "gate/diagnosis/faults.py",
        "plan/exceptions.toml",
        "plan/listed_forms.py",
        "reference/layers.py",
        "run/inputs.py",
    ],
)
def test_a_proof_expires_with_all_that_made_it(code: Path, place: str):
    """Whoever changes one of these has to prove again."""
    before = read_gate_code.__wrapped__(code)
    (code / place).write_text((code / place).read_text(encoding="utf-8") + "# changed\n", encoding="utf-8")

    assert read_gate_code.__wrapped__(code) != before


@pytest.mark.parametrize(
    "place", ["gate/.judge.py.swp", "gate/judge.py~", "gate/#judge.py#", "gate/judge.py.orig", "cli/main.py"]
)
def test_a_proof_outlives_what_does_not_make_it(code: Path, place: str):
    """What an editor leaves beside the code, and the command line."""
    before = read_gate_code.__wrapped__(code)
    (code / place).write_text("changed")

    assert read_gate_code.__wrapped__(code) == before
