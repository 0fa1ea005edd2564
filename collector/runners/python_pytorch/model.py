"""The models of the contract (§5) as PyTorch modules; layer names are those of the canonical weights."""

from __future__ import annotations

from collections import OrderedDict

from _python.trial import Trial
from torch import nn


def build_model(trial: Trial, dropout_rate: float) -> nn.Module:
    """Return the model of a trial with PyTorch's own initial weights."""
    if trial["model"] == "mlp":
        return mlp(trial["model.hidden_units"], dropout_rate)
    return lenet5()


def mlp(hidden_units: int, dropout_rate: float) -> nn.Module:
    """Return a perceptron with one hidden layer."""
    return nn.Sequential(
        OrderedDict(
            flatten=nn.Flatten(),
            hidden=nn.Linear(784, hidden_units),
            relu=nn.ReLU(),
            dropout=nn.Dropout(dropout_rate),
            output=nn.Linear(hidden_units, 10),
        )
    )


def lenet5() -> nn.Module:
    """Return LeNet-5 with ReLU and max-pooling."""
    return nn.Sequential(
        OrderedDict(
            conv1=nn.Conv2d(1, 6, kernel_size=5),
            relu1=nn.ReLU(),
            pool1=nn.MaxPool2d(2),
            conv2=nn.Conv2d(6, 16, kernel_size=5),
            relu2=nn.ReLU(),
            pool2=nn.MaxPool2d(2),
            flatten=nn.Flatten(),
            dense1=nn.Linear(256, 120),
            relu3=nn.ReLU(),
            dense2=nn.Linear(120, 84),
            relu4=nn.ReLU(),
            dense3=nn.Linear(84, 10),
        )
    )
