"""Warm-up and the training loop: where the clock starts, stops and is looked at (contract §2 and §3)."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from _python.data import Order, Weights
from _python.events import EventWriter
from _python.schedule import Pair, batch_slices, epoch_pairs, learning_rate, one_per_length
from _python.trainer import Batch, Trainer
from _python.trial import Trial


def warm_up(trainer: Trainer[Batch], order: Order, weights: Weights) -> None:
    """Do one step per batch shape and, in mode train, one evaluation on scratch state; start again from `weights`."""
    mode = trainer.trial["mode"]
    cuts = batch_slices(order.shape[1], trainer.trial["batch_size"])
    for indices in one_per_length([order[0, cut] for cut in cuts]):
        batch = trainer.batch(indices)
        if mode == "infer":
            trainer.infer(batch)
        else:
            trainer.run_steps([batch], [1], lambda _: None)
    if trainer.trial["loader"] == "stream":
        trainer.step(next(trainer.stream(0)))
    if mode == "train":
        trainer.evaluate()
    trainer.take_loss_sum()
    trainer.synchronise()
    trainer.reset(weights)


def train(trainer: Trainer[Batch], trial: Trial, order: Order, events: EventWriter) -> bool:
    """Train every epoch pair and evaluate after each; return False as soon as a loss is not finite."""
    source = _Batches(trainer, order)
    for number, pair in enumerate(epoch_pairs(trial, *order.shape)):
        if trial["optimizer.schedule"] != "constant":
            trainer.set_learning_rate(learning_rate(trial, pair.row))
        batches = source.of(pair)
        events.write("epoch_start", epoch=pair.epoch)
        _run_steps(trainer, pair, batches, events, first=number == 0)
        train_loss = trainer.take_loss_sum() / pair.examples
        if not math.isfinite(train_loss):
            return _diverge(events, pair, "training", train_loss)
        waited_s = source.take_waited_s()
        events.write(
            "epoch_stop", epoch=pair.epoch, examples=pair.examples, train_loss=train_loss, data_wait_s=waited_s
        )
        if trial["mode"] == "train" and not _evaluate(trainer, pair, events):
            return False
    return True


def infer(trainer: Trainer[Batch], order: Order, events: EventWriter) -> None:
    """Predict the same batches twice: once synchronised after each for its latency, once at full throughput."""
    batches = trainer.batches(order[0])
    for epoch, stops in ((1.0, range(1, len(batches) + 1)), (2.0, [len(batches)])):
        due = set(stops)
        events.write("epoch_start", epoch=epoch)
        for done, batch in enumerate(batches, start=1):
            trainer.infer(batch)
            if done in due:
                trainer.synchronise()
                if epoch == done == 1:
                    events.write("first_step_stop")
                events.write("chunk_stop", steps=done)
        events.write("epoch_stop", epoch=epoch, examples=order.shape[1], data_wait_s=0.0)


class _Batches:
    """The batches of pair after pair, from the resident data or from the loader, whose waits it adds up."""

    def __init__(self, trainer: Trainer[Any], order: Order) -> None:
        self._trainer = trainer
        self._order = order
        self._streams = trainer.trial["loader"] == "stream"
        self._stream: Iterator[Any] = iter(())
        self._waited_ns = 0

    def of(self, pair: Pair) -> Iterable[Any]:
        """Return the batches of one pair."""
        if not self._streams:
            return self._trainer.batches(self._order[pair.row])[pair.first_batch : pair.last_batch]
        if pair.first_batch == 0:
            self._stream = self._waited(pair.row)
        return itertools.islice(self._stream, pair.last_batch - pair.first_batch)

    def take_waited_s(self) -> float:
        """Return the seconds waited for batches since the last call."""
        waited_s, self._waited_ns = self._waited_ns * 1e-9, 0
        return waited_s

    def _waited(self, row: int) -> Iterator[Any]:
        start_ns = time.monotonic_ns()
        for batch in self._trainer.stream(row):
            self._waited_ns += time.monotonic_ns() - start_ns
            yield batch
            start_ns = time.monotonic_ns()


def _run_steps(
    trainer: Trainer[Batch], pair: Pair, batches: Iterable[Batch], events: EventWriter, *, first: bool
) -> None:
    stops = sorted({1, *pair.chunk_stops}) if first else pair.chunk_stops
    trainer.run_steps(batches, stops, _marker(pair, events, first=first))


def _marker(pair: Pair, events: EventWriter, *, first: bool) -> Callable[[int], None]:
    """Return what writes the events of a number of steps done, synchronised."""
    due = set(pair.chunk_stops)

    def mark(done: int) -> None:
        if first and done == 1:
            events.write("first_step_stop")
        if done in due:
            events.write("chunk_stop", steps=done)

    return mark


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
