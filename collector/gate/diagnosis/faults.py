"""Known mistakes in data, weights and models: each turns the gate's work into the work that the mistake makes of it.

What the reference computes from the changed work is compared with what a runner wrote (`collector.gate.diagnosis`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from collector.datasets.files import DataFiles, Images, Labels, Split, read_split, standardised
from collector.gate.evidence import Evidence
from collector.plan.workload import Cnn, Resnet
from collector.reference.architecture import Architecture, build_architecture
from collector.reference.layers import Array, Pass, Weights, run_layers

Batch = NDArray[np.int64]
Scale = Callable[[Images], Array]


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """A model with its weights, and what it is given."""

    architecture: Architecture
    weights: Weights
    pixels: Images
    labels: Labels
    scale: Scale  # pixels -> what the model is given
    training: bool
    product_input: Callable[[Array], Array] = field(default=lambda values: values)

    def logits(self, batch: Batch) -> Array:
        """Return the logits of some examples."""
        state = Pass(weights=self.weights, training=self.training, product_input=self.product_input)
        return run_layers(self.architecture.layers, state, self.scale(self.pixels[batch]))[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Mistake:
    """What went wrong, in words, and what it makes of the work."""

    says: str
    spoil: Callable[[Work], Work]


def read_work(evidence: Evidence, split: Split, folder: str, *, training: bool) -> Work:
    """Return the work on one part of the data with the weights in one of the gate's folders."""
    pixels, labels = read_split(evidence.data, split)
    architecture = evidence.architecture
    names = [*architecture.shapes, *architecture.statistics]
    return Work(
        architecture=architecture,
        weights={name: evidence.given(folder, name) for name in names},
        pixels=pixels,
        labels=labels,
        scale=partial(standardised, data=evidence.data),
        training=training,
    )


def known_mistakes(evidence: Evidence, work: Work) -> Iterator[Mistake]:
    """Yield the mistakes that this model and data set can suffer, the plainest ones first."""
    yield from _data_mistakes(evidence.data)
    yield from _weight_mistakes(work)
    yield from _norm_mistakes(evidence)
    yield from _precision_mistakes()


def _data_mistakes(data: DataFiles) -> Iterator[Mistake]:
    mean, std = (np.array(values)[:, None, None] for values in (data.mean, data.std))
    scales: dict[str, Scale] = {
        "data not standardised: pixels only divided by 255": lambda p: p / 255,
        "data not standardised: pixels from 0 to 255 as they are": lambda p: p.astype(np.float64),
        "data standardised twice": lambda p: (standardised(p, data) - mean) / std,
        "data standardised without subtracting the mean": lambda p: p / 255 / std,
        "data standardised without dividing by the deviation": lambda p: p / 255 - mean,
        "data scaled to -1 … 1 instead of standardised": lambda p: p / 127.5 - 1,
    }
    for says, scale in scales.items():
        yield Mistake(says=says, spoil=partial(_rescaled, scale))
    for says, view in _misread(data.image_shape).items():
        yield Mistake(says=says, spoil=partial(_seen_as, view))


def _rescaled(scale: Scale, work: Work) -> Work:
    return replace(work, scale=scale)


def _seen_as(view: Callable[[Images], Images], work: Work) -> Work:
    return replace(work, pixels=view(work.pixels))


def _misread(shape: tuple[int, int, int]) -> dict[str, Callable[[Images], Images]]:
    """Return how images of (channels, height, width) can be misread, by what one would say of it."""
    channels, height, width = shape
    views: dict[str, Callable[[Images], Images]] = {
        "images turned: height and width swapped": lambda p: p.swapaxes(2, 3),
        "images mirrored: the last column first": lambda p: p[..., ::-1],
        "images upside down: the last row first": lambda p: p[:, :, ::-1],
    }
    if height != width:
        views.popitem()
    if channels > 1:
        views |= {
            "layout of the images: bytes in CHW order read as HWC": lambda p: p.reshape(
                -1, height, width, channels
            ).transpose(0, 3, 1, 2),
            "layout of the images: HWC taken for CHW": lambda p: p.transpose(0, 2, 3, 1).reshape(-1, *shape),
            "channels of the images reversed: BGR instead of RGB": lambda p: p[:, ::-1],
        }
    return views


def _weight_mistakes(work: Work) -> Iterator[Mistake]:
    shapes = work.architecture.shapes
    kernels = [name for name, shape in shapes.items() if len(shape) == 4 and shape[2] > 1]
    dense = [name for name, shape in shapes.items() if len(shape) == 2]
    biases = [name for name in shapes if name.endswith(".bias") and f"{name[:-5]}.running_mean" not in work.weights]
    if kernels:
        yield _reweighed("kernels flipped: true convolution instead of cross-correlation", kernels, _flipped)
        yield _reweighed("height and width of the kernels swapped", kernels, lambda w: w.swapaxes(2, 3))
        yield _reweighed("layout of the kernels: OIHW read as HWIO", kernels, _read_as_hwio)
        yield _reweighed("flattened as H, W, C instead of C, H, W", dense[:1], partial(_flattened_hwc, work))
    yield _reweighed("dense weights transposed: [out, in] read as [in, out]", dense, _read_transposed)
    yield _reweighed("bias missing in every layer", biases, np.zeros_like)
    for name in dense:
        layer = name.rpartition(".")[0]
        yield _reweighed(f"weights of {layer} transposed: [out, in] read as [in, out]", [name], _read_transposed)
    for name in biases:
        yield _reweighed(f"bias missing in {name.rpartition('.')[0]}", [name], np.zeros_like)


def _reweighed(says: str, names: Sequence[str], change: Callable[[Array], Array]) -> Mistake:
    def spoil(work: Work) -> Work:
        return replace(work, weights=work.weights | {name: change(work.weights[name]) for name in names})

    return Mistake(says=says, spoil=spoil)


def _flipped(weight: Array) -> Array:
    return weight[:, :, ::-1, ::-1]


def _read_as_hwio(weight: Array) -> Array:
    out, inputs, height, width = weight.shape
    return weight.reshape(height, width, inputs, out).transpose(3, 2, 0, 1)


def _read_transposed(weight: Array) -> Array:
    return weight.reshape(weight.shape[::-1]).T


def _flattened_hwc(work: Work, weight: Array) -> Array:
    """Return the first dense weight as it acts on features flattened in the order height, width, channel."""
    channels = [shape[0] for shape in work.architecture.shapes.values() if len(shape) == 4][-1]
    side = round((weight.shape[1] / channels) ** 0.5)
    if channels * side * side != weight.shape[1]:
        return weight
    return weight.reshape(len(weight), side, side, channels).transpose(0, 3, 1, 2).reshape(weight.shape)


def _norm_mistakes(evidence: Evidence) -> Iterator[Mistake]:
    model = evidence.workload.model
    if not isinstance(model, Cnn | Resnet) or not evidence.architecture.statistics:
        return
    for epsilon in (1e-3, 1e-5, 1e-6, 1e-8, 1e-12):
        other = build_architecture(
            model.model_copy(update={"norm_epsilon": epsilon}), evidence.data.image_shape, evidence.data.classes
        )
        says = f"batch norm's epsilon is {epsilon:g} instead of {model.norm_epsilon:g}"
        if epsilon != model.norm_epsilon:
            yield Mistake(says=says, spoil=partial(_rebuilt, other))
    yield Mistake(
        says="batch norm in the wrong mode: running statistics in training, or the batch's own in evaluation",
        spoil=lambda work: replace(work, training=not work.training),
    )
    norms = [name for name in evidence.architecture.statistics if name.endswith("running_mean")]
    for parameter, change in (("weight", np.ones_like), ("bias", np.zeros_like)):
        names = [name.replace("running_mean", parameter) for name in norms]
        yield _reweighed(f"batch norm without its {parameter}", names, change)


def _rebuilt(architecture: Architecture, work: Work) -> Work:
    return replace(work, architecture=architecture)


def _precision_mistakes() -> Iterator[Mistake]:
    for bits, says in (
        (10, "TensorFloat-32 (10 bits of mantissa) where float32 is claimed"),
        (7, "bfloat16 (7 bits of mantissa) where float32 is claimed"),
    ):
        yield Mistake(says=f"lower precision: {says}", spoil=partial(_in_precision, bits))


def _in_precision(bits: int, work: Work) -> Work:
    return replace(work, product_input=partial(rounded, bits=bits))


def rounded(array: Array, bits: int) -> Array:
    """Return the values nearest to `array` that have so many bits of mantissa behind the leading one."""
    mantissa, exponent = np.frexp(array)
    nearest: Array = np.ldexp(np.rint(mantissa * 2 ** (bits + 1)), exponent - bits - 1)
    return nearest
