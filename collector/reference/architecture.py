"""The models of collector/protocol/README.md §5: their layers, the shapes of their parameters, and their work."""

from __future__ import annotations

from dataclasses import dataclass, field

from collector.plan.workload import Cnn, KerasCnn, Lenet5, Mlp, Model, Resnet
from collector.reference.layers import (
    Layer,
    batch_norm,
    convolution,
    dense,
    flatten,
    max_pool,
    mean_pixels,
    relu,
    residual,
)

Shape = tuple[int, ...]
BLOCKS = {"resnet18": (2, 2, 2, 2), "resnet50": (3, 4, 6, 3)}
STAGE_CHANNELS = (64, 128, 256, 512)


@dataclass(slots=True)
class Architecture:
    """A model for images of one shape, grown layer by layer.

    `body` ends where dropout stands, or before the last dense layer where there is none; `head` follows it.
    """

    shape: Shape  # of what the next layer is given, without the examples
    shapes: dict[str, Shape] = field(default_factory=dict)  # trainable parameters, in the order of the layers
    statistics: dict[str, Shape] = field(default_factory=dict)  # running statistics of batch norms
    branch_ends: list[str] = field(default_factory=list)  # the last norm of each residual block
    multiply_adds: int = 0  # of one example's forward pass, convolutions and dense layers
    has_max_pool: bool = False
    first_multiply_adds: int = 0  # those of the first layer, whose input needs no gradient
    body: list[Layer] = field(default_factory=list)
    head: list[Layer] = field(default_factory=list)

    @property
    def layers(self) -> list[Layer]:
        """All layers, without dropout."""
        return [*self.body, *self.head]

    @property
    def parameters(self) -> int:
        """The number of trainable parameters."""
        return sum(_product(shape) for shape in self.shapes.values())

    @property
    def training_flops(self) -> int:
        """Floating-point operations of training on one example: forward, gradients of weights and of inputs."""
        return 2 * (3 * self.multiply_adds - self.first_multiply_adds)

    def dense(self, name: str, units: int) -> Layer:
        """Return a dense layer of the next shape."""
        inputs = _product(self.shape)
        self._weigh(name, (units, inputs), inputs * units)
        self.shapes[f"{name}.bias"] = (units,)
        self.shape = (units,)
        return dense(name)

    def convolution(self, name: str, channels: int, size: int, *, stride: int = 1, padding: int = 0) -> Layer:
        """Return a convolution without bias of the next shape."""
        inputs, height, width = self.shape
        self.shape = (channels, *((side + 2 * padding - size) // stride + 1 for side in (height, width)))
        weight = (channels, inputs, size, size)
        self._weigh(name, weight, _product(weight) * self.shape[1] * self.shape[2])
        return convolution(name, stride=stride, padding=padding, bias=False)

    def biased_convolution(self, name: str, channels: int, size: int) -> Layer:
        """Return a convolution with bias, without padding."""
        self.convolution(name, channels, size)
        self.shapes[f"{name}.bias"] = (channels,)
        return convolution(name)

    def norm(self, name: str, model: Cnn | Resnet) -> Layer:
        """Return a batch norm of the next shape."""
        for parameter in ("weight", "bias"):
            self.shapes[f"{name}.{parameter}"] = self.shape[:1]
        for statistic in ("running_mean", "running_var"):
            self.statistics[f"{name}.{statistic}"] = self.shape[:1]
        return batch_norm(name, epsilon=model.norm_epsilon, momentum=model.norm_momentum)

    def max_pool(self, size: int = 2, *, stride: int = 2, padding: int = 0) -> Layer:
        """Return a max-pool of the next shape."""
        self.shape = (self.shape[0], *((side + 2 * padding - size) // stride + 1 for side in self.shape[1:]))
        self.has_max_pool = True
        return max_pool(size, stride=stride, padding=padding)

    def _weigh(self, name: str, shape: Shape, multiply_adds: int) -> None:
        self.shapes[f"{name}.weight"] = shape
        self.first_multiply_adds = self.first_multiply_adds or multiply_adds
        self.multiply_adds += multiply_adds


def build_architecture(model: Model, image_shape: Shape, classes: int) -> Architecture:
    """Return `model` for images of shape (channels, height, width) with `classes` labels."""
    grown = Architecture(image_shape)
    match model:
        case Mlp():
            _grow_mlp(grown, model, classes)
        case Lenet5():
            _grow_lenet5(grown, classes)
        case Cnn():
            _grow_cnn(grown, model, classes)
        case KerasCnn():
            _grow_keras_cnn(grown, classes)
        case Resnet():
            _grow_resnet(grown, model, classes)
    return grown


def _grow_mlp(grown: Architecture, model: Mlp, classes: int) -> None:
    grown.body = [flatten, grown.dense("hidden", model.hidden_units), relu]
    if model.hidden_layers == 2:
        grown.body += [grown.dense("hidden2", model.hidden_units), relu]
    grown.head = [grown.dense("output", classes)]


def _grow_lenet5(grown: Architecture, classes: int) -> None:
    grown.body = [grown.biased_convolution("conv1", 6, 5), relu, grown.max_pool()]
    grown.body += [grown.biased_convolution("conv2", 16, 5), relu, grown.max_pool(), flatten]
    grown.body += [grown.dense("dense1", 120), relu, grown.dense("dense2", 84), relu]
    grown.head = [grown.dense("dense3", classes)]


def _grow_cnn(grown: Architecture, model: Cnn, classes: int) -> None:
    for number, channels in ((1, 32), (2, 64)):
        grown.body += [grown.biased_convolution(f"conv{number}", channels, 3), relu]
        if model.batch_norm:
            grown.body += [grown.norm(f"norm{number}", model)]
        grown.body += [grown.max_pool()]
    grown.body += [flatten, grown.dense("hidden", 64), relu]
    grown.head = [grown.dense("output", classes)]


def _grow_keras_cnn(grown: Architecture, classes: int) -> None:
    for number, channels in ((1, 32), (2, 64)):
        grown.body += [grown.biased_convolution(f"conv{number}", channels, 3), relu, grown.max_pool()]
    grown.body += [flatten]
    grown.head = [grown.dense("output", classes)]


def _grow_resnet(grown: Architecture, model: Resnet, classes: int) -> None:
    if model.stem == "imagenet":
        grown.body = [grown.convolution("stem", 64, 7, stride=2, padding=3), grown.norm("stem_norm", model), relu]
        grown.body += [grown.max_pool(3, stride=2, padding=1)]
    else:
        grown.body = [grown.convolution("stem", 64, 3, padding=1), grown.norm("stem_norm", model), relu]
    for stage, (blocks, channels) in enumerate(zip(BLOCKS[model.name], STAGE_CHANNELS, strict=True), start=1):
        for block in range(1, blocks + 1):
            stride = 2 if stage > 1 and block == 1 else 1
            grown.body += [_grow_block(grown, model, f"s{stage}b{block}", channels, stride), relu]
    grown.body += [mean_pixels]
    grown.shape = grown.shape[:1]
    grown.head = [grown.dense("output", classes)]


def _grow_block(grown: Architecture, model: Resnet, name: str, channels: int, stride: int) -> Layer:
    """Return a basic block or a bottleneck without its last ReLU."""
    start = grown.shape
    if model.name == "resnet18":
        # (channels, kernel size, stride) of each convolution
        convolutions = [(channels, 3, stride), (channels, 3, 1)]
    else:
        convolutions = [(channels, 1, 1), (channels, 3, stride), (4 * channels, 1, 1)]
    branch: list[Layer] = []
    for number, (width, size, step) in enumerate(convolutions, start=1):
        layer = grown.convolution(f"{name}_conv{number}", width, size, stride=step, padding=(size - 1) // 2)
        branch += [layer, grown.norm(f"{name}_norm{number}", model), relu]
    branch.pop()
    grown.branch_ends.append(f"{name}_norm{len(convolutions)}")
    end = grown.shape
    shortcut: list[Layer] = []
    if start != end:
        grown.shape = start
        skip = grown.convolution(f"{name}_skip", end[0], 1, stride=stride)
        shortcut = [skip, grown.norm(f"{name}_skip_norm", model)]
    return residual(branch, shortcut)


def _product(shape: Shape) -> int:
    total = 1
    for side in shape:
        total *= side
    return total
