"""The models of the contract (§5) in Keras's functional API; layer names are those of the canonical weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import keras
from _python.trial import Trial
from keras import KerasTensor, layers

DTYPE = "float32"
BLOCKS = {"resnet18": (2, 2, 2, 2), "resnet50": (3, 4, 6, 3)}
STAGE_CHANNELS = (64, 128, 256, 512)


@dataclass(frozen=True, slots=True, kw_only=True)
class Kit:
    """The layers that the models are made of, with what all layers of a trial have in common."""

    trial: Trial
    dropout_rate: float
    data_format: str
    dropout_seed: int | None

    @property
    def channel_axis(self) -> int:
        """The axis of the channels."""
        return -1 if self.data_format == "channels_last" else 1

    def dense(self, name: str, values: KerasTensor, units: int, activation: str | None = None) -> KerasTensor:
        """Return an affine map, and its activation; initial weights are given, so none are drawn."""
        return layers.Dense(
            units,
            activation=activation,
            use_bias=True,
            kernel_initializer="zeros",
            bias_initializer="zeros",
            dtype=DTYPE,
            name=name,
        )(values)

    def convolution(
        self,
        name: str,
        values: KerasTensor,
        filters: int,
        size: int,
        *,
        strides: int = 1,
        padding: str = "valid",
        activation: str | None = None,
        use_bias: bool = False,
    ) -> KerasTensor:
        """Return a cross-correlation."""
        return layers.Conv2D(
            filters,
            size,
            strides=strides,
            padding=padding,
            data_format=self.data_format,
            activation=activation,
            use_bias=use_bias,
            kernel_initializer="zeros",
            bias_initializer="zeros",
            dtype=DTYPE,
            name=name,
        )(values)

    def padded_convolution(
        self, name: str, values: KerasTensor, filters: int, size: int, *, strides: int = 1
    ) -> KerasTensor:
        """Return a convolution padded alike on both sides; "same" does that at stride 1 only."""
        if strides == 1:
            return self.convolution(name, values, filters, size, padding="same")
        if size > 1:
            values = self.padding(values, (size - 1) // 2)
        return self.convolution(name, values, filters, size, strides=strides)

    def norm(self, name: str, values: KerasTensor) -> KerasTensor:
        """Return a batch norm; Keras's momentum is the weight of the old average."""
        return layers.BatchNormalization(
            axis=self.channel_axis,
            momentum=1 - self.trial["model.norm_momentum"],
            epsilon=self.trial["model.norm_epsilon"],
            center=True,
            scale=True,
            dtype=DTYPE,
            name=name,
        )(values)

    def relu(self, values: KerasTensor) -> KerasTensor:
        """Return the positive part."""
        return layers.ReLU(dtype=DTYPE)(values)

    def padding(self, values: KerasTensor, size: int) -> KerasTensor:
        """Return the values with zeros around."""
        return layers.ZeroPadding2D(size, data_format=self.data_format, dtype=DTYPE)(values)

    def max_pool(self, values: KerasTensor, size: int = 2) -> KerasTensor:
        """Return the maximum of each window, two apart."""
        return layers.MaxPooling2D(size, strides=2, padding="valid", data_format=self.data_format, dtype=DTYPE)(values)

    def flatten(self, values: KerasTensor) -> KerasTensor:
        """Return the values in the order in which they lie; `Layout` permutes the next weight."""
        return layers.Flatten(data_format="channels_last", dtype=DTYPE, name="flatten")(values)

    def mean(self, values: KerasTensor) -> KerasTensor:
        """Return the mean over height and width."""
        return layers.GlobalAveragePooling2D(data_format=self.data_format, keepdims=False, dtype=DTYPE)(values)

    def dropout(self, values: KerasTensor) -> KerasTensor:
        """Return the values, in training mode some dropped and the survivors scaled up."""
        if self.dropout_rate == 0:
            return values
        return layers.Dropout(self.dropout_rate, seed=self.dropout_seed, dtype=DTYPE)(values)


def build_model(kit: Kit, image_shape: tuple[int, ...]) -> keras.Model:
    """Return the model of a trial, from images to logits."""
    images = keras.Input(image_shape, dtype=DTYPE)
    return keras.Model(images, MODELS[kit.trial["model"]](kit, images))


def mlp(kit: Kit, images: KerasTensor) -> KerasTensor:
    """Return the logits of a perceptron with one or two hidden layers."""
    units = kit.trial["model.hidden_units"]
    values = kit.dense("hidden", kit.flatten(images), units, "relu")
    if kit.trial["model.hidden_layers"] == 2:
        values = kit.dense("hidden2", values, units, "relu")
    return kit.dense("output", kit.dropout(values), kit.trial["data.classes"])


def lenet5(kit: Kit, images: KerasTensor) -> KerasTensor:
    """Return the logits of LeNet-5 with ReLU and max-pooling."""
    values = kit.max_pool(kit.convolution("conv1", images, 6, 5, activation="relu", use_bias=True))
    values = kit.max_pool(kit.convolution("conv2", values, 16, 5, activation="relu", use_bias=True))
    values = kit.dense("dense1", kit.flatten(values), 120, "relu")
    values = kit.dense("dense2", values, 84, "relu")
    return kit.dense("dense3", values, kit.trial["data.classes"])


def cnn(kit: Kit, images: KerasTensor) -> KerasTensor:
    """Return the logits of two convolutions, each with batch norm where the trial says so, and a hidden layer."""
    values = images
    for number, filters in ((1, 32), (2, 64)):
        values = kit.convolution(f"conv{number}", values, filters, 3, activation="relu", use_bias=True)
        if kit.trial["model.batch_norm"]:
            values = kit.norm(f"norm{number}", values)
        values = kit.max_pool(values)
    values = kit.dropout(kit.dense("hidden", kit.flatten(values), 64, "relu"))
    return kit.dense("output", values, kit.trial["data.classes"])


def keras_cnn(kit: Kit, images: KerasTensor) -> KerasTensor:
    """Return the logits of the convolutional network of the Keras introduction."""
    values = kit.max_pool(kit.convolution("conv1", images, 32, 3, activation="relu", use_bias=True))
    values = kit.max_pool(kit.convolution("conv2", values, 64, 3, activation="relu", use_bias=True))
    return kit.dense("output", kit.dropout(kit.flatten(values)), kit.trial["data.classes"])


def resnet(kit: Kit, images: KerasTensor) -> KerasTensor:
    """Return the logits of a residual network (He et al. 2015)."""
    name = kit.trial["model"]
    block, growth = (basic_block, 1) if name == "resnet18" else (bottleneck, 4)
    values = stem(kit, images)
    for stage, (blocks, channels) in enumerate(zip(BLOCKS[name], STAGE_CHANNELS, strict=True), start=1):
        for number in range(1, blocks + 1):
            strides = 2 if stage > 1 and number == 1 else 1
            prefix = f"s{stage}b{number}"
            shortcut = _shortcut(kit, prefix, values, channels * growth, strides)
            values = kit.relu(layers.Add(dtype=DTYPE)([block(kit, prefix, values, channels, strides), shortcut]))
    return kit.dense("output", kit.mean(values), kit.trial["data.classes"])


def stem(kit: Kit, images: KerasTensor) -> KerasTensor:
    """Return what comes before the first block, in its ImageNet or its CIFAR form."""
    if kit.trial["model.stem"] == "cifar":
        return kit.relu(kit.norm("stem_norm", kit.padded_convolution("stem", images, 64, 3)))
    values = kit.relu(kit.norm("stem_norm", kit.padded_convolution("stem", images, 64, 7, strides=2)))
    return kit.max_pool(kit.padding(values, 1), 3)  # behind a ReLU no zero wins over a value


def basic_block(kit: Kit, prefix: str, values: KerasTensor, channels: int, strides: int) -> KerasTensor:
    """Return two 3 × 3 convolutions of the values."""
    values = kit.padded_convolution(f"{prefix}_conv1", values, channels, 3, strides=strides)
    values = kit.relu(kit.norm(f"{prefix}_norm1", values))
    return kit.norm(f"{prefix}_norm2", kit.padded_convolution(f"{prefix}_conv2", values, channels, 3))


def bottleneck(kit: Kit, prefix: str, values: KerasTensor, channels: int, strides: int) -> KerasTensor:
    """Return 1 × 1, 3 × 3 and 1 × 1 convolutions of the values."""
    values = kit.relu(kit.norm(f"{prefix}_norm1", kit.padded_convolution(f"{prefix}_conv1", values, channels, 1)))
    values = kit.padded_convolution(f"{prefix}_conv2", values, channels, 3, strides=strides)
    values = kit.relu(kit.norm(f"{prefix}_norm2", values))
    return kit.norm(f"{prefix}_norm3", kit.padded_convolution(f"{prefix}_conv3", values, 4 * channels, 1))


def _shortcut(kit: Kit, prefix: str, values: KerasTensor, channels: int, strides: int) -> KerasTensor:
    if strides == 1 and values.shape[kit.channel_axis] == channels:
        return values
    values = kit.padded_convolution(f"{prefix}_skip", values, channels, 1, strides=strides)
    return kit.norm(f"{prefix}_skip_norm", values)


MODELS: dict[str, Callable[[Kit, KerasTensor], KerasTensor]] = {
    "mlp": mlp,
    "lenet5": lenet5,
    "cnn": cnn,
    "keras_cnn": keras_cnn,
    "resnet18": resnet,
    "resnet50": resnet,
}
