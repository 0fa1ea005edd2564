"""Mode gate: what the trainer computes, written for the collector to compare (contract §4)."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from _python.data import Weights, read_weights, write_array, write_weights
from _python.trainer import Batch, Trainer
from _python.trial import Trial


def write_gate_training(trainer: Trainer[Batch], trial: Trial, epochs: int, weights: Weights) -> None:
    """Write parts A to D; each begins with the gate weights and a fresh optimizer."""
    output, first, second = Path(trial["output"]), *trainer.batches(0)[:2]
    _write_losses(trainer, [batch for row in range(epochs) for batch in trainer.batches(row)], output)
    trainer.reset(weights)
    write_weights(output, "b.gradient", trainer.gradient(first))
    trainer.reset(weights)
    _write_given_updates(trainer, read_weights(Path(trial["gate.gradients"])), output)
    trainer.reset(weights)
    trainer.step(first)
    write_weights(output, "d.weights1", trainer.weights())
    trainer.step(second)
    write_weights(output, "d.weights2", trainer.weights())


def write_gate_evaluation(trainer: Trainer[Batch], trial: Trial) -> None:
    """Write part F: the evaluation of the given checkpoint."""
    output = Path(trial["output"])
    trainer.reset(read_weights(Path(trial["gate.checkpoint"])))
    logits = [np.array(part) for part in trainer.predict()]  # copies: a part may be overwritten by the next
    write_array(output / "f.logits.npy", np.concatenate(logits))
    _, correct, loss = trainer.evaluate()
    write_array(output / "f.correct.npy", np.array([correct], dtype=np.int32))
    write_array(output / "f.loss.npy", np.array([loss], dtype=np.float64))


def _write_losses(trainer: Trainer[Batch], batches: list[Batch], output: Path) -> None:
    results = [trainer.logits_and_loss(batch) for batch in batches]
    write_array(output / "a.losses.npy", np.array([loss for _, loss in results], dtype=np.float64))
    write_array(output / "a.logits.npy", results[0][0])


def _write_given_updates(trainer: Trainer[Batch], gradients: Weights, output: Path) -> None:
    for number in range(len(next(iter(gradients.values())))):
        trainer.update({name: gradient[number] for name, gradient in gradients.items()})
    write_weights(output, "c.weights", trainer.weights())
