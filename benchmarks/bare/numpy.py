"""A training loop in NumPy as one writes it by hand for one model on one CPU: what deadheat's runner is held to.

    OPENBLAS_NUM_THREADS=1 python benchmarks/bare/numpy.py TRIAL.JSON

Trains the model (mlp or lenet5) of a trial of mode `steps` on its data, weights and order, and prints seconds in all,
the fastest twentieth times twenty, and the mean loss. Nothing of deadheat is used but the files that it wrote. Arrays
are made once; max-pools stand before bias and ReLU, which gives the same result with a quarter of the work.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

sys.path.pop(0)  # this file's folder, where "numpy" would be this file

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

CHUNKS = 20
CORNERS = ((0, 0), (0, 1), (1, 0), (1, 1))


def main() -> None:
    """Train and print."""
    trial = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    images, labels = read_data(trial)
    batches = np.load(trial["order"])[0].reshape(-1, trial["batch_size"])
    kind = {"mlp": Mlp, "lenet5": Lenet}[trial["model"]]
    train(kind(trial), images, labels, batches[:1])  # touches every page
    model = kind(trial)
    edges_s, loss_sum = [time.perf_counter()], 0.0
    for chunk in range(CHUNKS):
        part = batches[len(batches) * chunk // CHUNKS : len(batches) * (chunk + 1) // CHUNKS]
        loss_sum += train(model, images, labels, part)
        edges_s.append(time.perf_counter())
    fastest_s = np.diff(edges_s).min() * CHUNKS
    print(f"{edges_s[-1] - edges_s[0]:.4f} {fastest_s:.4f} {loss_sum / len(batches):.6f}")


def read_data(trial: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Return the training images (examples, 1, height, width), standardised, and labels of an IDX data set."""
    pixels = np.fromfile(trial["data.train_images"], np.uint8)[16:].reshape(-1, 1, 28, 28)
    labels = np.fromfile(trial["data.train_labels"], np.uint8)[8:].astype(np.intp)
    (mean,), (std,) = trial["data.mean"], trial["data.std"]
    return (np.float32(pixels) / 255 - np.float32(mean)) / np.float32(std), labels


def train(model: Mlp | Lenet, images: np.ndarray, labels: np.ndarray, batches: np.ndarray) -> float:
    """Do one step for each batch and return the summed mean loss."""
    loss_sum, rows = 0.0, np.arange(batches.shape[1])
    for batch in batches:
        np.take(images, batch, axis=0, out=model.x, mode="clip")
        logits, y = model.forward(), labels[batch]
        logits -= logits.max(axis=1, keepdims=True)
        chosen = logits[rows, y]
        np.exp(logits, out=logits)
        norms = logits.sum(axis=1)
        loss_sum += float((np.log(norms) - chosen).mean())
        logits /= norms[:, None]
        logits[rows, y] -= 1
        logits /= len(batch)
        model.backward(logits)
        model.update()
    return loss_sum


def buffer(*shape: int) -> np.ndarray:
    """Return a new array."""
    return np.empty(shape, np.float32)


class Model:
    """All weights, gradients and moments in one vector each, with views by name."""

    def __init__(self, trial: dict[str, Any]) -> None:
        arrays = {path.stem: np.load(path) for path in sorted(Path(trial["weights"]).glob("*.npy"))}
        self.trial, self.steps = trial, 0
        self.values = np.concatenate([array.ravel() for array in arrays.values()])
        self.slopes, self.first, self.second, self.scratch = (np.zeros_like(self.values) for _ in range(4))
        self.w, self.g = ({}, {})
        start = 0
        for name, array in arrays.items():
            for views, vector in ((self.w, self.values), (self.g, self.slopes)):
                views[name] = vector[start : start + array.size].reshape(array.shape)
            start += array.size
        self.x = buffer(trial["batch_size"], 1, 28, 28)

    def dense(self, name: str, x: np.ndarray, out: np.ndarray, *, relu: bool = True) -> np.ndarray:
        """Return the affine map of `x`, in `out`."""
        np.matmul(x, self.w[f"{name}.weight"].T, out=out)
        out += self.w[f"{name}.bias"]
        return np.maximum(out, 0, out=out) if relu else out

    def dense_back(self, name: str, x: np.ndarray, delta: np.ndarray, out: np.ndarray | None = None) -> None:
        """Note the gradient of a dense layer; put that of its input, a ReLU's output, into `out`."""
        np.matmul(delta.T, x, out=self.g[f"{name}.weight"])
        np.sum(delta, axis=0, out=self.g[f"{name}.bias"])
        if out is not None:
            np.matmul(delta, self.w[f"{name}.weight"], out=out)
            out *= x > 0

    def descend(self) -> None:
        """Do one update with momentum."""
        trial, scratch = self.trial, self.scratch
        self.slopes += np.multiply(self.values, trial["optimizer.weight_decay"], out=scratch)
        self.first *= trial["optimizer.momentum"]
        self.first += self.slopes
        self.values -= np.multiply(self.first, trial["optimizer.learning_rate"], out=scratch)

    def adapt(self) -> None:
        """Do one update of Adam."""
        trial, scratch = self.trial, self.scratch
        beta1, beta2 = trial["optimizer.beta1"], trial["optimizer.beta2"]
        self.steps += 1
        self.first *= beta1
        self.first += np.multiply(self.slopes, 1 - beta1, out=scratch)
        self.second *= beta2
        np.square(self.slopes, out=scratch)
        scratch *= 1 - beta2
        self.second += scratch
        root = (1 - beta2**self.steps) ** 0.5
        np.sqrt(self.second, out=scratch)
        scratch += trial["optimizer.epsilon"] * root
        np.divide(self.first, scratch, out=scratch)
        scratch *= trial["optimizer.learning_rate"] * root / (1 - beta1**self.steps)
        self.values -= scratch

    def update(self) -> None:
        """Do one update."""
        if self.trial["optimizer"] == "sgd":
            self.descend()
        else:
            self.adapt()


class Mlp(Model):
    """A perceptron with one hidden layer and dropout."""

    def __init__(self, trial: dict[str, Any]) -> None:
        super().__init__(trial)
        size, hidden = trial["batch_size"], trial["model.hidden_units"]
        self.hidden, self.mask, self.delta = (buffer(size, hidden) for _ in range(3))
        self.logits = buffer(size, trial["data.classes"])
        self.random = np.random.Generator(np.random.SFC64(trial["seed"]))

    def forward(self) -> np.ndarray:
        """Return the logits."""
        rate = self.trial["model.dropout_rate"]
        self.dense("hidden", self.x.reshape(len(self.x), -1), self.hidden)
        self.random.random(out=self.mask, dtype=np.float32)
        np.multiply(self.mask >= rate, np.float32(1 / (1 - rate)), out=self.mask)
        self.hidden *= self.mask
        return self.dense("output", self.hidden, self.logits, relu=False)

    def backward(self, delta: np.ndarray) -> None:
        """Leave the gradient in `slopes`."""
        self.dense_back("output", self.hidden, delta, self.delta)
        self.delta *= self.mask
        self.dense_back("hidden", self.x.reshape(len(self.x), -1), self.delta)


class Lenet(Model):
    """LeNet-5 with ReLU and max-pooling."""

    def __init__(self, trial: dict[str, Any]) -> None:
        super().__init__(trial)
        n = trial["batch_size"]
        self.columns1, self.out1 = buffer(n, 1, 5, 5, 24, 24), buffer(n, 6, 24, 24)
        self.pool1, self.columns2, self.out2 = buffer(n, 6, 12, 12), buffer(n, 6, 5, 5, 8, 8), buffer(n, 16, 8, 8)
        self.pool2, self.h1, self.h2 = buffer(n, 16, 4, 4), buffer(n, 120), buffer(n, 84)
        self.logits, self.d1, self.d2 = buffer(n, trial["data.classes"]), buffer(n, 120), buffer(n, 84)
        self.flat, self.back2, self.back_columns = buffer(n, 256), buffer(n, 16, 8, 8), np.empty_like(self.columns2)
        self.back_pool1, self.back1 = np.empty_like(self.pool1), np.empty_like(self.out1)
        self.each1, self.each2 = buffer(n, 6, 25), buffer(n, 16, 150)
        self.tops = {"conv1": np.empty_like(self.pool1), "conv2": np.empty_like(self.pool2)}
        self.masks = {name: [np.empty(top.shape, np.bool_) for _ in range(2)] for name, top in self.tops.items()}

    def forward(self) -> np.ndarray:
        """Return the logits."""
        self.convolve("conv1", self.x, self.columns1, self.out1, self.pool1)
        self.convolve("conv2", self.pool1, self.columns2, self.out2, self.pool2)
        self.dense("dense1", self.pool2.reshape(len(self.x), -1), self.h1)
        self.dense("dense2", self.h1, self.h2)
        return self.dense("dense3", self.h2, self.logits, relu=False)

    def backward(self, delta: np.ndarray) -> None:
        """Leave the gradient in `slopes`."""
        self.dense_back("dense3", self.h2, delta, self.d2)
        self.dense_back("dense2", self.h1, self.d2, self.d1)
        self.dense_back("dense1", self.pool2.reshape(len(self.x), -1), self.d1, self.flat)
        delta2 = self.flat.reshape(self.pool2.shape)
        flat2 = self.convolve_back("conv2", delta2, self.columns2, self.out2, self.back2, self.each2)
        np.matmul(self.w["conv2.weight"].reshape(16, -1).T, flat2, out=self.back_columns.reshape(len(self.x), 150, 64))
        self.back_pool1.fill(0)
        for y in range(5):
            for x in range(5):
                self.back_pool1[:, :, y : y + 8, x : x + 8] += self.back_columns[:, :, y, x]
        self.back_pool1 *= self.pool1 > 0
        self.convolve_back("conv1", self.back_pool1, self.columns1, self.out1, self.back1, self.each1)

    def convolve(self, name: str, x: np.ndarray, columns: np.ndarray, out: np.ndarray, pool: np.ndarray) -> None:
        """Put the convolution of `x` into `out`; its pooled maximum, with bias and ReLU, into `pool`."""
        n, channels, side = out.shape[:3]
        np.copyto(columns, sliding_window_view(x, (5, 5), axis=(2, 3)).transpose(0, 1, 4, 5, 2, 3))
        weight = self.w[f"{name}.weight"].reshape(channels, -1)
        np.matmul(weight, columns.reshape(n, -1, side * side), out=out.reshape(n, channels, -1))
        top = self.tops[name]
        np.copyto(top, out[:, :, ::2, ::2])
        for row, column in CORNERS[1:]:
            np.maximum(top, out[:, :, row::2, column::2], out=top)
        np.add(top, self.w[f"{name}.bias"][:, None, None], out=pool)
        np.maximum(pool, 0, out=pool)

    def convolve_back(
        self, name: str, delta: np.ndarray, columns: np.ndarray, out: np.ndarray, back: np.ndarray, each: np.ndarray
    ) -> np.ndarray:
        """Note the gradient of a convolution, given that of its pooled output; return that before pooling."""
        n, channels, side = out.shape[:3]
        np.sum(delta, axis=(0, 2, 3), out=self.g[f"{name}.bias"])
        top, (won, taken) = self.tops[name], self.masks[name]
        taken.fill(False)
        for y, x in CORNERS:
            np.equal(out[:, :, y::2, x::2], top, out=won)
            np.greater(won, taken, out=won)
            np.logical_or(taken, won, out=taken)
            np.multiply(delta, won, out=back[:, :, y::2, x::2])
        flat = back.reshape(n, channels, -1)
        np.matmul(flat, columns.reshape(n, -1, side * side).transpose(0, 2, 1), out=each)
        np.sum(each, axis=0, out=self.g[f"{name}.weight"].reshape(channels, -1))
        return flat


if __name__ == "__main__":
    main()
