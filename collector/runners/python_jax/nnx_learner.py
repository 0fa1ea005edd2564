"""Variant nnx: Flax NNX modules with an Optax optimizer.

Modules are split into graph and arrays once, and each compiled function merges them while it is traced: the
functional training loop of Flax's performance guide. The arrays travel without their `Variable` objects: one step of
mnist_mlp at a batch size of 32 then takes 0.5 ms, against 1.1 ms with them and 3 ms with `nnx.jit`.
"""

from __future__ import annotations

from collections.abc import Mapping

import jax.numpy as jnp
import optax
from flax import nnx
from jax import Array
from learner import Arrays
from nnx_model import MODELS
from setting import Setting

LEAVES = {"kernel": "weight", "scale": "weight", "bias": "bias", "mean": "running_mean", "var": "running_var"}
WEIGHTS = (nnx.Param, nnx.BatchStat)

State = nnx.State  # arrays of model and optimizer, without their variables


class NnxLearner:
    """Model, loss and optimizer of one setting."""

    def __init__(self, setting: Setting) -> None:
        self.setting = setting
        self.transformation = optax.inject_hyperparams(self._transformation, hyperparam_dtype=jnp.float32)
        self.graph = nnx.graphdef(self._build(seed=0, learning_rate=0.0))

    def start(self, weights: Mapping[str, Array], seed: int, learning_rate: float) -> State:
        """Return the state before the first step."""
        model, optimizer = self._build(seed, learning_rate)
        nnx.update(model, _to_state(model, weights, WEIGHTS))
        return _to_arrays(model, optimizer)

    def step(self, state: State, images: Array, labels: Array) -> tuple[State, Array]:
        """Return the state after one training step, and the mean loss before it."""
        model, optimizer = nnx.merge(self.graph, state)
        model.train()
        (loss, _), gradient = nnx.value_and_grad(mean_loss, has_aux=True)(model, images, labels)
        optimizer.update(model, gradient)
        return _to_arrays(model, optimizer), loss

    def logits_and_loss(self, state: State, images: Array, labels: Array) -> tuple[State, Array, Array]:
        """Return logits and mean loss in training mode; the state differs in its random key and statistics."""
        model, optimizer = nnx.merge(self.graph, state)
        model.train()
        loss, logits = mean_loss(model, images, labels)
        return _to_arrays(model, optimizer), logits, loss

    def gradient(self, state: State, images: Array, labels: Array) -> Arrays:
        """Return the gradient of the mean loss in training mode."""
        model, _ = nnx.merge(self.graph, state)
        model.train()
        gradient, _ = nnx.grad(mean_loss, has_aux=True)(model, images, labels)
        return _by_name(gradient)

    def update(self, state: State, gradient: Mapping[str, Array]) -> State:
        """Return the state after the optimizer's update with a given gradient."""
        model, optimizer = nnx.merge(self.graph, state)
        optimizer.update(model, _to_state(model, gradient, nnx.Param))
        return _to_arrays(model, optimizer)

    def predict(self, state: State, images: Array) -> Array:
        """Return the logits in evaluation mode."""
        model, _ = nnx.merge(self.graph, state)
        model.eval()
        return model(images).astype(jnp.float32)

    def losses(self, logits: Array, labels: Array) -> Array:
        """Return the softmax cross-entropy of each example."""
        return optax.softmax_cross_entropy_with_integer_labels(logits, labels)

    def paced(self, state: State, learning_rate: float) -> State:
        """Return the state with another learning rate."""
        model, optimizer = nnx.merge(self.graph, state)
        optimizer.opt_state.hyperparams["learning_rate"][...] = jnp.float32(learning_rate)
        return _to_arrays(model, optimizer)

    def weights(self, state: State) -> Arrays:
        """Return the weights and the running statistics."""
        model, _ = nnx.merge(self.graph, state)
        return _by_name(nnx.state(model, WEIGHTS))

    def _build(self, seed: int, learning_rate: float) -> tuple[nnx.Module, nnx.Optimizer]:
        model = MODELS[self.setting.model](self.setting, nnx.Rngs(params=0, dropout=seed))
        return model, nnx.Optimizer(model, self.transformation(learning_rate=learning_rate), wrt=nnx.Param)

    def _transformation(self, learning_rate: Array) -> optax.GradientTransformation:
        """Return the optimizer of the contract (§6)."""
        setting = self.setting
        if setting.optimizer == "sgd":
            descent = optax.sgd(learning_rate, momentum=setting.momentum, nesterov=False, accumulator_dtype=None)
            return optax.chain(optax.add_decayed_weights(setting.weight_decay), descent)
        moments = {"b1": setting.beta1, "b2": setting.beta2, "eps": setting.epsilon, "eps_root": 0.0}
        if setting.optimizer == "adamw":
            return optax.adamw(learning_rate, **moments, nesterov=False, weight_decay=setting.weight_decay)
        adam = optax.adam(learning_rate, **moments, nesterov=False)
        return optax.chain(optax.add_decayed_weights(setting.weight_decay), adam)


def mean_loss(model: nnx.Module, images: Array, labels: Array) -> tuple[Array, Array]:
    """Return the mean loss of a batch, and its logits."""
    logits = model(images).astype(jnp.float32)
    return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean(), logits


def _to_arrays(model: nnx.Module, optimizer: nnx.Optimizer) -> State:
    return nnx.as_pure(nnx.state((model, optimizer)))


def _to_state(model: nnx.Module, arrays: Mapping[str, Array], kinds: nnx.filterlib.Filter) -> nnx.State:
    """Return arrays by canonical name as the state of a model's variables of some kinds."""
    variables = nnx.to_flat_state(nnx.state(model, kinds))
    return nnx.from_flat_state([(path, v.replace(jnp.array(arrays[_name(path)]))) for path, v in variables])


def _by_name(state: nnx.State) -> Arrays:
    """Return the variables of a state as arrays by canonical name."""
    return {_name(path): variable.get_value() for path, variable in nnx.to_flat_state(state)}


def _name(path: tuple[str, ...]) -> str:
    """Return the canonical name: blocks/s1b1/conv1/kernel is s1b1_conv1.weight."""
    *modules, leaf = path
    return f"{'_'.join(module for module in modules if module != 'blocks')}.{LEAVES[leaf]}"
