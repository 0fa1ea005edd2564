"""The whole run on one screen: `main` is what every Python runner's run.py calls."""

from __future__ import annotations

import importlib
import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from _python.events import EventWriter
from _python.trial import Trial, read_trial, reason_unsupported

if TYPE_CHECKING:
    from _python.data import Files
    from _python.trainer import Trainer


def main(
    start: tuple[int, int], supported: Mapping[str, Sequence[str]], describe: Callable[[], dict[str, Any]]
) -> None:
    """Do what the command line asks; `start` is the monotonic clock and the time of day at the first statement."""
    if sys.argv[1:] == ["--describe"]:
        print(json.dumps(describe()))
        return
    trial_path, events_path = map(Path, sys.argv[1:])
    events = EventWriter(events_path)
    events.write("run_start", at_ns=start[0], unix_ns=start[1], pid=os.getpid())
    trial = read_trial(trial_path)
    if reason := reason_unsupported(trial, supported):
        events.write("unsupported", message=reason)
    else:
        _run(trial, events)


def _run(trial: Trial, events: EventWriter) -> None:
    framework = importlib.import_module("train")  # the runner's own: run_start is written, so its import is a phase
    framework.initialise(trial)
    from _python.data import read_files, standardise
    from _python.schedule import reason_uncut

    events.write("import_stop")
    files = read_files(trial)
    events.write("load_stop")
    if reason := reason_uncut(trial, files.order.shape[1]):
        events.write("unsupported", message=reason)
        return
    data = framework.place(trial, standardise(files, trial["data.mean"], trial["data.std"]))
    events.write("preprocess_stop")
    build = partial(framework.Trainer, trial, data, files.weights)
    work = _prove if trial["mode"] == "gate" else _train
    trainer = work(build, trial, files, events)
    if trainer is not None:
        events.write("run_stop", **trainer.report())


def _train(
    build: Callable[[float], Trainer[Any]], trial: Trial, files: Files, events: EventWriter
) -> Trainer[Any] | None:
    from _python.loop import train, warm_up

    trainer = build(trial["model.dropout_rate"])
    events.write("build_stop", parameters=trainer.parameters)
    warm_up(trainer, files.weights)
    events.write("compile_stop")
    return trainer if train(trainer, trial, files.order, events) else None


def _prove(build: Callable[[float], Trainer[Any]], trial: Trial, files: Files, events: EventWriter) -> Trainer[Any]:
    from _python.gate import write_gate_evaluation, write_gate_training

    trainer = build(trial["gate.dropout_rate"])
    events.write("build_stop", parameters=trainer.parameters)
    write_gate_training(trainer, trial, len(files.order), files.weights)
    write_gate_evaluation(build(trial["model.dropout_rate"]), trial)
    return trainer
