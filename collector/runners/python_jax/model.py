"""The models of the contract (§5) as pure functions."""

from __future__ import annotations

from jax import Array
from jax.nn import relu
from layers import Layers, flatten, max_pool, max_pool_3x3
from learner import Arrays
from setting import Setting

BLOCKS = {"resnet18": (2, 2, 2, 2), "resnet50": (3, 4, 6, 3)}


def apply_model(setting: Setting, weights: Arrays, images: Array, key: Array | None) -> tuple[Array, Arrays]:
    """Return logits and, in training, the running statistics after this pass; a key of None means evaluation."""
    layers = Layers(setting=setting, weights=weights, key=key)
    return MODELS[setting.model](layers, images), layers.statistics


def mlp(layers: Layers, images: Array) -> Array:
    """Return the logits of a perceptron with one or two hidden layers."""
    values = relu(layers.dense("hidden", flatten(images)))
    if layers.setting.hidden_layers == 2:
        values = relu(layers.dense("hidden2", values))
    return layers.dense("output", layers.dropout(values))


def lenet5(layers: Layers, images: Array) -> Array:
    """Return the logits of LeNet-5 with ReLU and max-pooling."""
    values = max_pool(relu(layers.convolution("conv1", images)))
    values = max_pool(relu(layers.convolution("conv2", values)))
    values = relu(layers.dense("dense1", flatten(values)))
    values = relu(layers.dense("dense2", values))
    return layers.dense("dense3", values)


def cnn(layers: Layers, images: Array) -> Array:
    """Return the logits of two convolutions, with batch norm or without, and two dense layers."""
    values = images
    for number in (1, 2):
        values = relu(layers.convolution(f"conv{number}", values))
        if layers.setting.has_norms:
            values = layers.norm(f"norm{number}", values)
        values = max_pool(values)
    return layers.dense("output", layers.dropout(relu(layers.dense("hidden", flatten(values)))))


def keras_cnn(layers: Layers, images: Array) -> Array:
    """Return the logits of the convolutional network of the Keras introduction."""
    values = max_pool(relu(layers.convolution("conv1", images)))
    values = max_pool(relu(layers.convolution("conv2", values)))
    return layers.dense("output", layers.dropout(flatten(values)))


def resnet(layers: Layers, images: Array) -> Array:
    """Return the logits of a residual network (He et al. 2015)."""
    if layers.setting.stem == "imagenet":
        values = layers.convolution("stem", images, stride=2, padding=3)
        values = max_pool_3x3(relu(layers.norm("stem_norm", values)))
    else:
        values = relu(layers.norm("stem_norm", layers.convolution("stem", images, padding=1)))
    for stage, blocks in enumerate(BLOCKS[layers.setting.model], start=1):
        for block in range(1, blocks + 1):
            values = residual_block(layers, f"s{stage}b{block}", values, stride=2 if stage > 1 and block == 1 else 1)
    return layers.dense("output", values.mean(axis=(1, 2)))


def residual_block(layers: Layers, name: str, values: Array, *, stride: int) -> Array:
    """Return a basic block or, in ResNet-50, a bottleneck, with its shortcut."""
    # size and stride of each convolution; the stride is in the first of 3 × 3
    convolutions = ((3, stride), (3, 1)) if layers.setting.model == "resnet18" else ((1, 1), (3, stride), (1, 1))
    branch, shortcut = values, values
    for number, (size, step) in enumerate(convolutions, start=1):
        branch = layers.convolution(f"{name}_conv{number}", branch, stride=step, padding=size // 2)
        branch = layers.norm(f"{name}_norm{number}", branch)
        if number < len(convolutions):
            branch = relu(branch)
    if f"{name}_skip.weight" in layers.weights:
        shortcut = layers.norm(f"{name}_skip_norm", layers.convolution(f"{name}_skip", values, stride=stride))
    return relu(branch + shortcut)


MODELS = {"mlp": mlp, "lenet5": lenet5, "cnn": cnn, "keras_cnn": keras_cnn, "resnet18": resnet, "resnet50": resnet}
