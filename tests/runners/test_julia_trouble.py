"""What goes wrong with Julia ends in one clear message or record, and nothing is lost."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from collector.plan.runner import (
    RUNNERS,
    RunnerUnavailableError,
    probe_description,
    read_runner,
    resolve_command,
    runner_environment,
)
from collector.protocol.events import read_events
from collector.run.launch import Ending, Launch
from collector.run.local_executor import LocalExecutor
from collector.toolchains.toolchain import find_toolchain
from tests.runners.conftest import Drive

FROM_PYTHON = RUNNERS / "julia_flux" / "from_python.py"
RUN_START = '{"kind": "run_start", "at_ns": 1, "unix_ns": 1, "pid": 1}'

# Stands for juliacall: notes how it was started and what it was asked for.
JULIACALL = """
import json, os, sys
class Main:
    asked = []
    def seval(self, code):
        self.asked.append(code)
        return lambda *arguments: self.asked.append(list(arguments))
    def include(self, path):
        options = {name: value for name, value in os.environ.items() if name.startswith("PYTHON_JULIACALL_")}
        with open("asked.json", "w") as file:
            json.dump([self.asked, path, options], file)
Main = Main()
"""


@pytest.fixture
def julia() -> Path:
    """Return Julia, or skip with the reason."""
    found = find_toolchain("julia")
    if found is None:
        pytest.skip("no Julia under .toolchains or on the PATH; to install it: make setup")
    return found


def launched(folder: Path, command: list[str]) -> Ending:
    """Return how a launched command ended in `folder`."""
    (folder / "trial.json").write_text("{}", encoding="utf-8")
    launch = Launch(
        command=command,
        environment=runner_environment(read_runner("julia_stdlib"), threads=1),
        folder=folder,
        cores=(0,),
        timeout_s=60.0,
    )
    (ending,) = LocalExecutor().execute([launch])
    return ending


def made_julia(folder: Path, program: str) -> Path:
    """Return an executable that stands for Julia."""
    path = folder / "julia"
    path.write_text(f"#!/bin/sh\n{program}\n", encoding="utf-8")
    path.chmod(0o755)
    return path


def test_a_segmentation_fault_of_the_vm_is_a_record(tmp_path: Path):
    """The signal is named, with the last line that was said; the events up to it are kept."""
    julia = made_julia(tmp_path, f"echo '{RUN_START}' > events.jsonl; echo signal 11: speaking >&2; kill -SEGV $$")

    ending = launched(tmp_path, [str(julia)])

    assert (ending.status, ending.message) == ("crashed", "killed by SIGSEGV: signal 11: speaking")
    assert (tmp_path / "events.jsonl").read_text(encoding="utf-8").strip() == RUN_START


def test_memory_that_the_vm_cannot_have_is_a_record_of_its_own(tmp_path: Path, julia: Path):
    """Julia's own error for it, thrown by asking for more memory than there is address space."""
    ending = launched(tmp_path, [str(julia), "--startup-file=no", "-e", "Vector{UInt8}(undef, 2^60)"])

    assert ending.status == "out_of_memory"
    assert "OutOfMemoryError" in ending.message or "exit code 1" in ending.message


def test_an_abort_of_the_vm_is_a_record(tmp_path: Path, julia: Path):
    """A crash inside native code, made for real."""
    ending = launched(tmp_path, [str(julia), "--startup-file=no", "-e", "ccall(:abort, Cvoid, ())"])

    assert ending.status == "crashed"
    assert ending.message.startswith("killed by SIGABRT")


@pytest.mark.usefixtures("julia")
@pytest.mark.parametrize("name", ["julia_lux", "julia_simplechains"])
def test_a_julia_that_is_too_old_for_a_runner_is_said(name: str, julia: Path):
    """The runner is unavailable, with the version it needs and the one that is here."""
    version = subprocess.run([str(julia), "--version"], capture_output=True, text=True, check=True).stdout.split()[-1]
    if tuple(map(int, version.split(".")[:2])) >= (1, 10):
        pytest.skip(f"this Julia {version} is new enough")

    with pytest.raises(RunnerUnavailableError, match=f"{name} needs Julia 1.10 or newer; this is Julia {version}"):
        probe_description(read_runner(name))


def test_a_named_julia_that_is_not_there_makes_its_runners_unavailable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The path that was looked for is in the message."""
    monkeypatch.setenv("DEADHEAT_JULIA", str(tmp_path / "no julia"))

    with pytest.raises(RunnerUnavailableError, match="no julia"):
        probe_description(read_runner("julia_stdlib"))


@pytest.mark.usefixtures("julia")
@pytest.mark.parametrize(
    ("manifest", "said"),
    [
        ('julia_version = "1.0.3"\n', "was made by Julia 1.0.3; this is Julia "),
        ("[[Flux]]\n", "its files are not there: the installation was not completed"),
        ("[[Zygote]]\n", "Flux is not in "),
    ],
    ids=["another Julia", "half installed", "another project"],
)
def test_a_project_that_cannot_be_loaded_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, manifest: str, said: str
):
    """A Manifest of another Julia, and an installation that was broken off, are told apart."""
    project = tmp_path / "a projéct 表"
    project.mkdir()
    (project / "Project.toml").write_text('[deps]\nFlux = "587475ba-b771-5e3f-ad9e-33799f191a9c"\n', encoding="utf-8")
    (project / "Manifest.toml").write_text(manifest, encoding="utf-8")
    monkeypatch.delenv("JULIA_LOAD_PATH", raising=False)
    monkeypatch.delenv("JULIA_PROJECT", raising=False)
    runner = read_runner("julia_flux")
    command = [part.replace("{folder}/run.jl", "{run}").replace("{folder}", str(project)) for part in runner.command]
    command = [part.replace("{run}", str(RUNNERS / "julia_flux" / "run.jl")) for part in command]

    with pytest.raises(RunnerUnavailableError) as caught:
        probe_description(runner.model_copy(update={"command": command}))

    assert said in str(caught.value)
    assert str(project) in str(caught.value)


@pytest.mark.usefixtures("julia")
def test_paths_may_hold_any_letters(drive: Drive, tmp_path: Path):
    """A data set and results under a folder with a space, an accent and Chinese."""
    first = drive("julia_stdlib", "plain")
    folder = tmp_path / "wärm úp 表"
    folder.mkdir()
    moved = (first.folder / "trial.json").read_text(encoding="utf-8").replace(str(first.folder), str(folder))
    (folder / "trial.json").write_text(moved, encoding="utf-8")
    for name in ("order.npy", "weights"):
        (folder / name).symlink_to(first.folder / name)
    command = resolve_command(read_runner("julia_stdlib"), threads=1)

    subprocess.run(
        [*command, str(folder / "trial.json"), str(folder / "events.jsonl")],
        env=runner_environment(read_runner("julia_stdlib"), threads=1),
        capture_output=True,
        check=True,
    )

    ours, plain = read_events(folder / "events.jsonl"), first.events
    assert [event.kind for event in ours] == [event.kind for event in plain]
    assert [e.train_loss for e in ours if e.kind == "epoch_stop"] == [
        e.train_loss for e in plain if e.kind == "epoch_stop"
    ]


def from_python(folder: Path, *, pythoncall: bool) -> list[dict[str, object]]:
    """Run the variant juliacall in a copy of its project; Python can import its own packages and those in `folder`."""
    runner = folder / "runner"
    runner.mkdir()
    shutil.copy(FROM_PYTHON, runner)
    project = (FROM_PYTHON.parent / "Project.toml").read_text(encoding="utf-8")
    added = '[deps]\nPythonCall = "6099a3de-0909-46bc-b1f4-468b9a2dfc0d"' if pythoncall else "[deps]"
    (runner / "Project.toml").write_text(project.replace("[deps]", added), encoding="utf-8")
    (folder / "trial.json").write_text('{"threads": 2}', encoding="utf-8")
    command = [sys.executable, "-S", str(runner / FROM_PYTHON.name), "/opt/julia", "trial.json", "events.jsonl"]
    subprocess.run(command, cwd=folder, env={"PYTHONPATH": str(folder), "PATH": "/usr/bin:/bin"}, check=True)
    return [json.loads(line) for line in (folder / "events.jsonl").read_text(encoding="utf-8").splitlines()]


def test_without_juliacall_the_variant_is_unsupported_with_the_remedy(tmp_path: Path):
    """One event after the start, exit code 0: never a failed run."""
    start, last = from_python(tmp_path, pythoncall=True)

    assert (start["kind"], last["kind"]) == ("run_start", "unsupported")
    assert str(last["message"]).endswith("pip install juliacall==0.9.34")


def test_without_pythoncall_the_variant_is_unsupported_with_the_remedy(tmp_path: Path):
    """Julia's half of the bridge is missing: said before a Julia is started."""
    (tmp_path / "juliacall.py").write_text(JULIACALL, encoding="utf-8")

    start, last = from_python(tmp_path, pythoncall=False)

    assert (start["kind"], last["kind"]) == ("run_start", "unsupported")
    assert 'Pkg.add(name="PythonCall", version="0.9.34")' in str(last["message"])
    assert not (tmp_path / "asked.json").exists()


def test_the_documentation_names_the_versions_that_the_messages_name():
    """Whoever follows the page gets what the runner then asks for."""
    page = (RUNNERS.parent.parent / "docs" / "how-to" / "julia.md").read_text(encoding="utf-8")

    assert "pip install juliacall==0.9.34" in page
    assert 'Pkg.add(name="PythonCall", version="0.9.34")' in page


def test_julia_in_python_gets_the_same_project_threads_and_files(tmp_path: Path):
    """The Julia that the other variant uses, its project, its threads, and the files of the trial."""
    (tmp_path / "juliacall.py").write_text(JULIACALL, encoding="utf-8")

    (start,) = from_python(tmp_path, pythoncall=True)
    asked, path, options = json.loads((tmp_path / "asked.json").read_text(encoding="utf-8"))

    assert start["kind"] == "run_start"
    assert asked[0] == "const STARTED_BY_PYTHON = true"
    assert asked[-1] == ["trial.json", "events.jsonl"]
    assert path == str(tmp_path / "runner" / "run.jl")
    assert options["PYTHON_JULIACALL_EXE"] == "/opt/julia"
    assert options["PYTHON_JULIACALL_PROJECT"] == str(tmp_path / "runner")
    assert options["PYTHON_JULIACALL_THREADS"] == "2"
    assert options["PYTHON_JULIACALL_HANDLE_SIGNALS"] == "yes"


def test_the_variant_juliacall_is_started_as_a_program_in_python(monkeypatch: pytest.MonkeyPatch):
    """It gets the Julia that the other variant is started with."""
    monkeypatch.setenv("DEADHEAT_JULIA", "/opt/julia")
    runner = read_runner("julia_flux")

    embedded, alone = (resolve_command(runner, threads=2, variant=name) for name in ("juliacall", "zygote"))

    assert embedded == [sys.executable, str(FROM_PYTHON), "/opt/julia"]
    assert alone == resolve_command(runner, threads=2)
    assert (alone[0], alone[-1]) == ("/opt/julia", str(FROM_PYTHON.parent / "run.jl"))
