"""The whole run on one screen: `main` is what every Python runner's run.py calls."""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from _python.events import EventWriter
from _python.trial import Supported, Trial, read_trial, reason_unsupported

if TYPE_CHECKING:
    from _python.data import Files
    from _python.trainer import Framework, Placed, Trainer


def main(start: tuple[int, int], supported: Supported, describe: Callable[[], dict[str, Any]]) -> None:
    """Do what the command line asks; `start` is the monotonic clock and the time of day at the first statement.

    Several pairs of trial and events file are worked on one after another: all of mode `gate` (contract, top).
    """
    if sys.argv[1:] == ["--describe"]:
        print(json.dumps(describe()))
        return
    paths = list(map(Path, sys.argv[1:]))
    begun = False
    for number, (trial_path, events_path) in enumerate(zip(paths[::2], paths[1::2], strict=True)):
        at_ns, unix_ns = (time.monotonic_ns(), time.time_ns()) if number else start
        events = EventWriter(events_path)
        events.write("run_start", at_ns=at_ns, unix_ns=unix_ns, pid=os.getpid())
        trial = read_trial(trial_path)
        if reason := reason_unsupported(trial, supported):
            events.write("unsupported", message=reason)
        else:
            _run(trial, events, is_first=not begun)
            begun = True


def _run(trial: Trial, events: EventWriter, *, is_first: bool) -> None:
    framework = importlib.import_module("train")  # the runner's own: run_start is written, so its import is a phase
    if is_first:
        framework.initialise(trial)
    if reason := getattr(framework, "reason_unsupported", lambda _: "")(trial):
        events.write("unsupported", message=reason)
        return
    from _python.data import place_data, read_files
    from _python.schedule import reason_uncut

    events.write("import_stop")
    files = read_files(trial)
    events.write("load_stop")
    if reason := reason_uncut(trial, files.order.shape[1]):
        events.write("unsupported", message=reason)
        return
    data = framework.place(trial, place_data(trial, files))
    events.write("preprocess_stop")
    work = _prove if trial["mode"] == "gate" else _train
    trainer = work(framework, data, trial, files, events)
    if trainer is not None:
        events.write("run_stop", **trainer.report())


def _train(framework: Framework, data: Placed, trial: Trial, files: Files, events: EventWriter) -> Trainer[Any] | None:
    from _python.loop import infer, train, warm_up

    trainer: Trainer[Any] = framework.Trainer(trial, data, files.weights, trial["model.dropout_rate"])
    events.write("build_stop", parameters=trainer.parameters)
    warm_up(trainer, files.order, files.weights)
    events.write("compile_stop")
    if trial["mode"] == "infer":
        infer(trainer, files.order, events)
        return trainer
    return trainer if train(trainer, trial, files.order, events) else None


def _prove(framework: Framework, data: Placed, trial: Trial, files: Files, events: EventWriter) -> Trainer[Any]:
    from _python.gate import prove

    def build(asked: Trial, dropout_rate: float) -> Trainer[Any]:
        trainer: Trainer[Any] = framework.Trainer(asked, data, files.weights, dropout_rate)
        return trainer

    events.write("build_stop", parameters=build(trial, trial["gate.dropout_rate"]).parameters)
    return prove(build, trial, files.order, files.weights)
