"""The JAX runner: both variants on every model beside the float64 reference, looked at in one process of their own."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from collector.plan.runner import RUNNERS, probe_description, read_runner, runner_environment

RUNNER = "python_jax"
VARIANTS = ("jit", "nnx")
MODELS = ("mlp", "mlp2", "lenet5", "cnn", "plain_cnn", "keras_cnn")  # residual networks take minutes: the gate has them
EVERY = [(variant, model) for variant in VARIANTS for model in MODELS]

# JAX sets up its process for good: one process finds all facts, tests judge them.
PROBE = """
import json, sys
sys.path[:0] = sys.argv[1:3]
import numpy as np
import train
from _python.data import Data
from collector.reference.architecture import build_architecture
from collector.reference.reference import Forms, OptimizerState, gradient_of, logits_of, update_weights
from collector.plan.workload import Adam, Cnn, KerasCnn, Lenet5, Mlp, Sgd

draw = np.random.default_rng(5)
wide, square = (3, 18, 24), (1, 28, 28)  # channels, height and width all differ: a wrong layout shows
MODELS = {
    "mlp": (Mlp(name="mlp", hidden_units=16, dropout_rate=0.0), wide),
    "mlp2": (Mlp(name="mlp", hidden_units=16, hidden_layers=2, dropout_rate=0.0), wide),
    "lenet5": (Lenet5(name="lenet5"), (3, 28, 20)),
    "cnn": (Cnn(name="cnn", batch_norm=True, dropout_rate=0.0), wide),
    "plain_cnn": (Cnn(name="cnn", batch_norm=False, dropout_rate=0.0), square),
    "keras_cnn": (KerasCnn(name="keras_cnn", dropout_rate=0.0), wide),
}
SGD = {"optimizer": "sgd", "optimizer.learning_rate": 0.1, "optimizer.momentum": 0.9, "optimizer.weight_decay": 0.01}
ADAM = {"optimizer.beta1": 0.9, "optimizer.beta2": 0.999, "optimizer.epsilon": 1e-3}
BASE = {
    "batch_size": 6, "data.classes": 5, "device": "cpu", "dtype": "fp32", "eval_batch_size": 4, "loader": "resident",
    "seed": 7, "threads": 1, **SGD, **ADAM,
}

def trial_of(variant, model, **changes):
    keys = {f"model.{key}": value for key, value in model.model_dump().items() if key != "name"}
    return {**BASE, "model.dropout_rate": 0.0, **keys, "model": model.name, "variant": variant, **changes}

def weights_of(architecture):
    weights = {n: draw.normal(size=s) / max(1, np.prod(s[1:])) ** 0.5 for n, s in architecture.shapes.items()}
    weights |= {n: draw.uniform(0.5, 1.5, s) for n, s in architecture.statistics.items()}
    return {name: array.astype(np.float32) for name, array in weights.items()}

def data_of(shape):
    labels = np.arange(14, dtype=np.int32) % 5
    train_images, test_images = (draw.normal(size=(n, *shape)).astype(np.float32) for n in (14, 6))
    return Data(train_images, labels, test_images, labels[:6], None)

def distance(found, wanted):
    return max(float(np.linalg.norm(found[n] - wanted[n]) / np.linalg.norm(wanted[n])) for n in wanted)

FIRST = np.array([3, 1, 11, 8, 0, 6], np.int32)
facts = {variant: {"errors": {}} for variant in ("jit", "nnx")}
train.initialise(trial_of("jit", MODELS["mlp"][0]))
for variant, found in facts.items():
    for name, (model, shape) in MODELS.items():
        architecture, data = build_architecture(model, shape, 5), data_of(shape)
        given, trial = weights_of(architecture), trial_of(variant, model)
        trainer = train.Trainer(trial, train.place(trial, data), given, 0.0)
        exact = {key: value.astype(np.float64) for key, value in given.items()}
        images, labels = data.train_images[FIRST].astype(np.float64), data.train_labels[FIRST]
        errors = found["errors"][name] = {
            "parameters": trainer.parameters - architecture.parameters,
            "weights": distance(trainer.weights(), {key: exact[key] for key in architecture.shapes}),
        }
        wanted = logits_of(architecture, exact, data.test_images.astype(np.float64))
        errors["evaluation"] = distance({"": np.concatenate([np.array(p) for p in trainer.predict()])}, {"": wanted})
        correct = int((wanted.argmax(axis=1) == data.test_labels).sum())
        errors["correct"] = trainer.evaluate()[1] - correct
        logits, loss = trainer.logits_and_loss(FIRST)
        forms = Forms(variance="biased" if variant == "nnx" else "unbiased")
        step = gradient_of(architecture, exact, images, labels, forms)
        errors["training"] = distance({"": logits}, {"": logits_of(architecture, exact, images, training=True)})
        errors["loss"] = abs(loss / step.loss - 1)
        errors["gradient"] = distance(trainer.gradient(FIRST), step.gradient)
        trainer.reset(given)
        trainer.step(FIRST)
        errors["loss_sum"] = abs(trainer.take_loss_sum() / step.loss / len(FIRST) - 1)
        if step.statistics:
            errors["statistics"] = distance(trainer.statistics(), step.statistics)
    model, shape = MODELS["mlp"]
    architecture, data = build_architecture(model, shape, 5), data_of(shape)
    given = weights_of(architecture)

    found["updates"] = {}
    for optimizer in ("sgd", "adam", "adamw"):
        trial = trial_of(variant, model, optimizer=optimizer)
        trainer = train.Trainer(trial, train.place(trial, data), given, 0.0)
        common = {"learning_rate": 0.1, "weight_decay": 0.01}
        rule = Sgd(name="sgd", momentum=0.9, **common) if optimizer == "sgd" else Adam(
            name=optimizer, beta1=0.9, beta2=0.999, epsilon=1e-3, **common
        )
        state, moved = OptimizerState(), {key: value.astype(np.float64) for key, value in given.items()}
        for _ in range(6):
            gradient = {key: draw.normal(size=value.shape).astype(np.float32) * 1e-3 for key, value in given.items()}
            trainer.update(gradient)
            moved = update_weights(rule, moved, gradient, state, Forms())
        changes = ({key: array - given[key] for key, array in arrays.items()} for arrays in (trainer.weights(), moved))
        found["updates"][optimizer] = distance(*changes)

    trial = trial_of(variant, model)
    placed = train.place(trial, data)
    trainer = train.Trainer(trial, placed, given, 0.5)
    masks = [trainer.logits_and_loss(FIRST)[0] for _ in range(2)]
    trainer.reset(given)
    found["masks_differ"] = bool((masks[0] != masks[1]).any())
    found["masks_repeat_after_reset"] = bool((trainer.logits_and_loss(FIRST)[0] == masks[0]).all())
    trainer.set_learning_rate(0.0)
    trainer.step(FIRST)
    found["moved_at_rate_0"] = distance(trainer.weights(), given)
    trainer.infer(FIRST)
    trainer.synchronise()
    found["predicted"] = np.array(trainer.prediction).shape == (6,)
    other = train.Trainer({**trial, "optimizer.learning_rate": 0.5, "seed": 8}, placed, given, 0.5)
    found["shares_compilation"] = other.compiled is trainer.compiled

    strict = train.Trainer(trial, placed, given, 0.0)
    rounded = train.Trainer({**trial, "dtype": "bf16"}, placed, given, 0.0)
    found["bf16"] = distance(rounded.gradient(FIRST), strict.gradient(FIRST))
    rounded.step(FIRST)
    kept = rounded.compiled.learner.weights(rounded.state).values()
    found["bf16_kept"] = sorted({str(array.dtype) for array in kept})
    if variant == "jit":
        facts["jit"]["imports_flax"] = any(name in sys.modules for name in ("flax", "optax"))
print(json.dumps(facts))
"""


@pytest.fixture(scope="module")
def facts() -> dict[str, Any]:
    """Return what the probe found, by variant."""
    folders = [str(RUNNERS / RUNNER), str(RUNNERS)]
    environment = runner_environment(read_runner(RUNNER), threads=1)
    answer = subprocess.run(
        [sys.executable, "-c", PROBE, *folders], env=environment, capture_output=True, text=True, check=False
    )
    assert answer.returncode == 0, answer.stderr
    return json.loads(answer.stdout)


@pytest.mark.parametrize(("variant", "model"), EVERY)
def test_every_model_is_the_reference_in_evaluation_and_training(facts, variant, model):
    """Weights go in and come out in the canonical layout; logits, loss and correct predictions are the reference's."""
    errors = facts[variant]["errors"][model]

    assert errors["parameters"] == errors["correct"] == 0
    assert errors["weights"] == 0
    assert max(errors[key] for key in ("evaluation", "training", "loss")) < 1e-5


@pytest.mark.parametrize(("variant", "model"), EVERY)
def test_gradients_and_the_loss_of_a_step_are_the_reference_s(facts, variant, model):
    """Every tensor of the gradient; the summed loss counts each example once."""
    errors = facts[variant]["errors"][model]

    assert errors["gradient"] < 1e-4
    assert errors["loss_sum"] < 1e-5


@pytest.mark.parametrize("variant", VARIANTS)
def test_running_statistics_are_of_the_declared_form(facts, variant):
    """With jit the running variance is unbiased, with Flax biased, as runner.toml says."""
    declared = read_runner(RUNNER).exceptions_of(variant)

    assert declared == (["biased_running_variance"] if variant == "nnx" else [])
    assert facts[variant]["errors"]["cnn"]["statistics"] < 1e-6


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw"])
@pytest.mark.parametrize("variant", VARIANTS)
def test_optimizers_are_those_of_the_contract(facts, variant, optimizer):
    """Six given gradients, with weight decay and an epsilon that counts."""
    assert facts[variant]["updates"][optimizer] < 5e-5


@pytest.mark.parametrize("variant", VARIANTS)
def test_each_pass_draws_a_mask_of_its_own_from_the_seed(facts, variant):
    """Two passes differ; after a reset the first mask comes again."""
    assert facts[variant]["masks_differ"]
    assert facts[variant]["masks_repeat_after_reset"]


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_schedule_changes_the_rate_without_compiling_again(facts, variant):
    """The rate belongs to the state: at 0 nothing moves, and another rate and seed share the compiled functions."""
    assert facts[variant]["moved_at_rate_0"] == 0
    assert facts[variant]["shares_compilation"]


@pytest.mark.parametrize("variant", VARIANTS)
def test_inference_leaves_a_class_for_each_example(facts, variant):
    """On the device, in evaluation mode."""
    assert facts[variant]["predicted"]


@pytest.mark.parametrize("variant", VARIANTS)
def test_bf16_rounds_products_and_keeps_weights_in_float32(facts, variant):
    """The rounding is seen in the gradient: XLA did not optimise it away."""
    assert 1e-4 < facts[variant]["bf16"] < 0.1
    assert facts[variant]["bf16_kept"] == ["float32"]


def test_the_variant_jit_imports_neither_flax_nor_optax(facts):
    """What nnx adds does not weigh on JAX alone."""
    assert not facts["jit"]["imports_flax"]


def test_describe_names_flax_and_optax_as_they_are_pinned():
    """Their versions decide what the variant nnx computes."""
    pins = (RUNNERS / RUNNER / "requirements.txt").read_text(encoding="utf-8").split()
    versions = probe_description(read_runner(RUNNER)).versions

    assert {f"{package}=={versions[package]}" for package in ("flax", "jaxlib", "optax")} >= {
        pin for pin in pins if pin.startswith(("flax", "optax"))
    }
