"""Warm-up and the training loop: where the clock starts, stops and is looked at (contract §2 and §3)."""

from __future__ import annotations

import math
from collections.abc import Sequence

from _python.data import Order, Weights
from _python.events import EventWriter
from _python.schedule import Pair, epoch_pairs, one_per_length
from _python.trainer import Batch, Trainer
from _python.trial import Trial


def warm_up(trainer: Trainer[Batch], weights: Weights) -> None:
    """Do one step per batch shape and, in mode train, one evaluation on scratch state; start again from `weights`."""
    for batch in one_per_length(trainer.batches(0)):
        trainer.step(batch)
    if trainer.trial["mode"] == "train":
        trainer.evaluate()
    trainer.take_loss_sum()
    trainer.synchronise()
    trainer.reset(weights)


def train(trainer: Trainer[Batch], trial: Trial, order: Order, events: EventWriter) -> bool:
    """Train every epoch pair and evaluate after each; return False as soon as a loss is not finite."""
    for number, pair in enumerate(epoch_pairs(trial, *order.shape)):
        batches = trainer.batches(pair.row)[pair.first_batch : pair.last_batch]
        events.write("epoch_start", epoch=pair.epoch)
        if number == 0:
            _run_first_step(trainer, batches[0], events)
        _run_steps(trainer, pair, batches, 1 if number == 0 else 0, events)
        train_loss = trainer.take_loss_sum() / pair.examples
        if not math.isfinite(train_loss):
            return _diverge(events, pair, "training", train_loss)
        events.write("epoch_stop", epoch=pair.epoch, examples=pair.examples, train_loss=train_loss, data_wait_s=0.0)
        if trial["mode"] == "train" and not _evaluate(trainer, pair, events):
            return False
    return True


def _run_first_step(trainer: Trainer[Batch], batch: Batch, events: EventWriter) -> None:
    trainer.step(batch)
    trainer.synchronise()
    events.write("first_step_stop")


def _run_steps(trainer: Trainer[Batch], pair: Pair, batches: Sequence[Batch], done: int, events: EventWriter) -> None:
    """Do the steps from `done` on; each chunk ends synchronised."""
    for stop in pair.chunk_stops:
        for batch in batches[done:stop]:
            trainer.step(batch)
        trainer.synchronise()
        events.write("chunk_stop", steps=stop)
        done = stop


def _evaluate(trainer: Trainer[Batch], pair: Pair, events: EventWriter) -> bool:
    events.write("eval_start", epoch=pair.epoch)
    examples, correct, loss = trainer.evaluate()
    if not math.isfinite(loss):
        return _diverge(events, pair, "test", loss)
    events.write("eval_stop", epoch=pair.epoch, examples=examples, correct=correct, loss=loss)
    return True


def _diverge(events: EventWriter, pair: Pair, which: str, loss: float) -> bool:
    events.write("diverged", epoch=pair.epoch, message=f"the {which} loss is {loss}; expected a finite number")
    return False
