"""The reference agrees with float64 PyTorch, model by model and optimizer by optimizer."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

from collector.plan.workload import OPTIMIZERS, Cnn, KerasCnn, Lenet5, Mlp, Resnet, read_workload
from collector.reference.architecture import build_architecture
from collector.reference.layers import Pass, max_pool, run_layers
from collector.reference.reference import (
    CANONICAL,
    Forms,
    OptimizerState,
    dropout_moments,
    gradient_of,
    initial_weights,
    logits_of,
    nearest_kink,
    train,
    update_weights,
)

EXAMPLES = 6
MODELS = {
    "mlp": (Mlp(name="mlp", hidden_units=16, dropout_rate=0.5), (1, 28, 28), 10, 12_730),
    "mlp of two layers": (Mlp(name="mlp", hidden_units=16, hidden_layers=2, dropout_rate=0.5), (1, 28, 28), 10, 13_002),
    "lenet5": (Lenet5(name="lenet5"), (1, 28, 28), 10, 44_426),
    "cnn": (Cnn(name="cnn", batch_norm=True, dropout_rate=0.5), (3, 32, 32), 10, 167_754),
    "cnn without norms": (Cnn(name="cnn", batch_norm=False, dropout_rate=0.5), (3, 32, 32), 10, 167_562),
    "keras_cnn": (KerasCnn(name="keras_cnn", dropout_rate=0.5), (1, 28, 28), 10, 34_826),
    "resnet18": (Resnet(name="resnet18", stem="imagenet"), (1, 28, 28), 10, 11_175_370),
    "resnet18 for CIFAR": (Resnet(name="resnet18", stem="cifar"), (3, 16, 16), 10, 11_173_962),
    "resnet50": (Resnet(name="resnet50", stem="imagenet"), (3, 32, 32), 1000, 25_557_032),
}


class Twin:
    """The same models written once more, for float64 PyTorch."""

    def __init__(self, weights, trainable):
        self.tensors = {name: torch.tensor(array, requires_grad=name in trainable) for name, array in weights.items()}

    def conv(self, name, values, **options):
        return functional.conv2d(values, self.tensors[f"{name}.weight"], self.tensors.get(f"{name}.bias"), **options)

    def norm(self, name, values):
        if f"{name}.weight" not in self.tensors:
            return values
        keys = ("running_mean", "running_var", "weight", "bias")
        return functional.batch_norm(values, *(self.tensors[f"{name}.{key}"] for key in keys), True, 0.1, 1e-5)

    def dense(self, name, values):
        return functional.linear(values, self.tensors[f"{name}.weight"], self.tensors[f"{name}.bias"])

    def logits(self, model, values):
        if isinstance(model, Resnet):
            return self.dense("output", self.residual(model, values).mean((2, 3)))
        if isinstance(model, Lenet5):
            for name in ("conv1", "conv2"):
                values = functional.max_pool2d(functional.relu(self.conv(name, values)), 2)
            values = values.flatten(1)
            for name in ("dense1", "dense2"):
                values = functional.relu(self.dense(name, values))
            return self.dense("dense3", values)
        for number in ("1", "2") if isinstance(model, Cnn | KerasCnn) else ():
            values = functional.relu(self.conv(f"conv{number}", values))
            values = functional.max_pool2d(self.norm(f"norm{number}", values), 2)
        values = values.flatten(1)
        for name in ("hidden", "hidden2"):
            values = functional.relu(self.dense(name, values)) if f"{name}.weight" in self.tensors else values
        return self.dense("output", values)

    def residual(self, model, values):
        imagenet = model.stem == "imagenet"
        options = {"stride": 2, "padding": 3} if imagenet else {"padding": 1}
        values = functional.relu(self.norm("stem_norm", self.conv("stem", values, **options)))
        values = functional.max_pool2d(values, 3, 2, 1) if imagenet else values
        for name in sorted({key.partition("_")[0] for key in self.tensors if key.startswith("s") and "b" in key[:4]}):
            values = self.block(name, values, 2 if name[1] != "1" and name.endswith("b1") else 1)
        return values

    def block(self, name, values, stride):
        if not any(key.startswith(f"{name}_") for key in self.tensors):
            return values
        last = 3 if f"{name}_conv3.weight" in self.tensors else 2
        passed, branch = values, values
        for number in range(1, last + 1):
            size = self.tensors[f"{name}_conv{number}.weight"].shape[-1]
            step = stride if number == last - 1 else 1
            branch = self.conv(f"{name}_conv{number}", branch, stride=step, padding=size // 2)
            branch = self.norm(f"{name}_norm{number}", branch)
            branch = functional.relu(branch) if number < last else branch
        if f"{name}_skip.weight" in self.tensors:
            passed = self.norm(f"{name}_skip_norm", self.conv(f"{name}_skip", values, stride=stride))
        return functional.relu(branch + passed)


def given(name):
    model, shape, classes, _ = MODELS[name]
    architecture = build_architecture(model, shape, classes)
    generator = np.random.default_rng(4)
    weights = initial_weights(read_workload("mnist_lenet"), architecture, generator)
    images = generator.normal(size=(EXAMPLES, *shape))
    return model, architecture, weights, images, generator.integers(0, classes, EXAMPLES)


@pytest.mark.parametrize("name", MODELS)
def test_loss_gradient_and_statistics_are_those_of_pytorch(name):
    """To the last digits that float64 has, and with the number of parameters that the literature gives."""
    model, architecture, weights, images, labels = given(name)
    step = gradient_of(architecture, weights, images, labels)

    twin = Twin(weights, architecture.shapes)
    loss = functional.cross_entropy(twin.logits(model, torch.tensor(images)), torch.tensor(labels))
    loss.backward()

    assert architecture.parameters == MODELS[name][3]
    assert step.loss == pytest.approx(loss.item(), rel=1e-12)
    for parameter, gradient in step.gradient.items():
        expected = twin.tensors[parameter].grad.numpy()
        np.testing.assert_allclose(gradient, expected, atol=1e-10 * np.abs(expected).max(), err_msg=parameter)
    for statistic, array in step.statistics.items():
        np.testing.assert_allclose(array, twin.tensors[statistic].numpy(), rtol=1e-9, atol=1e-12, err_msg=statistic)


@pytest.mark.parametrize("label", OPTIMIZERS)
def test_updates_are_those_of_pytorch(label):
    """Three updates with weight decay, so that state and decay are seen."""
    ours = OPTIMIZERS[label].model_copy(update={"weight_decay": 0.1})
    generator = np.random.default_rng(5)
    weights, gradients = {"w": generator.normal(size=7)}, generator.normal(size=(3, 7))
    tensor = torch.tensor(weights["w"], requires_grad=True)
    decay = {"lr": ours.learning_rate, "weight_decay": ours.weight_decay}
    theirs = {
        "sgd": lambda: torch.optim.SGD([tensor], **decay),
        "momentum": lambda: torch.optim.SGD([tensor], momentum=0.9, **decay),
        "adam": lambda: torch.optim.Adam([tensor], **decay),
        "adamw": lambda: torch.optim.AdamW([tensor], **decay),
    }[label]()

    state = OptimizerState()
    for gradient in gradients:
        weights = update_weights(ours, weights, {"w": gradient}, state)
        tensor.grad = torch.tensor(gradient)
        theirs.step()
    np.testing.assert_allclose(weights["w"], tensor.detach().numpy(), rtol=1e-12)


def test_the_hat_form_differs_where_gradients_are_small():
    """Kingma & Ba's second form multiplies epsilon by the root of the correction: a hundred times at the first step."""
    adam, weights, gradient = OPTIMIZERS["adam"], {"w": np.zeros(1)}, {"w": np.full(1, 1e-8)}

    own = update_weights(adam, weights, gradient, OptimizerState(), CANONICAL)["w"]
    hat = update_weights(adam, weights, gradient, OptimizerState(), Forms(epsilon="hat"))["w"]

    assert own == pytest.approx(-adam.learning_rate / 2)
    assert hat == pytest.approx(-adam.learning_rate / (1 + 1 / np.sqrt(1 - adam.beta2)))


def test_dropout_has_the_moments_of_the_closed_form():
    """A hundred thousand masks by hand agree with mean and variance."""
    model, architecture, weights, images, _ = given("mlp")
    mean, variance = dropout_moments(architecture, weights, images[0], rate=0.4)

    values, _ = run_layers(architecture.body, Pass(weights=weights, training=True), images[:1])
    kept = np.random.default_rng(6).random((100_000, model.hidden_units)) > 0.4
    logits = (values * kept / 0.6) @ weights["output.weight"].T + weights["output.bias"]
    np.testing.assert_allclose(logits.mean(axis=0), mean, atol=5 * np.sqrt(variance.max() / 100_000))
    np.testing.assert_allclose(logits.var(axis=0), variance, rtol=0.03)


def test_evaluation_uses_running_statistics():
    """The batch's own statistics are for training only."""
    _, architecture, weights, images, _ = given("cnn")
    moved = weights | {"norm1.running_mean": np.full(32, 0.5)}

    assert not np.allclose(logits_of(architecture, moved, images), logits_of(architecture, weights, images))
    training = [logits_of(architecture, these, images, training=True) for these in (moved, weights)]
    np.testing.assert_array_equal(*training)


def test_of_near_ties_the_first_gets_the_gradient_and_the_largest_is_handed_on():
    """In the listed form only, up to a relative difference of 3.5e-4; padding is near to nothing."""
    values = np.array([[0.9997, 1.0, 0.9996, 1.0], [0.5, 0.2, 0.5, 0.2]])[None, None]
    found = {}
    for form in ("exact", "near"):
        pooled, backward = max_pool(2, stride=2)(Pass(weights={}, training=True, tie_form=form), values)
        assert pooled.tolist() == [[[[1.0, 1.0]]]]
        found[form] = backward(np.ones_like(pooled), {})[0, 0].tolist()

    assert found["exact"] == [[0, 1, 0, 1], [0, 0, 0, 0]]
    assert found["near"] == [[1, 0, 0, 1], [0, 0, 0, 0]]
    _, backward = max_pool(3, stride=2, padding=1)(Pass(weights={}, training=True, tie_form="near"), values)
    assert backward(np.ones((1, 1, 1, 2)), {}).sum() == 2


def test_a_kink_is_seen():
    """A hidden unit that is 0 but for rounding is as close to a kink as it is to 0."""
    _, architecture, weights, images, _ = given("mlp")
    hidden = images.reshape(EXAMPLES, -1) @ weights["hidden.weight"].T + weights["hidden.bias"]
    moved = weights | {"hidden.bias": weights["hidden.bias"] - (hidden[0] - 1e-9) * (np.arange(16) == 3)}

    assert nearest_kink(architecture, moved, images) < 1e-8
    assert nearest_kink(architecture, weights, images) > 1e-6


def test_training_carries_the_running_statistics_on():
    """Two steps move the averages twice; with a learning rate the second batch sees other weights."""
    workload = read_workload("cifar10_cnn")
    _, architecture, weights, images, labels = given("cnn")
    after, losses = train(workload, architecture, weights, [(images, labels)] * 2)

    once = gradient_of(architecture, weights, images, labels).statistics["norm1.running_mean"]
    np.testing.assert_allclose(after["norm1.running_mean"] / once, 1.9, rtol=0.05)
    assert losses[1] < losses[0]
