"""The models of the contract (§5) as plain functions of variables: images NHWC, kernels HWIO, dense weights [in, out].

TensorFlow has CPU convolutions for NHWC alone, and turns the graph to NCHW by itself where a GPU prefers that.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
import tensorflow as tf
from _python.data import Array
from _python.trial import Trial
from norm import fused_norm, image_wise_norm

Variables = Mapping[str, tf.Variable]
BLOCKS = {"resnet18": (2, 2, 2, 2), "resnet50": (3, 4, 6, 3)}
STAGE_CHANNELS = (64, 128, 256, 512)


@dataclass(slots=True, kw_only=True)
class Pass:
    """What one pass through a model reads, the layers it is made of, and the running statistics it leaves behind."""

    variables: Variables  # parameters and running statistics, by canonical name
    trial: Trial
    dropout_rate: float
    dropout_seed: tf.Tensor | None  # two integers; None: evaluation mode
    statistics: dict[str, tf.Tensor] = field(default_factory=dict)  # running statistics after a training pass

    @property
    def training(self) -> bool:
        """Whether batch norms take the batch's statistics and dropout drops."""
        return self.dropout_seed is not None

    def dense(self, layer: str, values: tf.Tensor) -> tf.Tensor:
        """Return an affine map."""
        product = self._narrowed(tf.linalg.matmul, values, self.variables[f"{layer}.weight"])
        return tf.nn.bias_add(product, self.variables[f"{layer}.bias"])

    def biased_convolution(self, layer: str, values: tf.Tensor) -> tf.Tensor:
        """Return a cross-correlation with bias, without padding."""
        return tf.nn.bias_add(self.convolution(layer, values), self.variables[f"{layer}.bias"])

    def convolution(self, layer: str, values: tf.Tensor, *, stride: int = 1, padding: int = 0) -> tf.Tensor:
        """Return a cross-correlation without bias, padded alike on both sides.

        oneDNN has no kernel for explicit paddings: at stride 1 "SAME" means the same, else the zeros are laid around.
        """
        if padding and stride > 1:
            values = tf.pad(values, _edges(padding))
        mode = "SAME" if padding and stride == 1 else "VALID"
        return self._narrowed(
            lambda x, w: tf.nn.conv2d(x, w, strides=stride, padding=mode, data_format="NHWC"),
            values,
            self.variables[f"{layer}.weight"],
        )

    def norm(self, layer: str, values: tf.Tensor) -> tf.Tensor:
        """Return a batch norm, and note where its running averages move."""
        given = ("weight", "bias", "running_mean", "running_var")
        scale, offset, mean, variance = (tf.convert_to_tensor(self.variables[f"{layer}.{name}"]) for name in given)
        epsilon, momentum = self.trial["model.norm_epsilon"], self.trial["model.norm_momentum"]
        if self.training and self.trial["device"] == "cpu" and self.trial["variant"] != "xla":
            normal = image_wise_norm(values, scale, offset, mean, variance, epsilon=epsilon, momentum=momentum)
        else:
            training = self.training
            normal = fused_norm(
                values, scale, offset, mean, variance, training=training, epsilon=epsilon, momentum=momentum
            )
        if self.training:
            self.statistics[f"{layer}.running_mean"], self.statistics[f"{layer}.running_var"] = normal[1:]
        return normal[0]

    def dropout(self, values: tf.Tensor) -> tf.Tensor:
        """Return the values in training mode with some dropped and the survivors scaled up."""
        if not self.training or self.dropout_rate == 0:
            return values
        return tf.nn.experimental.stateless_dropout(values, self.dropout_rate, seed=self.dropout_seed, rng_alg="philox")

    def _narrowed(
        self, product: Callable[[tf.Tensor, tf.Tensor], tf.Tensor], values: tf.Tensor, weight: tf.Variable
    ) -> tf.Tensor:
        if self.trial["dtype"] != "bf16":
            return product(values, weight)
        return tf.cast(product(tf.cast(values, tf.bfloat16), tf.cast(weight, tf.bfloat16)), tf.float32)


def logits_of(ops: Pass, images: tf.Tensor) -> tf.Tensor:
    """Return the logits of a trial's model."""
    return MODELS[ops.trial["model"]](ops, images)


def mlp(ops: Pass, images: tf.Tensor) -> tf.Tensor:
    """Return the logits of a perceptron with one or two hidden layers."""
    values = tf.nn.relu(ops.dense("hidden", flatten(images)))
    if ops.trial["model.hidden_layers"] == 2:
        values = tf.nn.relu(ops.dense("hidden2", values))
    return ops.dense("output", ops.dropout(values))


def lenet5(ops: Pass, images: tf.Tensor) -> tf.Tensor:
    """Return the logits of LeNet-5 with ReLU and max-pooling."""
    values = max_pool(tf.nn.relu(ops.biased_convolution("conv1", images)))
    values = max_pool(tf.nn.relu(ops.biased_convolution("conv2", values)))
    values = tf.nn.relu(ops.dense("dense1", flatten(values)))
    values = tf.nn.relu(ops.dense("dense2", values))
    return ops.dense("dense3", values)


def cnn(ops: Pass, images: tf.Tensor) -> tf.Tensor:
    """Return the logits of two convolutions, each with batch norm where the trial says so, and a hidden layer."""
    values = images
    for number in (1, 2):
        values = tf.nn.relu(ops.biased_convolution(f"conv{number}", values))
        if ops.trial["model.batch_norm"]:
            values = ops.norm(f"norm{number}", values)
        values = max_pool(values)
    values = ops.dropout(tf.nn.relu(ops.dense("hidden", flatten(values))))
    return ops.dense("output", values)


def keras_cnn(ops: Pass, images: tf.Tensor) -> tf.Tensor:
    """Return the logits of the convolutional network of the Keras introduction."""
    values = max_pool(tf.nn.relu(ops.biased_convolution("conv1", images)))
    values = max_pool(tf.nn.relu(ops.biased_convolution("conv2", values)))
    return ops.dense("output", ops.dropout(flatten(values)))


def resnet(ops: Pass, images: tf.Tensor) -> tf.Tensor:
    """Return the logits of a residual network (He et al. 2015)."""
    block = basic_block if ops.trial["model"] == "resnet18" else bottleneck
    values = stem(ops, images)
    for stage, (blocks, channels) in enumerate(zip(BLOCKS[ops.trial["model"]], STAGE_CHANNELS, strict=True), start=1):
        for number in range(1, blocks + 1):
            stride = 2 if stage > 1 and number == 1 else 1
            values = block(ops, f"s{stage}b{number}", values, channels, stride)
    return ops.dense("output", tf.math.reduce_mean(values, axis=[1, 2]))


def stem(ops: Pass, images: tf.Tensor) -> tf.Tensor:
    """Return what comes before the first block, in its ImageNet or its CIFAR form."""
    if ops.trial["model.stem"] == "cifar":
        return tf.nn.relu(ops.norm("stem_norm", ops.convolution("stem", images, padding=1)))
    values = tf.nn.relu(ops.norm("stem_norm", ops.convolution("stem", images, stride=2, padding=3)))
    # Laid around by hand: with explicit paddings the CPU's pooling is eight times as slow, and XLA has none.
    padded = tf.pad(values, _edges(1), constant_values=-np.inf)
    return tf.nn.max_pool2d(padded, ksize=3, strides=2, padding="VALID", data_format="NHWC")


def basic_block(ops: Pass, name: str, values: tf.Tensor, channels: int, stride: int) -> tf.Tensor:
    """Return the sum of two 3 × 3 convolutions and the shortcut, after ReLU."""
    branch = ops.convolution(f"{name}_conv1", values, stride=stride, padding=1)
    branch = tf.nn.relu(ops.norm(f"{name}_norm1", branch))
    branch = ops.norm(f"{name}_norm2", ops.convolution(f"{name}_conv2", branch, padding=1))
    return tf.nn.relu(branch + shortcut(ops, name, values, channels, stride))


def bottleneck(ops: Pass, name: str, values: tf.Tensor, channels: int, stride: int) -> tf.Tensor:
    """Return the sum of 1 × 1, 3 × 3 and 1 × 1 convolutions and the shortcut, after ReLU."""
    branch = tf.nn.relu(ops.norm(f"{name}_norm1", ops.convolution(f"{name}_conv1", values)))
    branch = ops.convolution(f"{name}_conv2", branch, stride=stride, padding=1)
    branch = tf.nn.relu(ops.norm(f"{name}_norm2", branch))
    branch = ops.norm(f"{name}_norm3", ops.convolution(f"{name}_conv3", branch))
    return tf.nn.relu(branch + shortcut(ops, name, values, 4 * channels, stride))


def shortcut(ops: Pass, name: str, values: tf.Tensor, channels: int, stride: int) -> tf.Tensor:
    """Return the block's input, by a 1 × 1 convolution where stride or channels change."""
    if stride == 1 and values.shape[-1] == channels:
        return values
    return ops.norm(f"{name}_skip_norm", ops.convolution(f"{name}_skip", values, stride=stride))


def flatten(images: tf.Tensor) -> tf.Tensor:
    """Return height, width and channels in one axis; `native` turned the next layer's weight to that order."""
    return tf.reshape(images, [-1, np.prod(images.shape[1:])])


def max_pool(values: tf.Tensor) -> tf.Tensor:
    """Return the maximum of each 2 × 2 window."""
    return tf.nn.max_pool2d(values, ksize=2, strides=2, padding="VALID", data_format="NHWC")


MODELS: dict[str, Callable[[Pass, tf.Tensor], tf.Tensor]] = {
    "mlp": mlp,
    "lenet5": lenet5,
    "cnn": cnn,
    "keras_cnn": keras_cnn,
    "resnet18": resnet,
    "resnet50": resnet,
}


def native(trial: Trial, name: str, array: Array) -> Array:
    """Return a canonical weight or gradient in TensorFlow's layout."""
    if array.ndim == 4:
        return array.transpose(2, 3, 1, 0)
    if channels := _flattened_channels(trial, name):
        array = array.reshape(len(array), channels, -1).swapaxes(1, 2).reshape(len(array), -1)
    return array.T


def canonical(trial: Trial, name: str, array: Array) -> Array:
    """Return the inverse of `native`."""
    if array.ndim == 4:
        return array.transpose(3, 2, 0, 1)
    array = array.T
    if channels := _flattened_channels(trial, name):
        array = array.reshape(len(array), -1, channels).swapaxes(1, 2).reshape(len(array), -1)
    return array


def _flattened_channels(trial: Trial, name: str) -> int:
    """Return the channels of the images that a dense layer is given flattened; 0 for any other parameter."""
    flattened = {
        "mlp": ("hidden.weight", len(trial["data.mean"])),
        "lenet5": ("dense1.weight", 16),
        "cnn": ("hidden.weight", 64),
        "keras_cnn": ("output.weight", 64),
    }
    weight, channels = flattened.get(trial["model"], ("", 0))
    return channels if name == weight else 0


def _edges(padding: int) -> list[list[int]]:
    return [[0, 0], [padding, padding], [padding, padding], [0, 0]]
