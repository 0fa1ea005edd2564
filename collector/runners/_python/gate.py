"""Mode gate: what the trainer computes, written for the collector to compare (contract §4)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from _python.data import Order, Weights, read_weights, write_array, write_weights
from _python.trainer import Batch, Trainer
from _python.trial import Trial

DROPOUT_BATCH = 256  # examples of one call in part G

Build = Callable[[Trial, float], Trainer[Any]]  # trial, dropout rate -> a fresh trainer


def prove(build: Build, trial: Trial, order: Order, weights: Weights) -> Trainer[Any]:
    """Write every part that the trial asks for; return the trainer of the training parts."""
    parts = trial["gate.parts"]
    trainer = build(trial, trial["gate.dropout_rate"])
    write_training(trainer, trial, order, weights)
    if "F" in parts or "G" in parts:
        evaluated = build(trial, trial["model.dropout_rate"])
        write_evaluation(evaluated, trial)
        if trial["model.dropout_rate"] > 0:
            write_dropout(evaluated, trial, order, weights)
    if "E" in parts and any(name.endswith("running_mean") for name in weights):
        frozen = build({**trial, "optimizer.learning_rate": 0.0}, trial["gate.dropout_rate"])
        write_statistics(frozen, trial, order, weights)
    if "L" in parts:
        write_streamed(trainer, Path(trial["output"]))
    if trial["gate.traced_steps"] > 0:
        write_trace(trainer, trial, order, weights)
    return trainer


def write_training(trainer: Trainer[Batch], trial: Trial, order: Order, weights: Weights) -> None:
    """Write parts A to D; each begins with the gate weights and a fresh optimizer."""
    output, parts, first, second = Path(trial["output"]), trial["gate.parts"], *trainer.batches(order[0])[:2]
    if "A" in parts:
        trainer.reset(weights)
        _write_losses(trainer, [batch for row in order for batch in trainer.batches(row)], output)
    if "B" in parts:
        trainer.reset(weights)
        write_weights(output, "b.gradient", trainer.gradient(first))
    if "C" in parts:
        trainer.reset(weights)
        _write_given_updates(trainer, read_weights(Path(trial["gate.gradients"])), output)
    if "D" in parts:
        trainer.reset(weights)
        _do_steps(trainer, [first])
        write_weights(output, "d.weights1", trainer.weights())
        _do_steps(trainer, [second])
        write_weights(output, "d.weights2", trainer.weights())


def write_statistics(trainer: Trainer[Batch], trial: Trial, order: Order, weights: Weights) -> None:
    """Write part E: the running statistics after steps at a learning rate of 0."""
    trainer.reset(weights)
    _do_steps(trainer, [batch for row in order for batch in trainer.batches(row)][: trial["gate.frozen_steps"]])
    write_weights(Path(trial["output"]), "e", trainer.statistics())


def write_evaluation(trainer: Trainer[Batch], trial: Trial) -> None:
    """Write part F: the evaluation of the given checkpoint."""
    output = Path(trial["output"])
    trainer.reset(read_weights(Path(trial["gate.checkpoint"])))
    logits = [np.array(part) for part in trainer.predict()]  # copies: a part may be overwritten by the next
    write_array(output / "f.logits.npy", np.concatenate(logits))
    _, correct, loss = trainer.evaluate()
    write_array(output / "f.correct.npy", np.array([correct], dtype=np.int32))
    write_array(output / "f.loss.npy", np.array([loss], dtype=np.float64))


def write_dropout(trainer: Trainer[Batch], trial: Trial, order: Order, weights: Weights) -> None:
    """Write part G: the logits of one example again and again, each time with masks of its own."""
    trainer.reset(weights)
    batch = trainer.batch(np.repeat(order[0, :1], DROPOUT_BATCH))
    calls = trial["gate.dropout_repeats"] // DROPOUT_BATCH
    logits = [np.array(trainer.logits_and_loss(batch)[0]) for _ in range(calls)]
    write_array(Path(trial["output"]) / "g.logits.npy", np.concatenate(logits))


def write_streamed(trainer: Trainer[Batch], output: Path) -> None:
    """Write part L: one epoch of the loader, as the model is given it."""
    images, labels = zip(*((np.array(i), np.array(j)) for i, j in trainer.streamed()), strict=True)
    write_array(output / "l.images.npy", np.concatenate(images))
    write_array(output / "l.labels.npy", np.concatenate(labels).astype(np.int32))


def write_trace(trainer: Trainer[Batch], trial: Trial, order: Order, weights: Weights) -> None:
    """Write part T: the loss of each of the first training steps."""
    trainer.reset(weights)
    losses = []
    for batch in [batch for row in order for batch in trainer.batches(row)][: trial["gate.traced_steps"]]:
        _do_steps(trainer, [batch])
        losses.append(trainer.take_loss_sum() / len(batch))
    write_array(Path(trial["output"]) / "t.losses.npy", np.array(losses, dtype=np.float64))


def _do_steps(trainer: Trainer[Batch], batches: list[Batch]) -> None:
    trainer.run_steps(batches, [len(batches)], lambda _: None)


def _write_losses(trainer: Trainer[Batch], batches: list[Batch], output: Path) -> None:
    results = [trainer.logits_and_loss(batch) for batch in batches]
    write_array(output / "a.losses.npy", np.array([loss for _, loss in results], dtype=np.float64))
    write_array(output / "a.logits.npy", results[0][0])


def _write_given_updates(trainer: Trainer[Batch], gradients: Weights, output: Path) -> None:
    for number in range(len(next(iter(gradients.values())))):
        trainer.update({name: gradient[number] for name, gradient in gradients.items()})
    write_weights(output, "c.weights", trainer.weights())
