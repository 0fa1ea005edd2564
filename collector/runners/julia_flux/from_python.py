"""Train with Flux from inside Python: what it costs to call Julia through juliacall.

    python from_python.py JULIA TRIAL.JSON EVENTS.JSONL ...

Starts the Julia at JULIA inside this process, with this runner's own project, and lets it do run.jl. juliacall is
imported in `start_julia` and nowhere else: it looks for a Julia, and starts it, the moment it is imported.
"""

from __future__ import annotations

import importlib.util
import json
import os
import sys
import time
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

FOLDER = Path(__file__).resolve().parent
VERSION = "0.9.34"  # of juliacall and PythonCall alike: docs/how-to/julia.md
ADD = f'using Pkg; Pkg.add(name="PythonCall", version="{VERSION}")'
NO_JULIACALL = f"variant: got juliacall; this Python has no package juliacall: pip install juliacall=={VERSION}"
NO_PYTHONCALL = (
    "variant: got juliacall; the project has no package PythonCall: "
    f"julia --project=collector/runners/julia_flux -e '{ADD}'"
)


class Julia(Protocol):
    """What is used of Julia's module Main."""

    def seval(self, code: str) -> Callable[..., object]:
        """Return the value of an expression; functions can be called."""

    def include(self, path: str) -> object:
        """Do what a file says."""


def main() -> None:
    """Write `run_start`, start Julia, and hand over."""
    julia, *files = sys.argv[1:]
    append_event(files[1], "run_start", unix_ns=time.time_ns(), pid=os.getpid())
    missing = missing_package(FOLDER / "Project.toml")
    if missing:
        append_event(files[1], "unsupported", message=missing)
        return
    trial = json.loads(Path(files[0]).read_text(encoding="utf-8"))
    runtime = start_julia(julia, trial["threads"])
    runtime.seval("const STARTED_BY_PYTHON = true")
    runtime.seval("(files...) -> append!(empty!(ARGS), files)")(*files)
    runtime.include(str(FOLDER / "run.jl"))


def missing_package(project: Path) -> str:
    """Return which of the two packages that join Python and Julia is missing, and how to get it; empty if none is."""
    if importlib.util.find_spec("juliacall") is None:
        return NO_JULIACALL
    added = tomllib.loads(project.read_text(encoding="utf-8"))["deps"]
    return "" if "PythonCall" in added else NO_PYTHONCALL


def append_event(path: str, kind: str, **fields: object) -> None:
    """Append one event; Python's and Julia's monotonic clocks are both the kernel's CLOCK_MONOTONIC."""
    with Path(path).open("a", encoding="utf-8") as events:
        events.write(json.dumps({"kind": kind, "at_ns": time.monotonic_ns(), **fields}) + "\n")


def start_julia(julia: str, threads: int) -> Julia:
    """Return Julia's module Main, running in this process.

    With more than one thread Julia stops its threads by segmentation faults on purpose, so it must handle signals;
    then Ctrl-C no longer reaches Python. The same is done with one thread, so that both are the same program.
    """
    os.environ |= {
        "PYTHON_JULIACALL_EXE": julia,
        "PYTHON_JULIACALL_PROJECT": str(FOLDER),
        "PYTHON_JULIACALL_THREADS": str(threads),
        "PYTHON_JULIACALL_HANDLE_SIGNALS": "yes",
        "PYTHON_JULIACALL_STARTUP_FILE": "no",
    }
    from juliacall import Main

    return Main


if __name__ == "__main__":
    main()
