"""The runner julia_flux: what it says without Flux, and, where Flux is installed, what it computes."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import numpy as np
import pytest

from collector.plan.runner import (
    RUNNERS,
    RunnerUnavailableError,
    probe_description,
    read_runner,
    resolve_command,
    runner_environment,
)
from collector.protocol.events import BuildStop, EpochStop, EvalStop, RunStop, of_kind
from collector.toolchains.toolchain import find_toolchain
from tests.runners.conftest import EPOCHS, GATE_REPEATS, TEST_EXAMPLES, Drive, parameter_shapes

RUNNER = read_runner("julia_flux")
STEPS = {"mode": "steps", "steps": 23, "epochs": 1, "evaluations_per_epoch": 0, "dropout_rate": 0.0}
INFER = {"mode": "infer", "steps": 7, "epochs": 1, "evaluations_per_epoch": 0}
GATE = {"mode": "gate", "evaluations_per_epoch": 1}
ENZYME = "7da242da-08ed-463a-9acd-ee780be4f1d9"
LOOPS = (("train", "zygote"), ("train_by_flux", "train"))


@pytest.fixture(scope="module")
def julia() -> None:
    """Skip with the reason where there is no Julia."""
    if find_toolchain("julia") is None:
        pytest.skip("no Julia under .toolchains or on the PATH; to install it: make setup")


@pytest.fixture(scope="module")
def flux(julia: None) -> None:
    """Skip with the reason where Flux is not installed."""
    try:
        probe_description(RUNNER)
    except RunnerUnavailableError as reason:
        pytest.skip(str(reason))


@pytest.mark.usefixtures("julia")
def test_without_flux_it_is_unavailable_with_the_remedy(monkeypatch: pytest.MonkeyPatch):
    """Never an error: the reason, and the command that installs it."""
    monkeypatch.setenv("JULIA_LOAD_PATH", "@stdlib")

    with pytest.raises(RunnerUnavailableError) as caught:
        probe_description(RUNNER)

    assert "julia_flux: Flux is not installed in the project " in str(caught.value)
    assert RUNNER.install in str(caught.value)


@pytest.mark.usefixtures("julia")
@pytest.mark.parametrize(
    ("label", "changes", "message"),
    [
        (
            "unsupported_variant",
            {"variant": "turbo"},
            "variant: got turbo; this runner supports zygote, train, enzyme, cold, juliacall",
        ),
        (
            "without_enzyme",
            {"variant": "enzyme"},
            "variant: enzyme needs the package Enzyme: julia --project=collector/runners/julia_flux "
            """-e 'using Pkg; Pkg.add(name="Enzyme", version="0.13")'""",
        ),
        (
            "enzyme_on_a_gpu",
            {"variant": "enzyme", "device": "cuda"},
            "device: got cuda; variant enzyme supports cpu",
        ),
        ("unsupported_dtype", {"dtype": "bf16"}, "dtype: got bf16; this runner supports fp32"),
        (
            "unsupported_schedule",
            {"schedule": "cosine", "schedule_epochs": 2},
            "optimizer.schedule: got cosine; this runner supports constant",
        ),
    ],
)
def test_what_it_cannot_do_is_unsupported(drive: Drive, label: str, changes: dict[str, object], message: str):
    """Told before Flux is loaded; the exit code is 0."""
    last = drive("julia_flux", label, **changes).events[-1]

    assert (last.kind, last.message) == ("unsupported", message)


@pytest.mark.usefixtures("flux")
def test_enzyme_half_installed_takes_nothing_from_the_other_variants(
    drive: Drive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """A project that names Enzyme, whose files are not there: no version of it, and the variant is unsupported."""
    (tmp_path / "Project.toml").write_text(f'[deps]\nEnzyme = "{ENZYME}"\n', encoding="utf-8")
    tree = "0123456789012345678901234567890123456789"
    entry = f'[[Enzyme]]\nuuid = "{ENZYME}"\nversion = "0.13.0"\ngit-tree-sha1 = "{tree}"\n'
    (tmp_path / "Manifest.toml").write_text(entry, encoding="utf-8")
    monkeypatch.setenv("JULIA_LOAD_PATH", f"{os.environ.get('JULIA_LOAD_PATH', '')}:{tmp_path}")

    description = probe_description(RUNNER)
    last = drive("julia_flux", "half_enzyme", variant="enzyme").events[-1]

    assert "enzyme" not in description.versions
    assert (last.kind, last.message.split(":")[1]) == ("unsupported", " enzyme needs the package Enzyme")


@pytest.mark.usefixtures("flux")
def test_its_own_tests_pass(tmp_path: Path):
    """Names of gradients, optimizers, dropout seeds, running statistics, batches."""
    *command, _ = resolve_command(RUNNER, threads=1)
    script = str(RUNNERS / "julia_flux" / "test" / "runtests.jl")
    environment = runner_environment(RUNNER, threads=1)

    answer = subprocess.run(
        [*command, script], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=900, check=False
    )

    assert answer.returncode == 0, answer.stdout + answer.stderr


@pytest.mark.usefixtures("flux")
def test_it_learns_with_every_event_of_the_contract(drive: Drive):
    """Four pairs an epoch with their evaluations; ten patterns are told apart after two epochs."""
    events = drive("julia_flux", "train", variant="zygote").events
    trained, evaluated = list(of_kind(events, EpochStop)), list(of_kind(events, EvalStop))
    (stop,) = of_kind(events, RunStop)

    assert [event.examples for event in trained] == [32, 64, 64, 40] * EPOCHS
    assert {event.examples for event in evaluated} == {TEST_EXAMPLES}
    assert evaluated[-1].correct >= 0.9 * TEST_EXAMPLES
    assert [event.parameters for event in of_kind(events, BuildStop)] == [12_730]
    assert (stop.threads, stop.flushes_subnormals) == (1, True)
    assert stop.gc_s > 0


@pytest.mark.usefixtures("flux")
@pytest.mark.parametrize("model", ["mlp", "lenet5"])
def test_without_dropout_it_has_the_training_loss_of_numpy(drive: Drive, model: str):
    """23 steps in two languages have the same mean loss within float32 rounding."""
    (ours,), (numpys,) = (
        of_kind(drive(runner, f"{model}_steps", model=model, **STEPS).events, EpochStop)
        for runner in ("julia_flux", "python_pytorch")
    )

    assert ours.examples == numpys.examples == 23 * 32
    assert ours.train_loss == pytest.approx(numpys.train_loss, rel=1e-4)


@pytest.mark.usefixtures("flux")
def test_the_loop_of_flux_has_the_events_and_losses_of_the_loop_of_the_runner(drive: Drive):
    """Variant train: Flux.train! over the batches between two readings of the clock, dropout included."""
    ours, theirs = (drive("julia_flux", label, variant=name).events for label, name in LOOPS)

    assert [event.kind for event in theirs] == [event.kind for event in ours]
    assert [event.train_loss for event in of_kind(theirs, EpochStop)] == pytest.approx(
        [event.train_loss for event in of_kind(ours, EpochStop)], rel=1e-5
    )


@pytest.mark.usefixtures("flux")
def test_it_infers_twice_over_the_same_batches(drive: Drive):
    """One chunk a pass for the latency, one for the throughput."""
    events = drive("julia_flux", "infer", **INFER).events

    assert [event.epoch for event in of_kind(events, EpochStop)] == [1.0, 2.0]
    assert [event.kind for event in events].count("chunk_stop") == 7 + 1


@pytest.mark.usefixtures("flux")
def test_the_gate_writes_every_quantity_in_its_canonical_shape(drive: Drive):
    """Parts A to D, F and G, and no other array."""
    outcome = drive("julia_flux", "gate_mlp", **GATE)

    shapes = {
        "a.losses": (14,),
        "a.logits": (32, 10),
        "f.logits": (TEST_EXAMPLES, 10),
        "f.correct": (1,),
        "f.loss": (1,),
        "g.logits": (GATE_REPEATS, 10),
    }
    for part in ("b.gradient", "c.weights", "d.weights1", "d.weights2"):
        shapes |= {f"{part}.{name}": shape for name, shape in parameter_shapes("mlp").items()}
    assert {name: outcome.array(name).shape for name in shapes} == shapes
    assert {path.stem for path in outcome.folder.glob("?.*.npy")} == set(shapes)


@pytest.mark.usefixtures("flux")
def test_the_gate_agrees_with_numpy(drive: Drive):
    """Losses, gradients and weights, by layouts that two languages hold differently."""
    ours, numpys = (drive(runner, "gate_mlp", **GATE) for runner in ("julia_flux", "python_numpy"))

    for name in ("a.losses", "b.gradient.hidden.weight", "b.gradient.output.bias", "f.logits"):
        np.testing.assert_allclose(ours.array(name), numpys.array(name), rtol=1e-4, atol=1e-6)
    for name in parameter_shapes("mlp"):
        np.testing.assert_allclose(ours.array(f"c.weights.{name}"), numpys.array(f"c.weights.{name}"), atol=1e-6)


@pytest.mark.usefixtures("flux")
@pytest.mark.parametrize("variant", ["zygote", "train"])
def test_a_loss_that_is_not_finite_ends_the_run_as_diverged(drive: Drive, variant: str):
    """A learning rate of 1e30 is an ending, not a crash, and neither a NaN nor an infinity in the events."""
    last = drive("julia_flux", f"diverged_{variant}", variant=variant, learning_rate=1e30).events[-1]

    assert last.kind == "diverged"
    assert last.message.endswith((" loss is NaN", " loss is Inf"))
