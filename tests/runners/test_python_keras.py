"""The Keras runner: both ways on each backend beside the float64 reference, each backend in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from collector.plan.runner import RUNNERS, probe_description, read_runner, runner_environment

RUNNER = "python_keras"
BACKENDS = ("tensorflow", "jax", "torch")
VARIANTS = tuple(f"{backend}_{way}" for backend in BACKENDS for way in ("fit", "step"))
TIMEOUT_S = 900.0  # compiling on a busy machine

# Keras sets up its process for one backend: one process finds all facts of one, tests judge them.
PROBE = """
import json, sys
backend = sys.argv[1]
sys.path[:0] = sys.argv[2:4]
import numpy as np
import train
from _python.data import Data
from collector.reference.architecture import build_architecture
from collector.reference.reference import Forms, OptimizerState, gradient_of, logits_of, update_weights
from collector.plan.workload import Adam, Cnn, KerasCnn, Lenet5, Mlp, Sgd

draw = np.random.default_rng(5)
wide = (3, 18, 24)  # channels, height and width all differ: a wrong layout shows
MODELS = {
    "mlp": (Mlp(name="mlp", hidden_units=16, hidden_layers=2, dropout_rate=0.0), wide),
    "lenet5": (Lenet5(name="lenet5"), (3, 28, 20)),
    "cnn": (Cnn(name="cnn", batch_norm=True, dropout_rate=0.0), wide),
    "keras_cnn": (KerasCnn(name="keras_cnn", dropout_rate=0.0), wide),
}
BASE = {
    "batch_size": 6, "data.classes": 5, "device": "cpu", "dtype": "fp32", "eval_batch_size": 4, "loader": "resident",
    "seed": 7, "threads": 1, "model.dropout_rate": 0.0, "model.norm_epsilon": 1e-5, "model.norm_momentum": 0.1,
    "optimizer": "sgd", "optimizer.learning_rate": 0.1, "optimizer.momentum": 0.9, "optimizer.weight_decay": 0.01,
    "optimizer.beta1": 0.9, "optimizer.beta2": 0.999, "optimizer.epsilon": 1e-3,
}
FIRST = np.array([3, 1, 11, 8, 0, 6], np.int32)

def trial_of(variant, model, **changes):
    keys = {f"model.{key}": value for key, value in model.model_dump().items() if key != "name"}
    return {**BASE, **keys, "model": model.name, "variant": variant, **changes}

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

def moved_by_reference(rule, given, gradients, rates):
    state, moved = OptimizerState(), {key: value.astype(np.float64) for key, value in given.items()}
    for gradient, rate in zip(gradients, rates, strict=True):
        rule = rule.model_copy(update={"learning_rate": rate})
        moved = update_weights(rule, moved, gradient, state, Forms(epsilon="hat"))
    return {key: moved[key] - given[key] for key in moved}

def trained_by_reference(architecture, given, data, batches):
    rule = Sgd(name="sgd", momentum=0.9, learning_rate=0.1, weight_decay=0.01)
    state, weights, loss_sum = OptimizerState(), {key: value.astype(np.float64) for key, value in given.items()}, 0.0
    for batch in batches:
        images, labels = data.train_images[batch].astype(np.float64), data.train_labels[batch]
        step = gradient_of(architecture, weights, images, labels)
        weights = update_weights(rule, weights, step.gradient, state)
        loss_sum += step.loss * len(batch)
    return {key: weights[key] - given[key] for key in weights}, loss_sum

variants = [f"{backend}_{way}" for way in ("fit", "step")]
facts = {variant: {"errors": {}, "updates": {}} for variant in variants}
train.initialise(trial_of(variants[0], MODELS["mlp"][0]))
for variant, found in facts.items():
    for name, (model, shape) in MODELS.items():
        architecture, data = build_architecture(model, shape, 5), data_of(shape)
        given, trial = weights_of(architecture), trial_of(variant, model)
        trainer = train.Trainer(trial, train.place(trial, data), given, 0.0)
        exact = {key: value.astype(np.float64) for key, value in given.items()}
        images, labels = data.train_images[FIRST].astype(np.float64), data.train_labels[FIRST]
        wanted = logits_of(architecture, exact, data.test_images.astype(np.float64))
        predicted = np.concatenate([np.array(part) for part in trainer.predict()])
        batch = trainer.batch(FIRST)
        logits, loss = trainer.logits_and_loss(batch)
        step = gradient_of(architecture, exact, images, labels, Forms(variance="biased"))
        errors = found["errors"][name] = {
            "parameters": trainer.parameters - architecture.parameters,
            "weights": distance(trainer.weights(), {key: exact[key] for key in architecture.shapes}),
            "evaluation": distance({"": predicted}, {"": wanted}),
            "correct": trainer.evaluate()[1] - int((wanted.argmax(axis=1) == data.test_labels).sum()),
            "training": distance({"": logits}, {"": logits_of(architecture, exact, images, training=True)}),
            "loss": abs(loss / step.loss - 1),
            "gradient": distance(trainer.gradient(batch), step.gradient),
        }
        trainer.reset(given)
        trainer.step(batch)
        errors["loss_sum"] = abs(trainer.take_loss_sum() / step.loss / len(FIRST) - 1)
        if step.statistics:
            errors["statistics"] = distance(trainer.statistics(), step.statistics)

    model, shape = MODELS["mlp"]
    architecture, data = build_architecture(model, shape, 5), data_of(shape)
    given = weights_of(architecture)
    rates = [0.1, 0.1, 0.1, 0.04, 0.04, 0.04]
    for optimizer in ("sgd", "adam", "adamw"):
        trial = trial_of(variant, model, optimizer=optimizer)
        trainer = train.Trainer(trial, train.place(trial, data), given, 0.0)
        common = {"learning_rate": 0.1, "weight_decay": 0.01}
        rule = Sgd(name="sgd", momentum=0.9, **common) if optimizer == "sgd" else Adam(
            name=optimizer, beta1=0.9, beta2=0.999, epsilon=1e-3, **common
        )
        gradients = [
            {key: draw.normal(size=value.shape).astype(np.float32) * 1e-3 for key, value in given.items()}
            for _ in rates
        ]
        for gradient, rate in zip(gradients, rates, strict=True):
            trainer.set_learning_rate(rate)
            trainer.update(gradient)
        moved = {key: array - given[key] for key, array in trainer.weights().items()}
        found["updates"][optimizer] = distance(moved, moved_by_reference(rule, given, gradients, rates))
    if backend == "torch":
        found["one_kernel"] = hasattr(trainer.optimizer, "_parallel_update_step")

    trial = trial_of(variant, model)
    placed = train.place(trial, data)
    trainer = train.Trainer(trial, placed, given, 0.5)
    batch = trainer.batch(FIRST)
    masks = [np.array(trainer.logits_and_loss(batch)[0]) for _ in range(2)]
    trainer.reset(given)
    found["masks_differ"] = bool((masks[0] != masks[1]).any())
    found["masks_repeat_after_reset"] = bool((trainer.logits_and_loss(batch)[0] == masks[0]).all())
    trainer.infer(batch)

    trainer = train.Trainer(trial, placed, given, 0.0)
    marks, batches = [], trainer.batches(np.arange(14, dtype=np.int32))
    trainer.run_steps(batches, [1, 3], marks.append)
    order = np.arange(14, dtype=np.int32)
    moved, loss_sum = trained_by_reference(architecture, given, data, [order[:6], order[6:12], order[12:]])
    found["marks"] = marks
    found["three_steps"] = distance({key: array - given[key] for key, array in trainer.weights().items()}, moved)
    found["three_losses"] = abs(trainer.take_loss_sum() / loss_sum - 1)
    trainer.run_steps(batches[:1], [1], lambda _: None)
    found["report"] = trainer.report()
    frozen = train.Trainer({**trial, "optimizer.learning_rate": 0.0}, placed, given, 0.0)
    frozen.step(frozen.batch(FIRST))
    found["moved_at_rate_0"] = distance(frozen.weights(), given)
    found["shares_model"] = frozen.model is trainer.model
print(json.dumps(facts))
"""


@pytest.fixture(scope="module")
def facts() -> dict[str, dict[str, Any]]:
    """Return what the probes found, by variant."""
    found: dict[str, dict[str, Any]] = {}
    folders = [str(RUNNERS / RUNNER), str(RUNNERS)]
    environment = runner_environment(read_runner(RUNNER), threads=1)
    for backend in BACKENDS:
        answer = subprocess.run(
            [sys.executable, "-c", PROBE, backend, *folders],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=TIMEOUT_S,
        )
        assert answer.returncode == 0, answer.stderr
        found |= json.loads(answer.stdout.splitlines()[-1])
    return found


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("model", ["mlp", "lenet5", "cnn", "keras_cnn"])
def test_every_model_is_the_reference(facts, variant, model):
    """Weights go in and come out in the canonical layout; what is computed with them is the reference's."""
    errors = facts[variant]["errors"][model]

    assert errors["parameters"] == errors["correct"] == errors["weights"] == 0
    assert max(errors[key] for key in ("evaluation", "training", "loss", "loss_sum")) < 1e-5
    assert errors["gradient"] < 1e-3


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_running_variance_is_biased_as_declared(facts, variant):
    """Keras averages the biased variance, and runner.toml says so."""
    assert "biased_running_variance" in read_runner(RUNNER).exceptions_of(variant)
    assert facts[variant]["errors"]["cnn"]["statistics"] < 1e-5


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw"])
@pytest.mark.parametrize("variant", VARIANTS)
def test_optimizers_are_those_of_the_contract_when_the_rate_changes_too(facts, variant, optimizer):
    """Six given gradients with weight decay; Keras's velocity holds the learning rate, the contract's not."""
    assert facts[variant]["updates"][optimizer] < 5e-5


@pytest.mark.parametrize("variant", ["torch_fit", "torch_step"])
def test_weight_decay_keeps_pytorch_s_kernels_over_all_parameters(facts, variant):
    """A plain subclass of Keras's optimizer would update parameter by parameter."""
    assert facts[variant]["one_kernel"]


@pytest.mark.parametrize("variant", VARIANTS)
def test_each_pass_draws_masks_of_its_own_from_the_seed(facts, variant):
    """Two passes differ; after a reset the first masks come again."""
    assert facts[variant]["masks_differ"]
    assert facts[variant]["masks_repeat_after_reset"]


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_run_of_steps_trains_every_batch_in_its_order(facts, variant):
    """Three batches, the last one smaller: the reference's weights and summed loss, marks where they were asked for."""
    assert facts[variant]["marks"] == [1, 3]
    assert facts[variant]["three_steps"] < 1e-3
    assert facts[variant]["three_losses"] < 1e-5


@pytest.mark.parametrize("variant", VARIANTS)
def test_trainers_of_one_trial_share_their_model_and_not_their_rate(facts, variant):
    """The gate's frozen trainer costs no compilation, and moves nothing."""
    assert facts[variant]["shares_model"]
    assert facts[variant]["moved_at_rate_0"] == 0


@pytest.mark.parametrize("variant", VARIANTS)
def test_subnormals_are_flushed_and_threads_counted(facts, variant):
    """What run_stop says."""
    assert facts[variant]["report"]["flushes_subnormals"]
    assert facts[variant]["report"]["threads"] >= 1


def test_describe_names_keras_and_its_backends_as_they_are_pinned():
    """Without importing any of them."""
    pins = (RUNNERS / RUNNER / "requirements.txt").read_text(encoding="utf-8").split()
    versions = probe_description(read_runner(RUNNER)).versions
    found = {
        f"jax=={versions['jax']}",
        f"keras=={versions['framework_version']}",
        f"numpy=={versions['numpy']}",
        f"tensorflow-cpu=={versions['tensorflow']}",
        f"torch=={versions['torch'].partition('+')[0]}",
    }

    assert found == set(pins)
