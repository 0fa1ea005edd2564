"""The models of the contract (§5) as Flax NNX modules; every default of a layer is set."""

from __future__ import annotations

from functools import partial

import jax.numpy as jnp
from flax import nnx
from jax import Array
from layers import flatten, max_pool
from setting import Setting

BLOCKS = {"resnet18": (2, 2, 2, 2), "resnet50": (3, 4, 6, 3)}
STAGE_CHANNELS = (64, 128, 256, 512)


class Layers:
    """The layers as the models below make them: the trial's settings, and zeros until the given weights come."""

    def __init__(self, setting: Setting, rngs: nnx.Rngs) -> None:
        zeros = nnx.initializers.zeros_init()
        common = {"dtype": setting.operand_dtype, "param_dtype": jnp.float32, "precision": None, "rngs": rngs}
        self.linear = partial(nnx.Linear, use_bias=True, kernel_init=zeros, bias_init=zeros, **common)
        self.conv = partial(nnx.Conv, strides=1, padding="VALID", kernel_init=zeros, bias_init=zeros, **common)
        self.norm = partial(
            nnx.BatchNorm,
            axis=-1,
            momentum=1 - setting.norm_momentum,
            epsilon=setting.norm_epsilon,
            dtype=jnp.float32,
            param_dtype=jnp.float32,
            use_fast_variance=True,
            rngs=rngs,
        )
        self.dropout = partial(nnx.Dropout, setting.dropout_rate, broadcast_dims=(), rngs=rngs)


class Mlp(nnx.Module):
    """A perceptron with one or two hidden layers."""

    def __init__(self, setting: Setting, rngs: nnx.Rngs) -> None:
        layers = Layers(setting, rngs)
        height, width, channels = setting.image_shape
        self.hidden = layers.linear(height * width * channels, setting.hidden_units)
        has_second = setting.hidden_layers == 2
        self.hidden2 = layers.linear(setting.hidden_units, setting.hidden_units) if has_second else None
        self.dropout = layers.dropout()
        self.output = layers.linear(setting.hidden_units, setting.classes)

    def __call__(self, images: Array) -> Array:
        """Return the logits."""
        values = nnx.relu(self.hidden(flatten(images)))
        if self.hidden2 is not None:
            values = nnx.relu(self.hidden2(values))
        return self.output(self.dropout(values))


class Lenet5(nnx.Module):
    """LeNet-5 with ReLU and max-pooling."""

    def __init__(self, setting: Setting, rngs: nnx.Rngs) -> None:
        layers = Layers(setting, rngs)
        self.conv1 = layers.conv(setting.image_shape[-1], 6, kernel_size=(5, 5), use_bias=True)
        self.conv2 = layers.conv(6, 16, kernel_size=(5, 5), use_bias=True)
        self.dense1 = layers.linear(_pooled_pixels(setting, kernel_side=5) * 16, 120)
        self.dense2 = layers.linear(120, 84)
        self.dense3 = layers.linear(84, setting.classes)

    def __call__(self, images: Array) -> Array:
        """Return the logits."""
        values = max_pool(nnx.relu(self.conv1(images)))
        values = max_pool(nnx.relu(self.conv2(values)))
        values = nnx.relu(self.dense1(flatten(values)))
        return self.dense3(nnx.relu(self.dense2(values)))


class Cnn(nnx.Module):
    """Two convolutions, with batch norm or without, and two dense layers."""

    def __init__(self, setting: Setting, rngs: nnx.Rngs) -> None:
        layers = Layers(setting, rngs)
        self.conv1 = layers.conv(setting.image_shape[-1], 32, kernel_size=(3, 3), use_bias=True)
        self.conv2 = layers.conv(32, 64, kernel_size=(3, 3), use_bias=True)
        self.norm1 = layers.norm(32) if setting.has_norms else None
        self.norm2 = layers.norm(64) if setting.has_norms else None
        self.hidden = layers.linear(_pooled_pixels(setting, kernel_side=3) * 64, 64)
        self.dropout = layers.dropout()
        self.output = layers.linear(64, setting.classes)

    def __call__(self, images: Array) -> Array:
        """Return the logits."""
        values = images
        for conv, norm in ((self.conv1, self.norm1), (self.conv2, self.norm2)):
            values = nnx.relu(conv(values))
            if norm is not None:
                values = norm(values)
            values = max_pool(values)
        return self.output(self.dropout(nnx.relu(self.hidden(flatten(values)))))


class KerasCnn(nnx.Module):
    """The convolutional network of the Keras introduction."""

    def __init__(self, setting: Setting, rngs: nnx.Rngs) -> None:
        layers = Layers(setting, rngs)
        self.conv1 = layers.conv(setting.image_shape[-1], 32, kernel_size=(3, 3), use_bias=True)
        self.conv2 = layers.conv(32, 64, kernel_size=(3, 3), use_bias=True)
        self.dropout = layers.dropout()
        self.output = layers.linear(_pooled_pixels(setting, kernel_side=3) * 64, setting.classes)

    def __call__(self, images: Array) -> Array:
        """Return the logits."""
        values = max_pool(nnx.relu(self.conv1(images)))
        values = max_pool(nnx.relu(self.conv2(values)))
        return self.output(self.dropout(flatten(values)))


class BasicBlock(nnx.Module):
    """Two 3 × 3 convolutions and a shortcut (He et al. 2015)."""

    expansion = 1  # outer channels per inner channel

    def __init__(self, layers: Layers, inputs: int, channels: int, stride: int) -> None:
        conv = partial(layers.conv, use_bias=False)
        self.conv1 = conv(inputs, channels, kernel_size=(3, 3), strides=stride, padding=1)
        self.norm1 = layers.norm(channels)
        self.conv2 = conv(channels, channels, kernel_size=(3, 3), padding=1)
        self.norm2 = layers.norm(channels)
        is_projected = stride > 1 or inputs != channels
        self.skip = conv(inputs, channels, kernel_size=(1, 1), strides=stride) if is_projected else None
        self.skip_norm = layers.norm(channels) if is_projected else None

    def __call__(self, values: Array) -> Array:
        """Return the block's output."""
        branch = nnx.relu(self.norm1(self.conv1(values)))
        branch = self.norm2(self.conv2(branch))
        shortcut = values if self.skip is None else self.skip_norm(self.skip(values))
        return nnx.relu(branch + shortcut)


class Bottleneck(nnx.Module):
    """A 3 × 3 convolution between two of 1 × 1, and a shortcut (He et al. 2015)."""

    expansion = 4

    def __init__(self, layers: Layers, inputs: int, channels: int, stride: int) -> None:
        conv, outputs = partial(layers.conv, use_bias=False), self.expansion * channels
        self.conv1 = conv(inputs, channels, kernel_size=(1, 1))
        self.norm1 = layers.norm(channels)
        self.conv2 = conv(channels, channels, kernel_size=(3, 3), strides=stride, padding=1)
        self.norm2 = layers.norm(channels)
        self.conv3 = conv(channels, outputs, kernel_size=(1, 1))
        self.norm3 = layers.norm(outputs)
        is_projected = stride > 1 or inputs != outputs
        self.skip = conv(inputs, outputs, kernel_size=(1, 1), strides=stride) if is_projected else None
        self.skip_norm = layers.norm(outputs) if is_projected else None

    def __call__(self, values: Array) -> Array:
        """Return the block's output."""
        branch = nnx.relu(self.norm1(self.conv1(values)))
        branch = nnx.relu(self.norm2(self.conv2(branch)))
        branch = self.norm3(self.conv3(branch))
        shortcut = values if self.skip is None else self.skip_norm(self.skip(values))
        return nnx.relu(branch + shortcut)


class Resnet(nnx.Module):
    """A residual network: stem, four stages of blocks, mean over the pixels, one dense layer."""

    def __init__(self, setting: Setting, rngs: nnx.Rngs) -> None:
        layers = Layers(setting, rngs)
        block_class = BasicBlock if setting.model == "resnet18" else Bottleneck
        self.has_imagenet_stem = setting.stem == "imagenet"
        size, stride, padding = (7, 2, 3) if self.has_imagenet_stem else (3, 1, 1)
        self.stem = layers.conv(
            setting.image_shape[-1], 64, kernel_size=(size, size), strides=stride, padding=padding, use_bias=False
        )
        self.stem_norm = layers.norm(64)
        blocks, inputs = {}, 64
        for stage, (count, channels) in enumerate(zip(BLOCKS[setting.model], STAGE_CHANNELS, strict=True), start=1):
            for block in range(1, count + 1):
                stride = 2 if stage > 1 and block == 1 else 1
                blocks[f"s{stage}b{block}"] = block_class(layers, inputs, channels, stride)
                inputs = block_class.expansion * channels
        self.blocks = nnx.Dict(blocks)
        self.output = layers.linear(inputs, setting.classes)

    def __call__(self, images: Array) -> Array:
        """Return the logits."""
        values = nnx.relu(self.stem_norm(self.stem(images)))
        if self.has_imagenet_stem:
            values = nnx.max_pool(values, window_shape=(3, 3), strides=(2, 2), padding=((1, 1), (1, 1)))
        for block in self.blocks.values():
            values = block(values)
        return self.output(values.mean(axis=(1, 2)))


MODELS = {"mlp": Mlp, "lenet5": Lenet5, "cnn": Cnn, "keras_cnn": KerasCnn, "resnet18": Resnet, "resnet50": Resnet}


def _pooled_pixels(setting: Setting, *, kernel_side: int) -> int:
    """Return height times width after two unpadded convolutions, each followed by a max-pool."""
    height, width = setting.image_shape[:2]
    for _ in range(2):
        height, width = (height - kernel_side + 1) // 2, (width - kernel_side + 1) // 2
    return height * width
