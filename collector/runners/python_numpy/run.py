"""NumPy runner. What the Python runners share (data, events, loop …) lies in ../_python; see its README.md."""

# ruff: noqa: E402 -- the clock is read before anything else is imported
import time

START = (time.monotonic_ns(), time.time_ns())  # run_start: before any other statement

import sys
from pathlib import Path

sys.path.insert(1, str(Path(__file__).resolve().parents[1]))
from _python.program import main

SUPPORTED = {
    "device": ("cpu",),
    "model": ("mlp", "lenet5", "cnn", "keras_cnn"),
    "optimizer.schedule": ("constant", "cosine"),
    "variant": ("default",),
}


def describe() -> dict[str, object]:
    """Return the versions of NumPy and of the BLAS it was built with."""
    import platform

    import numpy

    config = numpy.show_config(mode="dicts")
    blas = config["Build Dependencies"]["blas"]
    return {
        "language": "Python",
        "language_version": platform.python_version(),
        "framework": "NumPy",
        "framework_version": numpy.__version__,
        "devices": ["cpu"],
        "blas": f"{blas['name']} {blas['version']}",
        "simd": " ".join(config["SIMD Extensions"].get("found", [])),
    }


if __name__ == "__main__":
    main(START, SUPPORTED, describe)
