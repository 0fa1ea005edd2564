"""The models of the contract (§5) as PyTorch modules, whose names are the canonical ones."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from functools import partial

from _python.trial import Trial
from torch import Tensor, nn

Norm = Callable[[int], nn.Module]  # channels -> batch norm

RESNETS = {"resnet18": (2, 2, 2, 2), "resnet50": (3, 4, 6, 3)}  # blocks of each stage
STAGE_CHANNELS = (64, 128, 256, 512)


def build_model(trial: Trial, dropout_rate: float, image_shape: tuple[int, int, int]) -> nn.Module:
    """Return the model of a trial for images of (channels, height, width), with PyTorch's own initial weights."""
    name, classes, (channels, height, width) = trial["model"], trial["data.classes"], image_shape
    if name == "mlp":
        pixels = channels * height * width
        return mlp(pixels, trial["model.hidden_units"], trial["model.hidden_layers"], classes, dropout_rate)
    if name == "lenet5":
        return lenet5(channels, classes)
    if name in RESNETS:
        return resnet(name, trial["model.stem"], channels, classes, batch_norm(trial))
    features = 64 * _pooled_twice(height) * _pooled_twice(width)
    if name == "keras_cnn":
        return keras_cnn(channels, features, classes, dropout_rate)
    norm = batch_norm(trial) if trial["model.batch_norm"] else None
    return cnn(channels, features, classes, dropout_rate, norm)


def canonical_name(name: str) -> str:
    """Return a name of the state dict as the contract has it: `s1b1.conv1.weight` is `s1b1_conv1.weight`."""
    layer, _, parameter = name.rpartition(".")
    return f"{layer.replace('.', '_')}.{parameter}"


def mlp(pixels: int, units: int, hidden_layers: int, classes: int, dropout_rate: float) -> nn.Module:
    """Return a perceptron with one or two hidden layers."""
    second = {"hidden2": nn.Linear(units, units), "relu2": nn.ReLU()} if hidden_layers == 2 else {}
    return nn.Sequential(
        OrderedDict(
            flatten=nn.Flatten(),
            hidden=nn.Linear(pixels, units),
            relu=nn.ReLU(),
            **second,
            dropout=nn.Dropout(dropout_rate),
            output=nn.Linear(units, classes),
        )
    )


def lenet5(channels: int, classes: int) -> nn.Module:
    """Return LeNet-5 with ReLU and max-pooling."""
    return nn.Sequential(
        OrderedDict(
            conv1=nn.Conv2d(channels, 6, kernel_size=5),
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
            dense3=nn.Linear(84, classes),
        )
    )


def cnn(channels: int, features: int, classes: int, dropout_rate: float, norm: Norm | None) -> nn.Module:
    """Return two convolutions, each with batch norm where there is one, a dense layer with dropout, and the output."""
    return nn.Sequential(
        OrderedDict(
            conv1=nn.Conv2d(channels, 32, kernel_size=3),
            relu1=nn.ReLU(),
            **({"norm1": norm(32)} if norm else {}),
            pool1=nn.MaxPool2d(2),
            conv2=nn.Conv2d(32, 64, kernel_size=3),
            relu2=nn.ReLU(),
            **({"norm2": norm(64)} if norm else {}),
            pool2=nn.MaxPool2d(2),
            flatten=nn.Flatten(),
            hidden=nn.Linear(features, 64),
            relu3=nn.ReLU(),
            dropout=nn.Dropout(dropout_rate),
            output=nn.Linear(64, classes),
        )
    )


def keras_cnn(channels: int, features: int, classes: int, dropout_rate: float) -> nn.Module:
    """Return the convolutional network of the Keras introduction."""
    return nn.Sequential(
        OrderedDict(
            conv1=nn.Conv2d(channels, 32, kernel_size=3),
            relu1=nn.ReLU(),
            pool1=nn.MaxPool2d(2),
            conv2=nn.Conv2d(32, 64, kernel_size=3),
            relu2=nn.ReLU(),
            pool2=nn.MaxPool2d(2),
            flatten=nn.Flatten(),
            dropout=nn.Dropout(dropout_rate),
            output=nn.Linear(features, classes),
        )
    )


def resnet(name: str, stem: str, channels: int, classes: int, norm: Norm) -> nn.Module:
    """Return a residual network (He et al. 2015) with the stride of its bottlenecks in their 3 × 3 convolution."""
    imagenet, block = stem == "imagenet", BasicBlock if name == "resnet18" else Bottleneck
    stages: OrderedDict[str, nn.Module] = OrderedDict()
    width = STAGE_CHANNELS[0]
    for stage, (inner, blocks) in enumerate(zip(STAGE_CHANNELS, RESNETS[name], strict=True), start=1):
        for number in range(1, blocks + 1):
            stages[f"s{stage}b{number}"] = block(width, inner, 2 if stage > 1 and number == 1 else 1, norm)
            width = inner * block.expansion
    return nn.Sequential(
        OrderedDict(
            stem=conv(channels, STAGE_CHANNELS[0], 7 if imagenet else 3, stride=2 if imagenet else 1),
            stem_norm=norm(STAGE_CHANNELS[0]),
            relu=nn.ReLU(),
            **({"pool": nn.MaxPool2d(kernel_size=3, stride=2, padding=1)} if imagenet else {}),
            **stages,
            mean=nn.AdaptiveAvgPool2d(1),
            flatten=nn.Flatten(),
            output=nn.Linear(width, classes),
        )
    )


class Residual(nn.Module):
    """A block of a residual network: its `residual` is added to the shortcut."""

    expansion: int  # outer channels over inner ones

    def __init__(self, channels: int, inner: int, stride: int, norm: Norm) -> None:
        super().__init__()
        self.relu = nn.ReLU()
        self.projects = stride != 1 or channels != inner * self.expansion
        if self.projects:
            self.skip = conv(channels, inner * self.expansion, 1, stride=stride)
            self.skip_norm = norm(inner * self.expansion)

    def forward(self, x: Tensor) -> Tensor:
        """Return the block's output."""
        shortcut = self.skip_norm(self.skip(x)) if self.projects else x
        return self.relu(self.residual(x) + shortcut)

    def residual(self, x: Tensor) -> Tensor:
        """Return what is added to the shortcut."""
        raise NotImplementedError


class BasicBlock(Residual):
    """Two 3 × 3 convolutions."""

    expansion = 1

    def __init__(self, channels: int, inner: int, stride: int, norm: Norm) -> None:
        super().__init__(channels, inner, stride, norm)
        self.conv1 = conv(channels, inner, 3, stride=stride)
        self.norm1 = norm(inner)
        self.conv2 = conv(inner, inner, 3)
        self.norm2 = norm(inner)

    def residual(self, x: Tensor) -> Tensor:
        """Return what is added to the shortcut."""
        x = self.relu(self.norm1(self.conv1(x)))
        return self.norm2(self.conv2(x))


class Bottleneck(Residual):
    """A 3 × 3 convolution on fewer channels, between two 1 × 1 convolutions."""

    expansion = 4

    def __init__(self, channels: int, inner: int, stride: int, norm: Norm) -> None:
        super().__init__(channels, inner, stride, norm)
        self.conv1 = conv(channels, inner, 1)
        self.norm1 = norm(inner)
        self.conv2 = conv(inner, inner, 3, stride=stride)
        self.norm2 = norm(inner)
        self.conv3 = conv(inner, inner * self.expansion, 1)
        self.norm3 = norm(inner * self.expansion)

    def residual(self, x: Tensor) -> Tensor:
        """Return what is added to the shortcut."""
        x = self.relu(self.norm1(self.conv1(x)))
        x = self.relu(self.norm2(self.conv2(x)))
        return self.norm3(self.conv3(x))


def conv(channels: int, filters: int, size: int, *, stride: int = 1) -> nn.Conv2d:
    """Return a convolution of a residual network: padded, without bias."""
    return nn.Conv2d(channels, filters, size, stride=stride, padding=(size - 1) // 2, bias=False)


def batch_norm(trial: Trial) -> Norm:
    """Return what builds the batch norms of a trial."""
    return partial(nn.BatchNorm2d, eps=trial["model.norm_epsilon"], momentum=trial["model.norm_momentum"])


def _pooled_twice(side: int) -> int:
    """Return what two rounds of a 3 × 3 convolution and a max-pool leave of the side of an image."""
    return ((side - 2) // 2 - 2) // 2
